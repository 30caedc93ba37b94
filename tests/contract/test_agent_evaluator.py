"""The chief's pod and the evaluator's with a real store between them: what one sidecar publishes, the other one brings and holds."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fovea_api.contract import environment, exit_codes, report, storage
from fovea_api.contract.evaluation import Best
from support.object_store import ObjectStore
from support.polling import until
from support.training_pod import TrainingPod, finish, manifest, published

SECONDS = 120


@pytest.fixture
def chief(pod: TrainingPod) -> Iterator[TrainingPod]:
    chief = replace(pod, plan=replace(pod.plan, checkpoint_keep=1))
    chief.start_sync("--fetch", "--settle", "0.2")
    yield chief
    chief.kill_sync()


@pytest.fixture
def evaluator(pod: TrainingPod, tmp_path: Path) -> Iterator[TrainingPod]:
    plan = replace(pod.plan, role="evaluator", attempt=0, publish=False, restore=False)
    evaluator = replace(pod, plan=plan, folder=tmp_path / "evaluator")
    evaluator.folder.mkdir()
    evaluator.start_sync("--fetch")
    yield evaluator
    evaluator.kill_sync()


def publish(object_store: ObjectStore, chief: TrainingPod, step: int) -> None:
    chief.checkpoint(step, {"weights": b"w%d" % step})
    until(lambda: step in published(object_store, chief), seconds=SECONDS, what=f"checkpoint {step} is published")


def measure(object_store: ObjectStore, evaluator: TrainingPod, step: int, best: Best) -> None:
    """The program measures the checkpoint once it is there, and its evaluation is published."""
    weights = evaluator.directory(environment.CHECKPOINT_DIR) / str(step) / "weights"
    until(weights.exists, seconds=SECONDS, what=f"checkpoint {step} comes")
    assert weights.read_bytes() == b"w%d" % step
    document = {"metrics": {"accuracy": best.value}, "best": best.document()}
    evaluator.write(environment.OUTPUT_DIR, {f".{step}/{environment.EVALUATION_FILE}": json.dumps(document).encode()})
    unfinished = evaluator.directory(environment.OUTPUT_DIR) / f".{step}"
    unfinished.rename(unfinished.with_name(str(step)))
    key = storage.manifest(f"{storage.evaluations(evaluator.job, evaluator.plan.attempt)}/{step}")
    until(lambda: object_store.names(key), seconds=SECONDS, what=f"the evaluation of {step} is published")


def test_the_best_checkpoint_outlives_newer_ones_and_the_result_of_the_job(
    object_store: ObjectStore, chief: TrainingPod, evaluator: TrainingPod
) -> None:
    best = Best(100, "accuracy", 0.9)
    for step in (100, 200):
        publish(object_store, chief, step)
        measure(object_store, evaluator, step, best)
    held = storage.held(chief.job, 0, 100)
    until(lambda: object_store.names(storage.all_held(chief.job)) == ["0/100"], what=f"{held} is all that is held")
    publish(object_store, chief, 300)
    until(lambda: published(object_store, chief) == {100, 300}, seconds=SECONDS, what="100 and 300 are all that stay")
    evaluator.write(environment.LOG_DIR, {"validation/events.1": b"events"})
    done = evaluator.sync_ended()
    assert (done.code, done.termination.reason) == (exit_codes.OK, report.REASON_NOTHING_TO_PUBLISH)
    assert [each.path for each in manifest(object_store, storage.evaluator_events(chief.job, 0)).entries] == [
        "validation/events.1"
    ]
    finish(chief)
    assert chief.sync_ended().termination.complete
    assert 100 in published(object_store, chief)


def test_an_evaluator_that_is_lost_is_followed_by_one_that_goes_on(
    object_store: ObjectStore, chief: TrainingPod, evaluator: TrainingPod
) -> None:
    publish(object_store, chief, 100)
    measure(object_store, evaluator, 100, Best(100, "accuracy", 0.9))
    evaluator.kill_sync()
    after = evaluator.next_attempt()
    try:
        assert after.fetch().code == exit_codes.OK
        assert (after.directory(environment.OUTPUT_DIR) / "100" / environment.EVALUATION_FILE).is_file()
        after.start_sync()
        until(
            lambda: object_store.names(storage.all_held(chief.job)) == ["1/100"], what="only the new attempt holds 100"
        )
        publish(object_store, chief, 200)
        measure(object_store, after, 200, Best(200, "accuracy", 0.95))
        until(lambda: published(object_store, chief) >= {200}, what="200 is there")
    finally:
        after.kill_sync()
