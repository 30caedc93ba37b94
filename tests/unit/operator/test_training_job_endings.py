"""TrainingJobs that are stopped or have ended: deadlines, suspend, cancel, clean-up, TTL."""

from datetime import timedelta
from typing import Any

import pytest
from fovea_api.contract.report import ProgressReport, Termination
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.observed import ContainerRecord
from fovea_operator.reconcile.training.decide import decide_job
from fovea_operator.settings import Settings
from support.decision_table import QUIET, RETRYING, RUNNING, STOPPING, SUCCEEDED, SUSPENDED, Row, decide
from support.observations import after, at, ended, job, observed, pod, published, running

LAST_CHECKPOINT = Termination("Published", "published", checkpoint_step=800).to_json()

TABLE: dict[str, Row] = {
    # deadlines, suspend, cancel
    "a program that ran too long fails the job and is stopped": Row(
        lambda: observed(job(RUNNING, runPolicy={"maxRunningSeconds": 50}), running()),
        {
            "state": "FAILED",
            "deletes": ["digits-chief-0-0"],
            "conditions": {
                "Admitted": "True Accepted",
                "Running": "False MaxRunningSecondsExceeded",
                "Failed": "True MaxRunningSecondsExceeded",
            },
        },
        "Failed: the program ran 50 s in all, and runPolicy.maxRunningSeconds is 50.",
    ),
    "a pod that went while no operator ran is not taken to have run until now": Row(
        lambda: observed(job(RUNNING, runPolicy={"maxRunningSeconds": 7200})),
        {"state": "QUEUED", "disruptions": 1, "ran": 0},
        now=3 * 3600,
    ),
    "it ran as long as its newest checkpoint shows": Row(
        lambda: observed(
            job(
                RUNNING | {"runningSeconds": 30, "checkpoint": {"step": 400, "time": "2026-11-21T10:30:10Z"}},
                runPolicy={"maxRunningSeconds": 7200},
            )
        ),
        {"state": "QUEUED", "disruptions": 1, "ran": 1830},
        now=3 * 3600,
    ),
    "a checkpoint of an attempt before says nothing of it": Row(
        lambda: observed(
            job(
                RUNNING | {"checkpoint": {"step": 400, "time": "2026-11-21T09:30:10Z"}},
                runPolicy={"maxRunningSeconds": 7200},
            )
        ),
        {"state": "QUEUED", "disruptions": 1, "ran": 0},
        now=3 * 3600,
    ),
    "a pod that the operator saw go ran until then": Row(
        lambda: observed(job(RUNNING, runPolicy={"maxRunningSeconds": 7200}), vanished=at(7300)),
        {"state": "FAILED", "ran": 7290},
        now=7301,
    ),
    "maxRunningSeconds counts earlier attempts": Row(
        lambda: observed(job(RUNNING | {"runningSeconds": 30}, runPolicy={"maxRunningSeconds": 75}), running()),
        {"state": "FAILED"},
    ),
    "before maxRunningSeconds the job looks again at that time": Row(
        lambda: observed(job(RUNNING | {"runningSeconds": 30}, runPolicy={"maxRunningSeconds": 100}), running()),
        {"state": "RUNNING", "wakes": 80},
    ),
    "a suspended job has no pod": Row(
        lambda: observed(job(suspend=True)),
        {
            "state": "QUEUED",
            "creates": [],
            "conditions": {"Admitted": "False Suspended", "Running": "False Suspended", "Suspended": "True Suspended"},
        },
    ),
    "suspending stops the pod and says so first": Row(
        lambda: observed(job(RUNNING, suspend=True), running()),
        {
            "state": "RUNNING",
            "deletes": ["digits-chief-0-0"],
            "conditions": {"Admitted": "True Accepted", "Running": "True Suspended"},
        },
        "this job has published no checkpoint yet, so it would start from the beginning (a checkpoint is",
    ),
    "suspending promises to go on from a checkpoint only where there is one": Row(
        lambda: observed(job(RUNNING | {"checkpoint": {"step": 400}}, suspend=True), running()),
        {"state": "RUNNING"},
        "Set spec.suspend to false to go on from the newest checkpoint (step 400 at the moment).",
    ),
    "a checkpoint that was reported last counts as well": Row(
        lambda: observed(job(RUNNING, suspend=True), running(), progress=ProgressReport(checkpoint_step=600)),
        {"state": "RUNNING"},
        "step 600",
    ),
    "a job that is suspended before its first checkpoint says that it starts from the beginning": Row(
        lambda: observed(
            job(STOPPING, suspend=True), ended(code=143, deleting=True, sync=ContainerRecord(exit_code=0))
        ),
        {"state": "QUEUED"},
        "Suspended: no pod runs. Set spec.suspend to false to go on; this job has published no checkpoint yet",
    ),
    "the last checkpoint of a suspended job is named by the agent that published it while the pod ended": Row(
        lambda: observed(
            job(STOPPING, suspend=True),
            ended(code=143, deleting=True, sync=ContainerRecord(exit_code=0, termination_message=LAST_CHECKPOINT)),
        ),
        {"state": "QUEUED"},
        "(step 800 at the moment)",
    ),
    "what is not published of a running program stands in its message": Row(
        lambda: observed(job(RUNNING), running(), progress=ProgressReport(left_out="/fovea/checkpoints/7 (a pipe)")),
        {"state": "RUNNING"},
        "stream-logs digits. Not published: /fovea/checkpoints/7 (a pipe).",
    ),
    "what was not published of a program that succeeded stands in its message": Row(
        lambda: observed(
            job(RUNNING), ended(sync=published(progress=ProgressReport(left_out="/fovea/logs/x (a pipe)")))
        ),
        {"state": "SUCCEEDED"},
        "the output is published. Not published: /fovea/logs/x (a pipe).",
    ),
    "a suspended job that began with another job's checkpoint says that it begins with it again": Row(
        lambda: observed(job(STOPPING, suspend=True, checkpoint={"from": "job://monday"})),
        {"state": "QUEUED"},
        "begin with the checkpoint of job://monday",
    ),
    "a pod that is already ending is not deleted again": Row(
        lambda: observed(job(STOPPING, suspend=True), running(deleting=True, deletion_deadline=at(600))),
        {"state": "RUNNING", "deletes": []},
    ),
    "when the pod has ended the job is suspended, and that is no retry": Row(
        lambda: observed(job(STOPPING, suspend=True), ended(code=143, deleting=True)),
        {
            "state": "QUEUED",
            "attempts": {"chief-0": 1},
            "retries": None,
            "conditions": {"Running": "False Suspended", "Admitted": "False Suspended", "Suspended": "True Suspended"},
        },
    ),
    "when the pod is gone the job is suspended, and that is no retry": Row(
        lambda: observed(job(STOPPING, suspend=True)), {"state": "QUEUED", "attempts": {"chief-0": 1}, "retries": None}
    ),
    "a suspended job stays as it is": Row(lambda: observed(job(SUSPENDED, suspend=True)), QUIET),
    "a resumed job gets the next attempt's pod": Row(
        lambda: observed(job(SUSPENDED)),
        {
            "state": "QUEUED",
            "creates": ["digits-chief-0-1"],
            "attempts": {"chief-0": 1},
            "conditions": {"Suspended": "False Resumed", "Admitted": "True Accepted", "Running": "False PodCreated"},
        },
    ),
    "a suspension taken back while the pod ends counts as no retry": Row(
        lambda: observed(job(STOPPING), ended(code=143, deleting=True)),
        {
            "state": "QUEUED",
            "attempts": {"chief-0": 1},
            "retries": None,
            "conditions": {"Running": "False Resumed", "Admitted": "True Accepted"},
        },
    ),
    "a program that fails by itself fails a job that is to be suspended": Row(
        lambda: observed(job(RUNNING, suspend=True), ended(code=1)), {"state": "FAILED"}
    ),
    "cancelling a job without pods cancels it": Row(
        lambda: observed(job(cancel=True)),
        {"state": "CANCELLED", "creates": [], "conditions": {"Running": "False Cancelled", "Failed": "True Cancelled"}},
    ),
    "cancelling stops the pod": Row(
        lambda: observed(job(RUNNING, cancel=True), running()),
        {
            "state": "CANCELLING",
            "deletes": ["digits-chief-0-0"],
            "conditions": {"Admitted": "True Accepted", "Running": "True Cancelled"},
        },
    ),
    "a cancel hurries a pod that takes its time to end": Row(
        lambda: observed(job(RUNNING, cancel=True), running(deleting=True, deletion_deadline=at(600))),
        {"state": "CANCELLING", "deletes": ["digits-chief-0-0"]},
    ),
    "a cancel waits for a pod that ends in time": Row(
        lambda: observed(
            job(RUNNING | {"state": "CANCELLING"}, cancel=True), running(deleting=True, deletion_deadline=at(80))
        ),
        {"state": "CANCELLING", "deletes": [], "wakes": 110},
    ),
    "a pod on a lost node does not hold up a cancel": Row(
        lambda: observed(
            job(RUNNING | {"state": "CANCELLING"}, cancel=True), running(deleting=True, deletion_deadline=at(20))
        ),
        {"state": "CANCELLED", "deletes": []},
    ),
    "when all pods have gone the job is cancelled": Row(
        lambda: observed(job(RUNNING | {"state": "CANCELLING"}, cancel=True)),
        {"state": "CANCELLED", "attempts": {"chief-0": 0}},
    ),
    # ended
    "an ended job keeps its status and its ended pods": Row(lambda: observed(job(SUCCEEDED), ended()), QUIET),
    "an ended job never gets a pod again": Row(lambda: observed(job(SUCCEEDED)), QUIET),
    "an ended job's running pod is stopped under every policy": Row(
        lambda: observed(job(SUCCEEDED, runPolicy={"cleanPodPolicy": "None"}), running()),
        QUIET | {"deletes": ["digits-chief-0-0"]},
    ),
    "policy All deletes the ended pods": Row(
        lambda: observed(job(SUCCEEDED, runPolicy={"cleanPodPolicy": "All"}), ended()),
        QUIET | {"deletes": ["digits-chief-0-0"]},
    ),
    "an ended job waits for its TTL": Row(
        lambda: observed(job(SUCCEEDED, runPolicy={"ttlSecondsAfterFinished": 60}), ended()), QUIET | {"wakes": 120}
    ),
    "at its TTL a job goes": Row(
        lambda: observed(job(SUCCEEDED, runPolicy={"ttlSecondsAfterFinished": 60}), ended()),
        QUIET | {"deletes": ["digits"]},
        now=120,
    ),
    "a cancel after the end changes nothing": Row(lambda: observed(job(SUCCEEDED, cancel=True), ended()), QUIET),
}


def edited(status: dict[str, Any], **spec: Any) -> TrainingJob:
    """A job whose status was said of generation 1, and whose spec was edited since."""
    said = [condition | {"observedGeneration": 1} for condition in status["conditions"]]
    return job(status | {"observedGeneration": 1, "conditions": said}, metadata={"generation": 2}, **spec)


@pytest.mark.parametrize(
    ("of", "now"),
    [
        (edited(RUNNING | {"state": "SUCCEEDED", "endTime": at(60).isoformat()}), 60),
        (edited(SUSPENDED, suspend=True), 60),
        (edited(RUNNING | RETRYING), 79),
    ],
    ids=["ended", "suspended", "before its next attempt"],
)
def test_a_status_that_an_edit_leaves_as_it_is_is_said_of_the_new_spec_once(of: TrainingJob, now: int) -> None:
    decision = decide(observed(of), now)
    assert decision.status is not None
    before = of.status.dump()
    assert decision.status == before | {
        "observedGeneration": 2,
        "conditions": [condition | {"observedGeneration": 2} for condition in before["conditions"]],
    }
    assert not decision.events
    assert decide(observed(after(of, decision)), now).status is None


def test_every_condition_of_a_status_is_said_of_the_newest_spec() -> None:
    for seen in (running(), ended(code=1)):
        status = decide(observed(edited(RUNNING), seen)).status
        assert status is not None
        assert {condition["observedGeneration"] for condition in status["conditions"]} == {2}, status["state"]


def test_a_job_that_has_ended_has_no_active_pods() -> None:
    """They get SIGTERM, and no later decision counts them again."""
    stopped = decide(observed(job(RUNNING, runPolicy={"maxRunningSeconds": 50}), running(1), ended(0, code=75))).status
    assert stopped is not None
    assert stopped["roles"] == {"chief": {"pending": 0, "active": 0, "succeeded": 0, "failed": 1}}
    waiting = decide(observed(job(runPolicy={"maxWaitSeconds": 30}), pod(unschedulable="3 Insufficient cpu"))).status
    assert waiting is not None
    assert waiting["roles"] == {"chief": {"pending": 0, "active": 0, "succeeded": 0, "failed": 0}}


@pytest.mark.parametrize("sentence", TABLE)
def test_decision(sentence: str) -> None:
    TABLE[sentence].check()


@pytest.mark.parametrize(("own", "default", "gone_after"), [(None, 60, 60), (3600, 60, 3600), (0, 60, 0), (None, 0, 0)])
def test_the_platforms_ttl_holds_where_the_job_does_not_say_another(
    own: int | None, default: float, gone_after: int
) -> None:
    spec = {"runPolicy": {"ttlSecondsAfterFinished": own}} if own is not None else {}
    seen = observed(job(SUCCEEDED, **spec))
    end = times.parse(seen.job.status.end_time)
    assert end is not None
    settings = Settings(ttl_seconds_after_finished=default)
    expiry = end + timedelta(seconds=gone_after)
    assert decide_job(seen, expiry, settings).deletions[0].name == seen.job.metadata.name
    before = decide_job(seen, expiry - timedelta(seconds=1), settings)
    assert (before.deletions, before.requeue_at) == ((), expiry)


def test_without_any_ttl_an_ended_job_stays_and_nothing_waits() -> None:
    later = decide_job(observed(job(SUCCEEDED)), at(86_400 * 3650), Settings())
    assert (later.deletions, later.requeue_at) == ((), None)
