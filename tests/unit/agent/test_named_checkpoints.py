"""Checkpoints under names of the program's own: published when they are finished, restored under the same names."""

from pathlib import Path

import pytest
from fovea_agent.fetch import Fetch
from fovea_agent.restore import read_manifest
from fovea_api.contract import environment, storage
from fovea_api.contract.manifest import Manifest
from support.sidecar import Pod

NAMES = {
    "checkpoint-500/": 500,
    "000100/": 100,
    "1000.pt": 1000,
    "model_step_200.keras": 200,
    "epoch=3-step=60.ckpt": 60,
    "700": 700,
}


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path / "attempt-1")


def files(pod: Pod) -> dict[str, bytes]:
    folder = pod.work.directory(environment.CHECKPOINT_DIR)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("name", "step"), NAMES.items())
def test_a_checkpoint_is_restored_under_the_name_that_it_had(pod: Pod, name: str, step: int) -> None:
    pod.named(name, b"weights")
    before = files(pod)
    pod.end()
    assert pod.termination.checkpoint_step == step
    again = pod.next_attempt()
    for _ in range(2):  # a container that is started again finds its work done
        ended, _code = Fetch(again.sync.plan, again.store, again.work).run()
        assert ended.checkpoint_step == step
        assert files(again) == before
    again.store.writes.clear()
    again.end()
    assert not [what for what in again.store.writes if "/checkpoints/" in what], "it is published already"


def test_a_checkpoint_of_tensorflow_is_found_again_by_tensorflow(pod: Pod) -> None:
    for step in (7, 8):
        for ending in ("index", "data-00000-of-00001"):
            pod.named(f"ckpt-{step}.{ending}", b"%d" % step)
    pod.named("checkpoint", b'model_checkpoint_path: "ckpt-9"\n')  # written before its files
    pod.end()
    assert set(pod.published_steps()) == {7, 8}
    again = pod.next_attempt()
    Fetch(again.sync.plan, again.store, again.work).run()
    restored = files(again)
    assert restored.pop("checkpoint").decode() == (
        'model_checkpoint_path: "ckpt-8"\nall_model_checkpoint_paths: "ckpt-8"\n'
    )
    assert restored == {"ckpt-8.index": b"8", "ckpt-8.data-00000-of-00001": b"8"}


def test_one_that_is_being_written_is_waited_for_and_taken_when_it_stays_the_same(pod: Pod) -> None:
    for size in range(1, 4):
        pod.named("checkpoint-500/", b"w" * size)
        pod.sync.checkpoints.publish()
        assert pod.published() == {}
    pod.sync.checkpoints.publish()
    assert pod.published() == {500: b"www"}


def test_at_the_end_nobody_writes_any_more_and_it_is_taken_at_once(pod: Pod) -> None:
    pod.named("500.pt", b"w")
    pod.end()
    assert pod.published() == {500: b"w"}


def test_one_that_was_taken_too_early_is_published_again(pod: Pod) -> None:
    pod.named("500.pt", b"half")
    for _ in range(2):
        pod.sync.checkpoints.publish()
    assert pod.published() == {500: b"half"}
    pod.named("500.pt", b"the whole")
    for _ in range(2):
        pod.sync.checkpoints.publish()
    assert pod.published() == {500: b"the whole"}


def test_one_that_the_program_removes_stays_published(pod: Pod) -> None:
    pod.write(environment.CHECKPOINT_DIR, {"checkpoint-500/a": b"a", "checkpoint-500/b": b"b"})
    for _ in range(2):
        pod.sync.checkpoints.publish()
    (pod.work.directory(environment.CHECKPOINT_DIR) / "checkpoint-500" / "a").unlink()
    for _ in range(2):
        pod.sync.checkpoints.publish()
    manifest = read_manifest(pod.store, storage.checkpoint(pod.sync.job, 500))
    assert [entry.path for entry in manifest.entries] == ["checkpoint-500/a", "checkpoint-500/b"]


def test_a_name_without_a_step_is_said_once_and_in_every_report(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    pod.named("best.pt")
    for _ in range(3):
        pod.sync.checkpoints.publish()
    (said,) = caplog.records
    assert said.fields["path"] == "/fovea/checkpoints/best.pt"  # type: ignore[attr-defined]
    assert "its name gives no step" in pod.sync.reporter.current().left_out


def test_a_manifest_says_that_its_paths_begin_with_a_name() -> None:
    named = Manifest(1, (), step=500, named=True)
    assert Manifest.from_json(named.to_json()) == named
    assert b"named" not in Manifest(1, (), step=500).to_json()
