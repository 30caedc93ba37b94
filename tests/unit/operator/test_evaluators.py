"""Jobs with an evaluator: what its pod gets, who waits for it (nobody), and what becomes of the job when it fails."""

import json
from dataclasses import replace
from typing import Any

import pytest
from fovea_api.contract import environment, labels, names
from fovea_api.contract.cluster_spec import ClusterSpec
from fovea_api.contract.plan import TrainingPlan
from fovea_api.contract.report import ProgressReport
from fovea_api.v1alpha1 import JobState, TrainingJob
from fovea_operator.desired.members import Member, members_of
from fovea_operator.desired.pod import Sources, training_pod
from fovea_operator.reconcile.shared.decision import POD_GROUP, Decision
from fovea_operator.reconcile.shared.observed import ContainerRecord, Heard, PodRecord
from fovea_operator.reconcile.training.decide import decide_job
from support.members import of
from support.observations import SETTINGS, after, at, ended, job, machine, observed, pod, preparing, published, running
from support.workloads import in_queue

CHIEF, EVALUATOR = Member(), Member("evaluator", 0)
SHAPES: dict[str, dict[str, Any]] = {
    "Single": {"roles": {"evaluator": {}}},
    "MultiWorkerMirrored": {"distribution": "MultiWorkerMirrored", "roles": {"worker": {"count": 2}, "evaluator": {}}},
    "ParameterServer": {"distribution": "ParameterServer", "roles": {"worker": {}, "ps": {}, "evaluator": {}}},
}
EACH = pytest.mark.parametrize("shape", SHAPES)
UNDER_WAY = {"attempts": {"chief-0": 0}, "state": "RUNNING"}


def single(status: dict[str, Any] | None = None, **spec: Any) -> TrainingJob:
    return job(status, **SHAPES["Single"], **spec)


def decide(of_job: TrainingJob, *pods: PodRecord, now: float = 60, **seen: Any) -> Decision:
    return decide_job(observed(of_job, *pods, **seen), at(now), SETTINGS)


def made(decision: Decision) -> list[str]:
    return [child.manifest["metadata"]["name"] for child in decision.children]


def manifest(shape: str, member: Member) -> dict[str, Any]:
    of_job = job(**SHAPES[shape])
    sources = Sources(checkpoint_from="s3://fovea/vision/jobs/other/uid")
    return training_pod(of_job, member, 0, machine(), sources, SETTINGS, members=members_of(of_job))


def variables(built: dict[str, Any], container: str = names.TRAINER_CONTAINER) -> dict[str, str]:
    every = [*built["spec"]["initContainers"], *built["spec"]["containers"]]
    (found,) = [each for each in every if each["name"] == container]
    return {each["name"]: each.get("value", "") for each in found["env"]}


@EACH
def test_the_evaluator_knows_the_others_and_they_do_not_know_it(shape: str) -> None:
    task = ClusterSpec.from_env(variables(manifest(shape, EVALUATOR))[environment.TF_CONFIG])
    assert task is not None
    assert (task.role, task.index) == ("evaluator", 0)
    assert set(task.cluster) == {each.role for each in members_of(job(**SHAPES[shape]))} - {"evaluator"}
    of_chief = ClusterSpec.from_env(variables(manifest(shape, CHIEF)).get(environment.TF_CONFIG))
    assert (of_chief.cluster if of_chief else None) == (None if shape == "Single" else task.cluster)


@EACH
def test_its_sidecar_follows_and_begins_with_no_checkpoint_of_another_job(shape: str) -> None:
    plan = TrainingPlan.from_json(variables(manifest(shape, EVALUATOR), names.SYNC_CONTAINER)[environment.PLAN])
    assert (plan.follows, plan.publish, plan.restore, plan.checkpoint_from) == (True, False, False, "")


def test_a_job_of_one_chief_gets_a_pod_more_and_no_service() -> None:
    assert made(decide(single())) == ["digits-chief-0-0", "digits-evaluator-0-0"]
    assert "subdomain" not in manifest("Single", CHIEF)["spec"]


def test_the_job_runs_while_its_evaluator_waits_for_a_node() -> None:
    evaluator = of(EVALUATOR, replace(pod(), unschedulable="0/3 nodes are available"))
    status = after(single(UNDER_WAY), decide(single(UNDER_WAY), of(CHIEF, running()), evaluator)).status
    assert status.state == JobState.RUNNING
    assert {key: each.state for key, each in (status.members or {}).items()} == {
        "chief-0": "RUNNING",
        "evaluator-0": "QUEUED",
    }
    preparing_chief = decide(single(UNDER_WAY), of(CHIEF, preparing()), evaluator, now=5).status
    assert preparing_chief is not None
    assert preparing_chief["state"] == JobState.PREPARING, "the evaluator holds nothing up"


def test_an_evaluator_without_a_node_gives_no_nodes_back() -> None:
    evaluator = of(EVALUATOR, pod(created=0))
    decision = decide(single(UNDER_WAY), of(CHIEF, running(created=0)), evaluator, now=5000)
    assert decision.deletions == ()
    assert decision.status is not None
    assert decision.status["state"] == JobState.RUNNING


def test_the_job_succeeds_when_the_chief_does_and_the_evaluator_is_stopped() -> None:
    decision = decide(single(UNDER_WAY), of(CHIEF, ended(sync=published())), of(EVALUATOR, running()))
    assert decision.status is not None
    assert decision.status["state"] == JobState.SUCCEEDED
    assert [each.name for each in decision.deletions] == ["digits-evaluator-0-0"]


def test_a_failed_evaluator_begins_again_alone_and_no_retry_is_counted() -> None:
    failed = of(EVALUATOR, ended(code=137))
    decision = decide(single(UNDER_WAY), of(CHIEF, running()), failed)
    status = decision.status
    assert status is not None
    assert status["state"] == JobState.RUNNING
    assert (status.get("retries"), status["evaluatorFailures"]) == (None, 1)
    assert status["attempts"] == {"chief-0": 0, "evaluator-0": 1}
    assert set(status["nextAttemptTimes"]) == {"evaluator-0"}
    assert "The job goes on" in status["message"]
    assert decision.deletions == ()
    again = decide(after(single(UNDER_WAY), decision), of(CHIEF, running()), failed, now=600)
    assert made(again) == ["digits-evaluator-0-1"]


def test_an_evaluator_whose_node_is_drained_has_not_failed() -> None:
    drained = of(EVALUATOR, replace(ended(code=143), disrupted="drained"))
    status = decide(single(UNDER_WAY), of(CHIEF, running()), drained).status
    assert status is not None
    assert status["attempts"] == {"chief-0": 0, "evaluator-0": 1}
    assert "evaluatorFailures" not in status
    assert "disruptions" not in status


@pytest.mark.parametrize(("failures", "code"), [(2, 137), (0, 1)], ids=["a third failure", "a permanent failure"])
def test_the_job_goes_on_without_an_evaluator_that_does_not_work_and_says_so(failures: int, code: int) -> None:
    before = single({**UNDER_WAY, "evaluatorFailures": failures} if failures else UNDER_WAY)
    failed = of(EVALUATOR, ended(code=code))
    decision = decide(before, of(CHIEF, running()), failed)
    assert decision.status is not None
    assert decision.status["state"] == JobState.RUNNING
    assert "left out" in decision.status["message"]
    later = after(before, decision)
    for present in ((failed,), ()):
        again = decide(later, of(CHIEF, running()), *present, now=5000)
        assert made(again) == []
        assert again.status is not None
        assert "The evaluator is left out" in again.status["message"]
    end = decide(later, of(CHIEF, ended(sync=published())), now=5000)
    assert end.status is not None
    assert end.status["state"] == JobState.SUCCEEDED
    assert "The evaluator is left out" in end.status["message"]


def test_when_the_chief_fails_nobody_waits_for_the_evaluator_of_the_attempt_before() -> None:
    decision = decide(single(UNDER_WAY), of(CHIEF, ended(code=137)), of(EVALUATOR, running()))
    assert decision.status is not None
    assert decision.status["attempts"] == {"chief-0": 1, "evaluator-0": 1}
    assert [each.name for each in decision.deletions] == ["digits-evaluator-0-0"]
    ending = of(EVALUATOR, replace(running(), deleting=True, told_to_end=at(60), deletion_deadline=at(5000)))
    again = decide(after(single(UNDER_WAY), decision), of(CHIEF, ended(code=137)), ending, now=600)
    assert made(again) == ["digits-chief-0-1"]
    one = of(CHIEF, replace(running(), labels={**running().labels, labels.ATTEMPT: "1"}))
    last = decide(after(single(UNDER_WAY), decision), one, now=700)
    assert made(last) == ["digits-evaluator-0-1"]


def test_while_an_evaluator_ends_slowly_the_status_goes_on_and_so_do_deadlines() -> None:
    between = {
        **UNDER_WAY,
        "attempts": {"chief-0": 1, "evaluator-0": 1},
        "state": "QUEUED",
        "nextAttemptTime": "2026-11-21T10:00:30Z",
    }
    chief = of(CHIEF, replace(running(), labels={**running().labels, labels.ATTEMPT: "1"}))
    ending = of(EVALUATOR, replace(running(), deleting=True, told_to_end=at(60), deletion_deadline=at(5000)))
    decision = decide(single(between, runPolicy={"maxRunningSeconds": 900}), chief, ending, now=120)
    assert decision.status is not None
    assert decision.status["state"] == JobState.RUNNING
    assert "nextAttemptTime" not in decision.status
    assert decision.requeue_at == at(900 + 10), "the deadline of the chief"


def test_an_evaluator_that_was_left_out_stays_out_when_the_others_begin_again() -> None:
    out = single({**UNDER_WAY, "evaluatorFailures": 3, "endedPrograms": {"evaluator-0": 137}})
    again = after(out, decide(out, of(CHIEF, ended(code=137))))
    assert made(decide(again, of(CHIEF, ended(code=137)), now=600)) == ["digits-chief-0-1"]


def test_a_drain_is_no_failure_of_an_evaluator_that_has_failed_before() -> None:
    drained = of(EVALUATOR, replace(ended(code=143), disrupted="drained"))
    status = decide(single({**UNDER_WAY, "evaluatorFailures": 3}), of(CHIEF, running()), drained).status
    assert status is not None
    assert "left out" not in status["message"]
    assert set(status["nextAttemptTimes"]) == {"evaluator-0"}


def test_the_pod_of_an_evaluator_that_can_never_start_goes_when_it_is_left_out() -> None:
    never = of(
        EVALUATOR,
        replace(preparing(), containers={names.TRAINER_CONTAINER: ContainerRecord(waiting_reason="InvalidImageName")}),
    )
    own = single(UNDER_WAY, trainer={"container": {"image": "Not:An:Image"}})
    decision = decide(own, of(CHIEF, running()), never)
    assert decision.status is not None
    assert "left out" in decision.status["message"]
    assert [each.name for each in decision.deletions] == ["digits-evaluator-0-0"]


def test_a_suspended_job_stops_its_evaluator_and_resumes_it() -> None:
    wanted = single(UNDER_WAY, suspend=True)
    decision = decide(wanted, of(CHIEF, running()), of(EVALUATOR, running()))
    assert {each.name for each in decision.deletions} == {"digits-chief-0-0", "digits-evaluator-0-0"}
    suspended = after(wanted, decide(wanted, of(CHIEF, ended(code=75)), of(EVALUATOR, ended(code=75))))
    resumed = suspended.model_copy(update={"spec": suspended.spec.model_copy(update={"suspend": False})})
    assert made(decide(resumed, now=700)) == ["digits-chief-0-1", "digits-evaluator-0-1"]


def test_the_best_checkpoint_that_it_reports_is_in_the_status_and_stays_there() -> None:
    evaluator = of(EVALUATOR, running())
    said = ProgressReport(step=300, best_step=200, best_metric="accuracy", best_value=0.975)
    decision = decide(single(UNDER_WAY), of(CHIEF, running()), evaluator, heard={evaluator.uid: Heard(said)})
    assert decision.status is not None
    assert decision.status["bestCheckpoint"] == {"step": 200, "metric": "accuracy", "value": 0.975}
    later = after(single(UNDER_WAY), decision)
    assert (later.status.members or {})["evaluator-0"].step == 300
    end = decide(later, of(CHIEF, ended(sync=published())), evaluator)
    assert end.status is not None
    assert end.status["bestCheckpoint"]["step"] == 200


@pytest.mark.parametrize(
    "said",
    [
        ProgressReport(best_step=-1, best_metric="accuracy", best_value=1.0),
        ProgressReport(best_step=3, best_metric="", best_value=1.0),
        ProgressReport(best_step=3, best_metric="accuracy", best_value=float("nan")),
        ProgressReport(best_step=3, best_metric="accuracy"),
    ],
)
def test_a_best_checkpoint_that_is_none_is_not_taken(said: ProgressReport) -> None:
    evaluator = of(EVALUATOR, running())
    decision = decide(single(UNDER_WAY), of(CHIEF, running()), evaluator, heard={evaluator.uid: Heard(said)})
    assert "bestCheckpoint" not in json.dumps(decision.status)


def test_the_evaluator_is_no_part_of_the_gang() -> None:
    of_job = job(**SHAPES["MultiWorkerMirrored"])
    children = [child.manifest for child in decide(of_job, served=frozenset({POD_GROUP})).children]
    (group,) = [each for each in children if each["kind"] == "PodGroup"]
    assert group["spec"] == {"schedulingPolicy": {"gang": {"minCount": 3}}}
    marked = {each["metadata"]["name"] for each in children if "schedulingGroup" in each["spec"]}
    assert marked == {"digits-chief-0-0", "digits-worker-0-0", "digits-worker-1-0"}
    assert "digits-evaluator-0-0" in {each["metadata"]["name"] for each in children}


def test_a_queue_grants_the_evaluator_quota_with_the_others() -> None:
    (found,) = decide_job(in_queue(single(scheduling={"queue": "team-a"})), at(60), SETTINGS).children
    assert {each["name"]: each["count"] for each in found.manifest["spec"]["podSets"]} == {"chief": 1, "evaluator": 1}
