"""job://NAME@UID and job://NAME@latest against a real store: what jobs left is found by name, and stays what it was found to be."""

from dataclasses import replace

import pytest
from fovea_api.contract import environment, exit_codes, storage
from fovea_api.contract.plan import INPUT_JOB_MODEL, INPUT_JOB_OUTPUT, Input
from support.object_store import ObjectStore
from support.polling import until
from support.training_pod import NAMESPACE, Ended, TrainingPod, published


def name_in(pod: TrainingPod) -> str:
    """A name of the test's own: the store is shared."""
    return f"prepare-{pod.plan.uid.replace('_', '-')}"


def left(pod: TrainingPod, uid: str, text: bytes, *, complete: bool = True, model: bool = False, step: int = 0) -> None:
    """A job of the name that ran, published and was deleted."""
    earlier = replace(
        pod, plan=replace(pod.plan, job=name_in(pod), uid=uid, inputs=(), checkpoint_from=""), folder=pod.folder / uid
    )
    earlier.folder.mkdir()
    assert earlier.fetch().code == exit_codes.OK
    earlier.start_sync()
    earlier.write(environment.OUTPUT_DIR, {"text": text})
    if complete:
        earlier.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
    if model:
        earlier.write(environment.MODEL_DIR, {"saved_model.pb": text})
    if step:
        earlier.checkpoint(step, {"weights": text})
    assert earlier.sync_ended().code == exit_codes.OK


def prefix(store: ObjectStore, pod: TrainingPod, uid: str = "") -> str:
    key = storage.job(NAMESPACE, name_in(pod), uid) if uid else storage.jobs(NAMESPACE, name_in(pod))
    return f"s3://{store.bucket}/{key}"


def asking(pod: TrainingPod, uri: str, kind: str = INPUT_JOB_OUTPUT) -> TrainingPod:
    return replace(pod, plan=replace(pod.plan, inputs=(Input("data", uri, kind),)))


def text_of(pod: TrainingPod, file: str = "data/text") -> bytes:
    return (pod.directory(environment.INPUT_DIR) / file).read_bytes()


def test_a_job_is_named_by_its_uid(object_store: ObjectStore, pod: TrainingPod) -> None:
    left(pod, "one", b"1")
    left(pod, "two", b"2", complete=False)
    for uid, text in (("one", b"1"), ("two", b"2")):
        asked = asking(pod, prefix(object_store, pod, uid))
        asked = replace(asked, plan=replace(asked.plan, uid=f"{pod.plan.uid}-{uid}"), folder=pod.folder / f"asks-{uid}")
        asked.folder.mkdir()
        assert asked.fetch().code == exit_codes.OK
        assert text_of(asked) == text


def test_the_newest_that_is_complete_is_found_and_holds_for_later_attempts(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    left(pod, "b-older", b"older")
    left(pod, "a-newer", b"newer")
    left(pod, "c-failed", b"failed", complete=False)
    first = asking(pod, prefix(object_store, pod))
    assert first.fetch().code == exit_codes.OK
    assert text_of(first) == b"newer"
    left(pod, "d-latest", b"latest")
    second = first.next_attempt()
    assert second.fetch().code == exit_codes.OK
    assert text_of(second) == b"newer"


def test_without_a_complete_one_the_newest_is_taken(object_store: ObjectStore, pod: TrainingPod) -> None:
    for uid in ("b", "a"):
        left(pod, uid, uid.encode(), complete=False)
    asked = asking(pod, prefix(object_store, pod))
    ended = asked.fetch()
    assert ended.code == exit_codes.OK
    assert text_of(asked) == b"a"
    assert [line for line in ended.log if line["event"].startswith("no attempt says that it is complete")]


def test_the_newest_with_a_model_is_found(object_store: ObjectStore, pod: TrainingPod) -> None:
    left(pod, "one", b"1", model=True)
    left(pod, "two", b"2")
    asked = asking(pod, prefix(object_store, pod), INPUT_JOB_MODEL)
    assert asked.fetch().code == exit_codes.OK
    assert text_of(asked, "data/saved_model.pb") == b"1"


@pytest.mark.parametrize("uid", ["", "one"])
def test_training_goes_on_from_the_checkpoint_of_a_deleted_job(
    object_store: ObjectStore, pod: TrainingPod, uid: str
) -> None:
    left(pod, "one", b"1", step=300)
    left(pod, "two", b"2")
    begins = replace(pod, plan=replace(pod.plan, checkpoint_from=prefix(object_store, pod, uid)))
    ended = begins.fetch()
    assert (ended.code, ended.termination.checkpoint_step) == (exit_codes.OK, 300)
    begins.start_sync()
    begins.checkpoint(400, {"weights": b"own"})
    until(lambda: 400 in published(object_store, begins), what="its own checkpoint is published")
    begins.kill_sync()
    assert begins.next_attempt().fetch().termination.checkpoint_step == 400


def test_a_namesake_reads_what_its_predecessor_left_and_never_itself(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    left(pod, "one", b"1", step=300)
    own = replace(
        pod,
        plan=replace(pod.plan, job=name_in(pod), uid="own", checkpoint_from=prefix(object_store, pod)),
        folder=pod.folder / "own",
    )
    own.folder.mkdir()
    assert own.fetch().termination.checkpoint_step == 300


def ended_without(pod: TrainingPod) -> Ended:
    ended = pod.fetch()
    assert ended.code == exit_codes.INPUT_MISSING
    return ended


def test_what_never_was_ends_the_pod_with_what_there_is(object_store: ObjectStore, pod: TrainingPod) -> None:
    said = ended_without(asking(pod, prefix(object_store, pod))).termination
    assert said.reason == "InputMissing"
    assert f"no job {name_in(pod)} has left any output: nothing is at {prefix(object_store, pod)}/" in said.message
    assert "It never existed, it published none, or its data was deleted." in said.message
    left(pod, "one", b"1", step=300)
    said = ended_without(asking(pod, prefix(object_store, pod, "gone")).next_attempt()).termination
    assert f"job {name_in(pod)} with uid gone has left no output" in said.message
    assert "Jobs of this name that left one, the newest first: one." in said.message
    for uid in ("", "gone"):
        other = f"s3://{object_store.bucket}/{storage.jobs(NAMESPACE, 'nobody')}{uid and '/'}{uid}"
        begins = replace(pod, plan=replace(pod.plan, checkpoint_from=other, attempt=5), folder=pod.folder / f"x{uid}")
        begins.folder.mkdir()
        assert ended_without(begins).termination.reason == "CheckpointMissing"


def test_a_manifest_that_cannot_be_read_is_passed_over(object_store: ObjectStore, pod: TrainingPod) -> None:
    left(pod, "one", b"1")
    left(pod, "two", b"2")
    attempt = storage.output(storage.job(NAMESPACE, name_in(pod), "two"), pod.plan.attempt)
    object_store.put(storage.manifest(attempt), b"{}")
    asked = asking(pod, prefix(object_store, pod))
    assert asked.fetch().code == exit_codes.OK
    assert text_of(asked) == b"1"
