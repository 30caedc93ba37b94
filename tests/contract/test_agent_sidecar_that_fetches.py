"""A pod without a container that fetches: its sidecar does what that would do, before the program may start."""

import json
import signal
from pathlib import Path

import pytest
from fovea_api.contract import environment, exit_codes, report, storage
from fovea_api.contract.plan import TrainingPlan
from support.object_store import ObjectStore
from support.polling import until
from support.training_pod import NAMESPACE, TrainingPod, finish, manifest, published

FETCH = "--fetch"
NOBODY = "http://127.0.0.1:9"


def is_ready(pod: TrainingPod) -> bool:
    """Whether the program may start."""
    return (pod.state / Path(environment.SYNC_READY).name).exists()


def sync(pod: TrainingPod, *flags: str) -> None:
    """Start the sidecar as the container that it is, with nothing waited for."""
    pod.sidecar = pod.start("sync", "--poll", "0.1", "--report-interval", "0.2", FETCH, *flags)


def test_the_folders_are_there_and_the_fence_is_up_when_the_program_may_start(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    pod.start_sync(FETCH)
    for name in environment.DIRECTORIES:
        assert pod.directory(name).stat().st_mode & 0o7777 == 0o2777
    assert object_store.names(storage.fences(pod.job)) == ["1"]
    pod.checkpoint(200, {"weights": b"w200"})
    until(lambda: published(object_store, pod) == {200}, what="checkpoint 200 is published")
    finish(pod)
    ended = pod.sync_ended()
    assert (ended.code, ended.termination.reason) == (exit_codes.OK, report.REASON_PUBLISHED)
    assert manifest(object_store, storage.output(pod.job, 1)).complete


def test_the_output_of_a_pod_that_nobody_saw_end_is_found_before_the_program_starts(pod: TrainingPod) -> None:
    pod.start_sync(FETCH)
    finish(pod)
    told = pod.sync_ended().termination
    for file in (pod.work, pod.state):  # the pod is lost, and another one of the same attempt is made
        file.rename(file.with_name(f"{file.name}-of-the-lost-pod"))
    sync(pod)
    found = pod.sync_ended(sigterm=False)
    assert (found.code, found.termination.reason) == (exit_codes.ALREADY_COMPLETE, report.REASON_ALREADY_COMPLETE)
    assert (found.termination.output, found.termination.model) == (told.output, told.model)
    assert not is_ready(pod)


def test_a_checkpoint_of_a_pod_that_nobody_saw_is_in_its_place_when_the_program_starts(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    pod.start_sync(FETCH)
    pod.checkpoint(200, {"weights": b"w200"})
    until(lambda: published(object_store, pod) == {200}, what="checkpoint 200 is published")
    pod.kill_sync()
    for file in (pod.work, pod.state):
        file.rename(file.with_name(f"{file.name}-of-the-lost-pod"))
    pod.start_sync(FETCH)
    assert (pod.directory(environment.CHECKPOINT_DIR) / "200" / "weights").read_bytes() == b"w200"
    assert pod.sync_ended().termination.checkpoint_step == 200


def test_a_key_that_is_refused_ends_it_before_the_program_starts(pod: TrainingPod) -> None:
    (pod.keys / storage.SECRET_SECRET_KEY).write_text("not-the-key-at-all")
    sync(pod)
    ended = pod.sync_ended(sigterm=False)
    assert (ended.code, ended.termination.reason) == (exit_codes.KEY_REFUSED, "KeyRefused")
    assert not is_ready(pod)


def test_a_newer_attempt_ends_it_before_the_program_starts(object_store: ObjectStore, pod: TrainingPod) -> None:
    object_store.put(storage.fence(pod.job, 2), b"")
    sync(pod)
    ended = pod.sync_ended(sigterm=False)
    assert (ended.code, ended.termination.reason) == (exit_codes.FENCED, "Fenced")
    assert not is_ready(pod)


def test_a_plan_that_it_does_not_understand_ends_it_before_the_program_starts(pod: TrainingPod) -> None:
    class Newer(TrainingPlan):
        def to_json(self) -> str:
            return json.dumps({**json.loads(super().to_json()), "of_a_later_release": True})

    pod.plan = Newer(NAMESPACE, "digits", pod.plan.uid, 0)
    sync(pod)
    ended = pod.sync_ended(sigterm=False)
    assert (ended.code, is_ready(pod)) == (exit_codes.CONFIGURATION, False)


def test_a_store_that_does_not_answer_is_waited_for_as_long_as_fetch_waits(pod: TrainingPod) -> None:
    (pod.keys / storage.SECRET_ENDPOINT).write_text(NOBODY)
    sync(pod, "--patience", "1")
    ended = pod.sync_ended(sigterm=False)
    assert (ended.code, ended.termination.reason) == (exit_codes.RESTART, "StoreUnreachable")
    assert not is_ready(pod)


def test_it_ends_at_once_when_the_pod_is_deleted_before_the_program_starts(pod: TrainingPod) -> None:
    (pod.keys / storage.SECRET_ENDPOINT).write_text(NOBODY)
    sync(pod)
    assert pod.sidecar is not None
    until(lambda: "store unreachable" in pod.sync_log(), what="it waits for the store")
    pod.sidecar.send_signal(signal.SIGTERM)
    assert pod.sidecar.wait(20) == 128 + signal.SIGTERM
    assert not is_ready(pod)


@pytest.mark.parametrize("name", [environment.CHECKPOINT_DIR, environment.OUTPUT_DIR, "progress"])
def test_it_does_not_end_with_what_a_program_left_that_was_let_start_too_early(pod: TrainingPod, name: str) -> None:
    """A kubelet that was restarted while the hook ran has forgotten the hook."""
    (pod.keys / storage.SECRET_ENDPOINT).write_text(NOBODY)
    sync(pod, "--patience", "3")
    until(lambda: "store unreachable" in pod.sync_log(), what="it waits for the store")
    folder = pod.directory(name) if name in environment.DIRECTORIES else pod.work / name
    (folder / "made-by-the-program").write_text("{}")
    ended = pod.sync_ended()
    assert (ended.code, ended.termination.reason) == (exit_codes.RESTART, "StoreUnreachable")


def test_started_again_while_the_program_runs_it_fetches_nothing_and_waits_for_the_store_without_end(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    pod.start_sync(FETCH)
    pod.checkpoint(200, {"weights": b"w200"})
    until(lambda: published(object_store, pod) == {200}, what="checkpoint 200 is published")
    pod.kill_sync()
    right = (pod.keys / storage.SECRET_ENDPOINT).read_text()
    (pod.keys / storage.SECRET_ENDPOINT).write_text(NOBODY)
    sync(pod, "--patience", "0")
    until(lambda: "store unreachable" in pod.sync_log(), what="it waits for the store")
    assert pod.sidecar is not None
    assert pod.sidecar.poll() is None
    pod.kill_sync()
    (pod.keys / storage.SECRET_ENDPOINT).write_text(right)
    pod.checkpoint(400, {"weights": b"w400"})
    sync(pod)
    until(lambda: published(object_store, pod) == {200, 400}, what="checkpoint 400 is published")
    finish(pod)
    assert pod.sync_ended().termination.complete
    assert "already complete" not in pod.sync_log()
