"""The Job of a BatchPrediction, whole, against golden YAML; its progress, by what its workers report; and what is told of one that fails."""

from dataclasses import replace
from typing import Any

import pytest
import yaml
from fovea_api.contract import environment
from fovea_api.contract.plan import BatchPlan
from fovea_operator.desired.batch_job import batch_job as built
from fovea_operator.desired.batch_job import output_uri
from fovea_operator.reconcile.shared.observed import PredictionObserved
from support.golden import Golden
from support.observations import DIGEST, GPU, SETTINGS, machine, version
from support.predictions import PINNED, after, agent, counts, decide, ended, observed, prediction, published, running


def decided(seen: PredictionObserved) -> dict[str, Any]:
    """The decided status."""
    status = decide(seen).status
    assert status is not None
    return status


def progress_of(seen: PredictionObserved) -> dict[str, Any]:
    """What it says of the progress."""
    found: dict[str, Any] = decided(seen)["progress"]
    return found


# -- progress ----------------------------------------------------------------------------------------------------------


def test_progress_is_the_sum_of_all_workers_reports() -> None:
    pods = (running(), running(1), ended(2))
    heard = {
        pods[0].uid: counts(100, 1, 1, 8, pace=20.0),
        pods[1].uid: counts(200, 0, 2, 8, pace=30.0),
        pods[2].uid: counts(100, 3, 1, 8, pace=99.0),
    }
    found = progress_of(observed(prediction(PINNED), *pods, heard=heard))
    assert found == {
        "summary": "50%",
        "records": 400,
        "errors": 4,
        "errorRatio": 0.01,
        "shards": {"done": 4, "total": 8},
        "percent": 50,
        "recordsPerSecond": 50.0,
        "etaSeconds": 8,
    }


def test_progress_counts_workers_that_are_gone_and_what_the_status_knew_before_a_restart() -> None:
    gone = {1: counts(100, 0, 1, 8).report}
    seen = observed(prediction(PINNED), running(), heard={running().uid: counts(100, 0, 1, 8)}, heard_before=gone)
    assert progress_of(seen)["records"] == 200
    restarted = after(seen, heard={}, heard_before={})
    assert progress_of(restarted)["records"] == 200


@pytest.mark.parametrize(("done", "state"), [(7, "FAILED"), (8, "RUNNING")])
def test_too_many_errors_end_it_before_its_end_and_not_while_its_output_is_published(done: int, state: str) -> None:
    """Between the last shard and the word of the worker that publishes, the output with all errors is on its way."""
    heard = {running().uid: counts(100_000, 90_000, done, 8)}
    assert decided(observed(prediction(PINNED), running(), heard=heard))["state"] == state


@pytest.mark.parametrize("order", [1, -1])
def test_a_worker_that_was_replaced_counts_once_by_the_report_that_is_furthest(order: int) -> None:
    """The pod that follows begins with all that its number has answered."""
    killed, successor, other = ended(code=137), running(number=1), running(1)
    heard = {pod.uid: counts(1280, 180, 5, 10) for pod in (killed, successor)} | {other.uid: counts(0, 0, 0, 10)}
    seen = observed(prediction(PINNED), *(killed, successor, other)[::order], heard=heard)
    found = progress_of(seen)
    assert (found["records"], found["errors"], found["percent"]) == (1280, 180, 50)
    assert decided(seen)["state"] == "RUNNING", "the five shards that are left may outweigh the errors"
    gone = observed(
        prediction(PINNED),
        successor,
        heard={successor.uid: counts(256, 36, 1, 10)},
        heard_before={0: heard[killed.uid].report},
    )
    assert progress_of(gone)["records"] == 1280


def test_a_pod_that_is_being_deleted_beside_its_successor_is_no_worker_more() -> None:
    leaving, successor = running(deleting=True), running(number=1)
    reports = {leaving.uid: counts(100, 0, 1, 8, pace=20.0), successor.uid: counts(150, 0, 2, 8, pace=30.0)}
    status = decided(observed(prediction(PINNED, parallelism=1), leaving, successor, heard=reports))
    assert (status["workers"]["active"], status["progress"]["recordsPerSecond"]) == (1, 30.0)
    assert status["message"].startswith("1 worker answers records")
    twin = decided(observed(prediction(PINNED), ended(), running(number=1), running(1)))
    assert twin["workers"] == {"active": 1, "succeeded": 1, "failed": 0}


def test_whether_the_store_is_away_is_not_asked_of_a_pod_that_is_being_deleted() -> None:
    leaving, successor = running(deleting=True), running(number=1)
    away = counts(100, store_unreachable_since="2026-11-21T10:00:30Z")
    seen = observed(prediction(PINNED), leaving, successor, heard={leaving.uid: counts(100), successor.uid: away})
    assert "has not answered since 2026-11-21T10:00:30Z" in decided(seen)["message"]


def test_what_an_ended_worker_counted_is_in_its_last_words_where_no_operator_listened() -> None:
    last = agent(0, "NothingToPublish", "answered", {"records": 50.0, "errors": 2.0, "shards": 1.0})
    seen = observed(prediction(PINNED), ended(batch=last), running(1), heard={running(1).uid: counts(50, 0, 1, 4)})
    found = progress_of(seen)
    assert (found["records"], found["errors"], found["percent"]) == (100, 2, 50)


@pytest.mark.parametrize("odd", [{}, {"records": float("nan")}, {"shards": -1.0, "shards_total": 1e300}, "text"])
def test_odd_numbers_of_a_report_count_as_none(odd: Any) -> None:
    heard = replace(counts(0), report=replace(counts(0).report, metrics=odd))
    assert progress_of(observed(prediction(PINNED), running(), heard={running().uid: heard}))["records"] == 0


def test_final_totals_are_those_of_the_worker_that_published() -> None:
    seen = observed(prediction(PINNED), ended(batch=published(1000, 7, 4)), heard={ended().uid: counts(10)})
    found = progress_of(seen)
    assert (found["records"], found["errors"], found["summary"], found.get("recordsPerSecond")) == (
        1000,
        7,
        "100%",
        None,
    )


def retries(seen: PredictionObserved) -> list[str]:
    """The Events of failures."""
    return [f"{event.type} {event.message}" for event in decide(seen).events if event.reason == "Retrying"]


def test_a_worker_that_fails_while_others_go_on_is_announced_once() -> None:
    before = after(observed(prediction(PINNED), running(), running(1))).prediction
    seen = observed(before, ended(code=137, reason="OOMKilled"), running(1))
    [said] = retries(seen)
    assert said.startswith("Warning Worker 0 is started again (retry 1 of 3), and repeats one shard")
    assert retries(after(seen)) == []
    assert retries(observed(before, ended(code=143, disrupted="drained"), running(1))) == []
    assert len(retries(observed(before, ended(code=137, reason="OOMKilled")))) == 1, "where its condition says it too"
    # The worker whose count has grown, not the one with the newest pod.
    newer = observed(before, ended(1, number=5, code=137, reason="OOMKilled"), running(), running(1, 6))
    both = observed(
        after(newer).prediction, *newer.pods["scores-batch-0-uid"], ended(0, number=1, code=137, reason="OOMKilled")
    )
    assert [said[: len("Warning Worker 0")] for said in retries(both)] == ["Warning Worker 0"]


# -- the Job -----------------------------------------------------------------------------------------------------------


def test_the_job_of_a_prediction(golden: Golden) -> None:
    golden.check("operator/batch-job.yaml", built(prediction(), version(3), 0, machine(), SETTINGS))


def test_the_job_of_a_prediction_on_gpus_with_all_that_can_be_said(golden: Golden) -> None:
    of = prediction(
        parallelism=8,
        output={"uri": "s3://fovea/vision/scores", "format": "kaggle"},
        pod={"labels": {"team": "vision"}, "serviceAccountName": "default", "priorityClassName": "low"},
        runPolicy={"maxRunningSeconds": 3600},
    )
    settings = replace(SETTINGS, image_pull_secrets=("fovea-registry",), report_url="")
    golden.check("operator/batch-job-gpu.yaml", built(of, version(3), 2, GPU, settings))


def test_the_agent_is_given_the_plan_of_the_contract() -> None:
    pod = built(prediction(), version(3), 0, machine(), SETTINGS)["spec"]["template"]["spec"]
    [_, batch] = pod["initContainers"]
    [plan] = [each["value"] for each in batch["env"] if each["name"] == environment.PLAN]
    read = BatchPlan.from_json(plan)
    assert (read.workers, read.model_digest, read.output_uri) == (2, DIGEST + "3", output_uri(prediction(), SETTINGS))
    assert read.report_url == SETTINGS.report_url


def test_the_program_holds_no_key() -> None:
    [program] = built(prediction(), version(3), 0, machine(), SETTINGS)["spec"]["template"]["spec"]["containers"]
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in program["volumeMounts"]}
    assert mounts == {environment.WORK_MOUNT: False, environment.MODELS_MOUNT: True, "/tmp": False}
    assert "secret" not in yaml.safe_dump(program).lower()
