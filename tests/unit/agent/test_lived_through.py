"""What fails while a program runs: it is said, it is tried again, and it costs neither the training nor the result."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fovea_agent.errors import (
    Corrupt,
    Fenced,
    KeyRefused,
    KeyWithdrawn,
    Misconfigured,
    Missing,
    StoreUnreachable,
    TooNew,
)
from fovea_agent.sync import pause_after
from fovea_api.contract import environment, storage
from support.sidecar import Pod

FAILURES: list[Exception] = [
    Misconfigured("the store does not understand"),
    KeyRefused("the store refused the key"),
    KeyWithdrawn("the store refused the key"),
    StoreUnreachable("the store is away"),
    Missing("no such thing"),
    Corrupt("a torn thing"),
    TooNew("a new thing"),
    OSError(5, "Input/output error"),
]


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def fail(where: str, error: Exception) -> Callable[[str], None]:
    def refuse(what: str) -> None:
        if where in what:
            raise error

    return refuse


def works(_: str) -> None:
    pass


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_failure_while_the_program_runs_is_reported_and_tried_again(pod: Pod, error: Exception) -> None:
    pod.checkpoint(200)
    pod.store.before = fail("/checkpoints/", error)
    for _ in range(2):
        assert not pod.sync.look()
        assert f"checkpoints ({error})" in pod.sync.reporter.current().left_out
    pod.store.before = works
    assert pod.sync.look()
    assert pod.published_steps() == {200}
    assert pod.sync.reporter.current().left_out == ""


def test_what_cannot_be_sent_ahead_holds_up_no_checkpoint(pod: Pod) -> None:
    pod.write(environment.MODEL_DIR, {"saved_model.pb": b"graph"})
    pod.sync.look()
    pod.checkpoint(200)
    pod.sync.look()
    pod.checkpoint(300)
    pod.store.before = fail("/model/", Misconfigured("what?"))
    pod.sync.ahead.pause = lambda _: None
    assert not pod.sync.look()
    assert pod.published_steps() == {200, 300}
    assert "results that are there already (what?)" in pod.sync.reporter.current().left_out


def test_what_failed_to_the_end_of_the_program_is_published_then(pod: Pod) -> None:
    pod.checkpoint(200)
    pod.store.before = fail("/checkpoints/", Misconfigured("what?"))
    pod.sync.look()
    pod.store.before = works
    pod.end()
    assert pod.published_steps() == {200}
    assert pod.termination.progress is not None
    assert pod.termination.progress.left_out == ""


def test_an_attempt_that_a_newer_one_has_replaced_ends_at_once(pod: Pod) -> None:
    pod.checkpoint(200)
    pod.store.put_if_absent(storage.fence(pod.sync.job, 2), b"")
    with pytest.raises(Fenced):
        pod.sync.look()


def test_a_store_that_refuses_the_first_look_is_looked_at_again(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = pod.store.objects

    def refuse(prefix: str) -> list[object]:
        raise KeyRefused("the store refused the key")

    pod.checkpoint(200)
    monkeypatch.setattr(pod.store, "objects", refuse)
    assert not pod.sync.look()
    assert "refused the key" in pod.sync.reporter.current().left_out
    monkeypatch.setattr(pod.store, "objects", listing)
    pod.end()
    assert pod.published_steps() == {200}


@pytest.mark.parametrize("manifest", [b"{", b'{"format": 99}'], ids=["torn", "of a newer release"])
def test_a_newest_checkpoint_that_cannot_be_read_ends_no_sidecar(pod: Pod, manifest: bytes) -> None:
    pod.store.content[storage.manifest(storage.checkpoint(pod.sync.job, 100))] = manifest
    pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
    pod.end()
    assert pod.termination.complete


def test_rounds_that_fail_come_less_and_less_often(tmp_path: Path) -> None:
    assert [pause_after(failures, 1.0) for failures in (0, 1, 2, 5, 6, 1000)] == [1, 2, 4, 32, 60, 60]
    assert pause_after(3, 90.0) == 90
