"""Decisions on TrainingJobs that a table says badly."""

import json
from dataclasses import replace

from fovea_api.contract.report import REASON_PUBLISHED, ProgressReport, Termination
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.shared.observed import ContainerRecord
from fovea_operator.reconcile.training.decide import decide_job
from support.decision_table import RUNNING, decide, summary
from support.observations import GPU, OUTPUT, SETTINGS, at, ended, job, machine, observed, running, version


def test_a_catalogue_of_another_release_than_the_image_only_warns() -> None:
    settings = replace(SETTINGS, trainer_image="registry.example.com/fovea-tensorflow:0.2.0")
    seen = observed(job(args={"lerning-rate": 0.1}), running(started=1))
    new = decide_job(observed(job(args={"lerning-rate": 0.1})), at(1), settings)
    assert [child.manifest["kind"] for child in new.children] == ["Pod"]
    decision = decide_job(seen, at(1), settings)
    assert [(event.type, event.reason) for event in decision.events] == [("Warning", "ArgumentsUnchecked")]
    assert "unknown flag --lerning-rate" in decision.events[0].message


def test_an_image_tag_that_is_no_release_is_taken_to_match_the_catalogue() -> None:
    for image in ("localhost:5000/fovea-tensorflow:3f2a9c", "fovea-tensorflow@sha256:ab", "fovea-tensorflow"):
        decision = decide_job(observed(job(args={"lerning-rate": 0.1})), at(1), replace(SETTINGS, trainer_image=image))
        assert decision.status is not None
        assert decision.status["state"] == "FAILED", image


def test_progress_and_the_newest_checkpoint_reach_the_status() -> None:
    said = ProgressReport(
        120, 440, 2, 10, {"loss": 0.5, "broken": float("nan")}, 100, "sha256:c", "2026-11-21T10:00:50Z"
    )
    status = decide(observed(job(RUNNING), running(), progress=said)).status
    assert status is not None
    counts = {"summary": "120/440", "step": 120, "steps": 440, "epoch": 2, "epochs": 10}
    assert status["progress"] == counts | {"metrics": {"loss": 0.5}, "metricsLeftOut": 1}
    assert status["checkpoint"] == {"step": 100, "digest": "sha256:c", "time": "2026-11-21T10:00:50Z"}


def test_the_last_progress_comes_with_the_sidecars_last_words_when_its_report_was_lost() -> None:
    lost = ProgressReport(step=400, steps=440)
    last = Termination(REASON_PUBLISHED, "published", output=OUTPUT, progress=ProgressReport(step=440, steps=440))
    pod = ended(sync=ContainerRecord(exit_code=0, termination_message=last.to_json()))
    status = decide(observed(job(RUNNING), pod, progress=lost)).status
    assert (status["state"], status["progress"]) == (
        "SUCCEEDED",
        {"summary": "440/440", "step": 440, "steps": 440},
    )


def test_progress_stays_when_the_operator_has_just_started() -> None:
    before = RUNNING | {"progress": {"step": 120}, "checkpoint": {"step": 100, "digest": "sha256:c"}}
    status = decide(observed(job(before), running())).status
    assert status is not None
    assert (status["progress"], status["checkpoint"]) == ({"step": 120}, {"step": 100, "digest": "sha256:c"})


def test_a_status_that_is_written_once_is_not_written_differently_again() -> None:
    seen = observed(job(), running(started=1))
    first = decide(seen, 2)
    again = decide(replace(seen, job=job(first.status)), 200)
    assert again.status == first.status
    assert again.events == ()


def test_a_retry_decided_twice_says_the_same_twice() -> None:
    seen = observed(job(RUNNING), ended(code=75))
    first, second = decide(seen, 71), decide(seen, 74)
    assert first.status is not None
    assert second.status is not None
    assert first.status["nextAttemptTime"] == second.status["nextAttemptTime"] == "2026-11-21T10:01:20Z"


def test_the_back_off_doubles_up_to_six_minutes() -> None:
    pauses = []
    for retries in range(8):
        status = RUNNING | {"retries": retries, "attempts": {"chief-0": retries}}
        decision = decide(observed(job(status, runPolicy={"backoffLimit": 9}), ended(retries, code=75)), 71)
        assert decision.requeue_at is not None
        pauses.append((decision.requeue_at - at(70)).total_seconds())
    for pause, least in zip(pauses, [10, 20, 40, 80, 160, 320, 360, 360], strict=True):
        assert least <= pause <= least * 1.5


def test_jobs_that_fail_together_come_back_one_after_the_other() -> None:
    starts = {
        decide(observed(job(RUNNING, metadata={"uid": f"uid-{n}"}), ended(code=75)), 71).requeue_at for n in range(100)
    }
    assert starts == {at(80 + n) for n in range(5)}


def drained(attempt: int, disruptions: int, *, started: float = 10, finished: float = 70) -> Decision:
    status = RUNNING | {"attempts": {"chief-0": attempt}, "disruptions": disruptions}
    pod = ended(attempt, code=143, disrupted="Eviction API: evicting", started=started, finished=finished)
    return decide(observed(job(status, runPolicy={"backoffLimit": 0}), pod), finished + 1)


def test_a_job_outlives_any_number_of_drains_whatever_its_backoff_limit() -> None:
    for disruptions in (0, 1, 3, 1000):
        found = drained(disruptions, disruptions)
        assert summary(found)["state"] == "QUEUED"
        assert (found.status or {})["disruptions"] == disruptions + 1
        assert (found.status or {}).get("retries") is None
        assert "this does not count as a retry" in (found.status or {})["message"]


def test_disruptions_one_after_the_other_wait_longer_and_one_after_hours_of_training_does_not() -> None:
    pauses = [(found.requeue_at or at(0)) - at(70) for found in (drained(n, n) for n in range(7))]
    assert pauses == sorted(pauses)
    assert pauses[-1].total_seconds() >= 360
    later = drained(6, 6, finished=10_000).requeue_at
    assert later is not None
    assert (later - at(10_000)).total_seconds() <= 15


def test_running_seconds_add_up_over_attempts() -> None:
    status = decide(observed(job(RUNNING | {"runningSeconds": 100}), ended(code=75))).status
    assert status is not None
    assert status["runningSeconds"] == 160


def test_transition_times_move_only_with_the_condition() -> None:
    status = decide(observed(job(RUNNING), running()), 60).status
    assert status is not None
    assert {c["type"]: c["lastTransitionTime"] for c in status["conditions"]} == {
        "Admitted": "2026-11-21T10:00:10Z",
        "Running": "2026-11-21T10:00:10Z",
    }
    over = decide(observed(job(RUNNING), ended()), 75).status
    assert over is not None
    assert {c["type"]: c["lastTransitionTime"] for c in over["conditions"]} == {
        "Admitted": "2026-11-21T10:00:10Z",
        "Running": "2026-11-21T10:01:15Z",
        "Complete": "2026-11-21T10:01:15Z",
    }


def test_inputs_by_name_become_addresses_with_digests() -> None:
    published_by = job(
        {
            "state": "SUCCEEDED",
            "output": {"uri": "s3://other/vision/jobs/prepare/prepare-uid/output/0", "digest": "sha256:1"},
            "model": {"uri": "s3://other/vision/jobs/prepare/prepare-uid/model/0", "digest": "sha256:2"},
        },
        name="prepare",
    )
    named = {
        "raw": "s3://fovea/vision/datasets/digits",
        "prepared": "job://prepare/output",
        "base": "job://prepare/model",
        "newest": "model://faces",
        "pinned": "model://faces/1",
    }
    decision = decide(
        observed(
            job(inputs=named, checkpoint={"from": "job://prepare"}),
            jobs=[published_by],
            versions=[
                version(1, model="faces"),
                version(2, model="faces"),
                version(3, model="faces", approval="Rejected"),
            ],
        )
    )
    plan = json.loads(decision.children[0].manifest["spec"]["initContainers"][0]["env"][0]["value"])
    assert {item["name"]: (item["kind"], item["uri"], item["digest"][-2:]) for item in plan["inputs"]} == {
        "raw": ("s3", "s3://fovea/vision/datasets/digits", ""),
        "prepared": ("publication", "s3://other/vision/jobs/prepare/prepare-uid/output/0", ":1"),
        "base": ("publication", "s3://other/vision/jobs/prepare/prepare-uid/model/0", ":2"),
        "newest": ("publication", "s3://fovea/vision/models/faces/2", "02"),
        "pinned": ("publication", "s3://fovea/vision/models/faces/1", "01"),
    }
    assert plan["checkpoint_from"] == "s3://other/vision/jobs/prepare/prepare-uid"


def test_the_gpu_tier_takes_the_gpu_machine_and_image() -> None:
    seen = observed(job(scaleTier="BASIC_GPU"), machine_types=[machine(), GPU])
    [pod_child] = decide(seen).children
    assert pod_child.manifest["spec"]["containers"][0]["image"] == SETTINGS.trainer_gpu_image
    assert pod_child.manifest["spec"]["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB"}
