"""What is published first when a program ends, what is sent before it does, and what an attempt takes over."""

import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fovea_agent import folder as folder_module
from fovea_agent import known as known_module
from fovea_agent.errors import GraceExceeded, Misconfigured, Vanished
from fovea_agent.folder import Folder
from fovea_agent.known import Known
from fovea_agent.restore import read_manifest, restore
from fovea_agent.uploads import record_key
from fovea_api.contract import environment, storage
from fovea_api.contract.report import Termination
from support.memory_store import Died
from support.sidecar import Pod

MODEL = {"saved_model.pb": b"graph", "variables/variables.data": b"0123456789abcdef"}
OUTPUT = {"evaluation.json": b"{}", "picture.png": b"png"}


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 4 bytes from 8 bytes on, and files that may be trusted to be unchanged at once."""
    monkeypatch.setattr(folder_module, "part_size", lambda size: 0 if size <= 8 else 4)
    monkeypatch.setattr(known_module, "UNCHANGED_SECONDS", -3600.0)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path / "attempt-1")


def finish(pod: Pod) -> None:
    pod.write(environment.MODEL_DIR, MODEL)
    pod.write(environment.LOG_DIR, {"events": b"loss"})
    pod.write(environment.CACHE_DIR, {"features": b"f"})
    pod.write(environment.OUTPUT_DIR, OUTPUT)
    pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})


def order(pod: Pod) -> list[str]:
    """The order in which publications are complete."""
    manifests = [what.removeprefix("put ") for what in pod.store.writes if what.endswith(storage.MANIFEST)]
    return [key.removeprefix(f"{pod.sync.job}/").partition("/")[0] for key in manifests]


# -- the order of the last steps ------------------------------------------------------------------------------------


def test_a_finished_program_has_its_result_published_first_and_then_what_it_does_not_need(pod: Pod) -> None:
    pod.checkpoint(400)
    finish(pod)
    told: list[Termination] = []
    pod.sync.tell = lambda termination: told.append(termination) or pod.store.writes.append("told")
    pod.end()
    written = [what for what in pod.store.writes if what == "told" or what.endswith(storage.MANIFEST)]
    assert written.index("told") == 2
    assert order(pod) == ["model", "output", "tensorboard", "checkpoints", "vision"]
    assert told[0].complete
    assert (told[0].checkpoint_step, pod.termination.checkpoint_step) == (None, 400)


def test_an_interrupted_program_has_its_checkpoint_published_first(pod: Pod) -> None:
    pod.checkpoint(400)
    pod.write(environment.MODEL_DIR, MODEL)
    pod.write(environment.OUTPUT_DIR, OUTPUT)
    pod.end()
    assert order(pod) == ["checkpoints", "model", "output"]


@pytest.mark.parametrize("fails", ["/checkpoints/", "/tensorboard/", "/cache/"])
@pytest.mark.parametrize("error", [GraceExceeded("time is over"), Misconfigured("what?"), OSError(28, "full")])
def test_nothing_that_comes_after_the_result_costs_a_finished_job_its_success(
    pod: Pod, fails: str, error: Exception
) -> None:
    pod.checkpoint(400)
    finish(pod)

    def refuse(what: str) -> None:
        if fails in what:
            raise error

    pod.store.before = refuse
    pod.end()
    assert pod.termination.complete
    assert pod.termination.output is not None
    assert pod.termination.progress is not None
    assert str(error) in pod.termination.progress.left_out


def test_a_checkpoint_on_its_way_gives_way_to_the_result_once_the_program_has_finished(pod: Pod) -> None:
    pod.write(environment.CHECKPOINT_DIR, {"400/a": b"0123456789", "400/b": b"b", "400/c": b"c"})

    def finish_meanwhile(what: str) -> None:
        if what.endswith("/400/1/a") and what.startswith("part 2"):
            finish(pod)
            pod.sync.ended.set()

    pod.store.before = finish_meanwhile
    pod.termination = pod.sync.run()
    assert order(pod) == ["model", "output", "tensorboard", "checkpoints", "vision"]
    parts = [what for what in pod.store.writes if what.startswith("part") and what.endswith("/400/1/a")]
    assert len(parts) == len(set(parts)) == 3, "what had arrived of it is not sent again"


# -- before the program has ended -----------------------------------------------------------------------------------


def look(pod: Pod, times: int = 2) -> None:
    for _ in range(times):
        pod.sync.ahead.send()


def payload(pod: Pod, kind: str) -> dict[str, bytes]:
    base = f"{pod.sync.job}/{kind}/{pod.sync.plan.attempt}/files/"
    return {k.removeprefix(base): v for k, v in pod.store.content.items() if k.startswith(base)}


def test_what_a_program_leaves_is_sent_from_its_success_on_and_published_when_it_has_ended(pod: Pod) -> None:
    finish(pod)
    look(pod)
    assert payload(pod, "model") == MODEL
    assert payload(pod, "output") == OUTPUT | {environment.SUCCESS_MARKER: b""}
    assert order(pod) == []
    pod.store.writes.clear()
    pod.end()
    assert [what for what in pod.store.writes if "/model/" in what or "/output/" in what] == [
        f"put {storage.manifest(storage.model(pod.sync.job, 1))}",
        f"put {storage.manifest(storage.output(pod.sync.job, 1))}",
    ]


def test_what_was_sent_and_has_not_changed_is_not_read_again(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(pod)
    look(pod)

    def read(self: object, path: str) -> Iterator[bytes]:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr(folder_module.Folder, "parts", read)
    pod.sync.left_out.put = lambda *_, **__: None  # type: ignore[method-assign]
    pod.end()
    assert pod.termination.complete


@pytest.mark.parametrize(("rested", "trusted"), [(1.9, False), (2.1, True)])
def test_a_file_that_was_just_written_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rested: float, trusted: bool
) -> None:
    """It may be written to once more within the clock's tick, and have the same stat."""
    monkeypatch.setattr(known_module, "UNCHANGED_SECONDS", 2.0)
    (tmp_path / "file").write_bytes(b"12345")
    folder, known = Folder(tmp_path, "."), Known()
    content, changed = folder.fingerprint("file"), (tmp_path / "file").stat().st_ctime
    first = known.of(folder, folder.listing())
    first.put(0, content, began=changed + rested)
    assert first.get(0) == content, "what is read and sent at once holds for this publication"
    assert known.of(folder, folder.listing()).get(0) == (content if trusted else None)


def test_a_file_that_grew_while_it_was_read_is_vanished(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    folder = Folder(tmp_path, ".")
    found = Known().of(folder, folder.listing())
    (tmp_path / "file").write_bytes(b"123456")
    with pytest.raises(Vanished, match="file changed"):
        found.put(0, folder.fingerprint("file"), began=0.0)
    assert found.get(0) is None


def test_what_changes_after_it_was_sent_is_published_as_it_is_at_the_end(pod: Pod) -> None:
    finish(pod)
    look(pod)
    changed = {"saved_model.pb": b"better graph", "variables/variables.data": b"0123456789abcdeX"}
    pod.write(environment.MODEL_DIR, changed)
    pod.write(environment.OUTPUT_DIR, {"late": b"l"})
    pod.end()
    prefix = storage.model(pod.sync.job, 1)
    restore(pod.store, prefix, read_manifest(pod.store, prefix), pod.folder / "restored", pod.folder / "staging")
    assert {n: (pod.folder / "restored" / n).read_bytes() for n in changed} == changed
    assert "late" in payload(pod, "output")


def test_a_file_that_changes_while_it_is_published_is_never_published_in_two_minds(pod: Pod) -> None:
    finish(pod)

    def write_to_it(what: str) -> None:
        if what.startswith("put ") and "/files/saved_model.pb" in what and not any("GRAPH" in w for w in seen):
            seen.append("GRAPH")
            pod.write(environment.MODEL_DIR, {"saved_model.pb": b"GRAPH"})

    seen: list[str] = []
    pod.store.before = write_to_it
    pod.end()
    prefix = storage.model(pod.sync.job, 1)
    restore(pod.store, prefix, read_manifest(pod.store, prefix), pod.folder / "restored", pod.folder / "staging")
    assert (pod.folder / "restored" / "saved_model.pb").read_bytes() == b"GRAPH"


def test_a_saved_model_is_sent_ahead_once_and_a_folder_that_is_being_written_is_not(pod: Pod) -> None:
    pod.write(environment.MODEL_DIR, {"variables/variables.data": b"first"})
    look(pod)
    assert payload(pod, "model") == {}
    pod.write(environment.MODEL_DIR, {"saved_model.pb": b"first"})
    look(pod, 1)
    assert payload(pod, "model") == {}, "it may still be written to"
    look(pod, 1)
    assert set(payload(pod, "model")) == {"saved_model.pb", "variables/variables.data"}
    pod.write(environment.MODEL_DIR, {"saved_model.pb": b"a better one of the next epoch"})
    pod.store.writes.clear()
    look(pod, 3)
    assert pod.store.writes == []
    assert payload(pod, "output") == {}


def test_what_is_sent_ahead_of_an_unfinished_program_gives_way_to_its_checkpoint(pod: Pod) -> None:
    pod.write(environment.MODEL_DIR, MODEL)

    def go_on(what: str) -> None:
        if what.startswith("part 1 ") and "/model/" in what:
            pod.checkpoint(400)
            pod.sync.ended.set()

    pod.store.before = go_on
    pod.sync.poll = 0.01
    pod.termination = pod.sync.run()
    assert order(pod) == ["checkpoints", "model", "output"]


def test_a_model_that_is_there_while_training_goes_on_holds_up_no_checkpoint(pod: Pod) -> None:
    pod.write(environment.MODEL_DIR, MODEL)
    for step in (100, 200, 300):
        pod.checkpoint(step)
        pod.sync.look()
        assert step in pod.published_steps()
    pod.sync.look()
    assert payload(pod, "model") == MODEL, "what has no checkpoint to wait for is sent ahead"


def test_a_checkpoint_that_cannot_be_published_holds_up_nothing(pod: Pod) -> None:
    pod.checkpoint(100, 200)
    os.mkfifo(pod.work.directory(environment.CHECKPOINT_DIR) / "200" / "pipe")
    pod.write(environment.MODEL_DIR, MODEL)
    for _ in range(3):
        pod.sync.look()
    assert pod.published_steps() == {100}
    assert payload(pod, "model") == MODEL


# -- from attempt to attempt ----------------------------------------------------------------------------------------


def out_of_time(pod: Pod, writes: int) -> None:
    """Let the time be over after some writes: the volume is lost with the pod."""
    pod.store.lives = writes
    with pytest.raises(Died):
        pod.end()
    pod.store.lives = None
    shutil.rmtree(pod.folder)


@pytest.mark.parametrize("writes", range(1, 13))
def test_an_attempt_goes_on_with_what_the_one_before_it_sent(pod: Pod, writes: int) -> None:
    finish(pod)
    out_of_time(pod, writes)
    sent = [what for what in pod.store.writes if what.startswith(("part ", "put ")) and "/files/" in what]
    pod.store.writes.clear()
    again = pod.next_attempt()
    finish(again)
    again.end()
    files = {what.rpartition("/files/")[2] + what.split(" ")[1] * what.startswith("part") for what in sent}
    second = {
        what.rpartition("/files/")[2] + what.split(" ")[1] * what.startswith("part")
        for what in again.store.writes
        if what.startswith(("part ", "put ")) and "/files/" in what and "/tensorboard/" not in what
    }
    second.discard(environment.SUCCESS_MARKER)  # an empty file needs no copy
    assert not files & second, "what arrived is copied by the store"
    for kind in ("model", "output"):
        prefix = f"{again.sync.job}/{kind}/2"
        restore(again.store, prefix, read_manifest(again.store, prefix), again.folder / kind, again.folder / "staging")
    restored = again.folder / "model"
    assert {name: (restored / name).read_bytes() for name in MODEL} == MODEL


def test_a_retry_whose_time_is_never_enough_converges(pod: Pod) -> None:
    """Each attempt has time for three writes of payload; at last there is nothing left to send."""
    model = {"saved_model.pb": b"graph", "variables/variables.data": bytes(range(120))}
    for attempt in range(1, 60):
        pod.write(environment.MODEL_DIR, model)
        pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
        budget = iter(range(3))

        def spend(what: str, budget: Iterator[int] = budget) -> None:
            if what.startswith(("part ", "put ")) and "/files/" in what and next(budget, None) is None:
                raise GraceExceeded("the pod's grace period ended")

        pod.store.before = spend
        try:
            pod.end()
        except GraceExceeded:
            pod = pod.next_attempt()
            continue
        assert attempt == 11, "33 writes of payload, three in each attempt"
        return
    pytest.fail("it never ends")


def test_another_content_under_the_same_name_is_sent_and_not_copied(pod: Pod) -> None:
    finish(pod)
    out_of_time(pod, 9)
    again = pod.next_attempt()
    finish(again)
    other = {"saved_model.pb": b"GRAPH", "variables/variables.data": b"0123XXXX89abcdef"}
    again.write(environment.MODEL_DIR, other)
    again.end()
    prefix = storage.model(again.sync.job, 2)
    restore(
        again.store, prefix, read_manifest(again.store, prefix), again.folder / "restored", again.folder / "staging"
    )
    assert {name: (again.folder / "restored" / name).read_bytes() for name in other} == other


def test_a_source_that_goes_away_is_no_reason_to_fail(pod: Pod) -> None:
    finish(pod)
    out_of_time(pod, 9)
    again = pod.next_attempt()
    finish(again)

    def remove(what: str) -> None:
        for key in [k for k in again.store.content if "/model/1/" in k or "/output/1/" in k]:
            del again.store.content[key]

    again.store.before = remove
    again.end()
    assert again.termination.complete


def test_an_earlier_attempt_that_still_writes_cannot_spoil_what_is_published(pod: Pod) -> None:
    """Cut off at its last part, it is fenced; its upload was completed by its successor, so that it writes nowhere."""
    finish(pod)
    out_of_time(pod, 4)
    upload, (key, _) = next(iter(pod.store.uploads.items()))
    again = pod.next_attempt()
    finish(again)
    again.end()
    with pytest.raises(KeyError):
        pod.store.put_part(key, upload, 4, lambda: io.BytesIO(b"XXXX"), 4, b"")
    prefix = storage.model(again.sync.job, 2)
    restore(
        again.store, prefix, read_manifest(again.store, prefix), again.folder / "restored", again.folder / "staging"
    )
    assert (again.folder / "restored" / "variables/variables.data").read_bytes() == MODEL["variables/variables.data"]


def stale_upload(pod: Pod, key: str) -> None:
    """An upload that was begun and never completed, with its record."""
    upload = pod.store.begin_multipart(key)
    pod.store.put_part(key, upload, 1, lambda: io.BytesIO(b"OLD!"), 4, b"")
    record = record_key(key.partition("/files/")[0], key)
    pod.store.put_if_absent(record, json.dumps({"key": key, "upload": upload}).encode())


def test_what_is_published_is_not_written_over_by_the_rest_of_an_old_upload(pod: Pod) -> None:
    finish(pod)
    out_of_time(pod, 11)
    model = storage.model(pod.sync.job, 1)
    assert storage.manifest(model) in pod.store.content, "the model is published, the output is not"
    stale_upload(pod, f"{model}/files/saved_model.pb")
    before = {key: data for key, data in pod.store.content.items() if key.startswith(model)}
    again = pod.next_attempt()
    finish(again)
    again.end()
    assert again.termination.complete
    assert {key: data for key, data in again.store.content.items() if key.startswith(model)} == before


@pytest.mark.parametrize("arrived", [False, True], ids=["it is sent", "it had arrived"])
def test_no_record_is_left_of_an_upload_that_a_single_request_has_replaced(pod: Pod, arrived: bool) -> None:
    finish(pod)
    model = storage.model(pod.sync.job, 1)
    stale_upload(pod, f"{model}/files/saved_model.pb")
    if arrived:
        pod.store.content[f"{model}/files/saved_model.pb"] = MODEL["saved_model.pb"]
    pod.end()
    assert not [key for key in pod.store.content if "/uploads/" in key]
    (manifest,) = [at for at, what in enumerate(pod.store.writes) if what == f"put {storage.manifest(model)}"]
    record = record_key(model, f"{model}/files/saved_model.pb")
    assert pod.store.writes.index(f"remove {record}") < manifest, (
        "no attempt may take it up once the model is published"
    )
