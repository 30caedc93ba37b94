"""Members of two attempts that are alive at once: what was frozen, or cut off, goes on while the next attempt trains."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from fovea.sdk import local_training
from fovea_api.contract import environment, exit_codes, storage
from support import training, warm_trainers
from support.distributed import SECONDS, distributed
from support.object_store import ObjectStore
from support.polling import until
from support.training_pod import TrainingPod, manifest, published

STEPS = 10
"""Of an epoch: 48 training pictures, batches of 5, the last one of 3."""
ENDLESS = ("--batch-size=5", "--epochs=40000", "--checkpoint-every-steps=7", "--no-augment")
SHAPES = {
    "several machines": {"chief": 1, "worker": 1},
    "parameter servers": {"chief": 1, "worker": 1, "ps": 1},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training.write_pictures(tmp_path_factory.mktemp("data"), per_class=20)


class Ports(local_training._Ports):
    """Those of the attempt before, but for the worker: every pod has an address of its own, and the members keep their names."""

    def __init__(self, before: list[int]) -> None:
        super().__init__(1)
        self._before = before

    @property
    def numbers(self) -> list[int]:
        chief, _, *servers = self._before
        return [chief, *super().numbers, *servers]


def require_exact(checkpoint: Path) -> None:
    """The position is that of the step, and each picture of every epoch has counted once."""
    position = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))["position"]
    assert position["epoch"] * STEPS + position["batch"] == int(checkpoint.name)
    for epoch in position["history"]:
        assert epoch["accuracy"] * 48 == pytest.approx(round(epoch["accuracy"] * 48), abs=1e-9), epoch


@pytest.mark.parametrize("roles", SHAPES.values(), ids=SHAPES.keys())
def test_a_worker_of_the_attempt_before_that_goes_on_ends_and_disturbs_no_step_of_the_next_one(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, roles: dict[str, int]
) -> None:
    command = ("image-classifier", f"--data={data}", *training.FLAGS, *ENDLESS)
    seconds = {environment.PEER_SECONDS: "5"}
    first, second = tmp_path / "first", tmp_path / "second"
    folder = environment.CHECKPOINT_DIR.lower()
    with distributed(first, roles, *command, **seconds) as old:
        old.step(7)
        old.signal("worker 0", signal.SIGSTOP)
        for member in old.training.members:
            if member.name != "worker 0":
                assert member.process.wait(timeout=120) == exit_codes.RESTART, old.lines
        frozen = training.checkpoints(first)[-1]
        shutil.copytree(first / folder, second / folder)

        numbers = old.training._ports.numbers
        monkeypatch.setattr(local_training, "_Ports", lambda _: Ports(numbers))
        with distributed(second, roles, *command, **seconds) as new:
            new.step(frozen + 7)
            old.signal("worker 0", signal.SIGCONT)
            worker = old.member("worker 0").process
            until(lambda: worker.poll() is not None, seconds=SECONDS, what="the worker of the attempt before ends")
            assert worker.returncode == exit_codes.RESTART, old.lines
            if "ps" in roles:
                new.step(training.checkpoints(second)[-1] + 7)
            # TensorFlow's coordination service may have ended several machines: it heard of two workers with one name (ADR 217).
            new.training.stop()
            assert new.codes()["chief"] == exit_codes.RESTART, new.lines
    newest = second / folder / str(training.checkpoints(second)[-1])
    assert new.said(f"resumed own checkpoint {frozen}"), new.lines
    require_exact(newest)


def train(pod: TrainingPod, data: Path) -> subprocess.Popen[str]:
    """The program of the pod, on the pod's volume."""
    command = ("image-classifier", f"--data={data}", *training.FLAGS, *ENDLESS)
    return training.begin(pod.work, *command, **pod.variables())


def written(pod: TrainingPod) -> int:
    """Step of the newest checkpoint on the pod's volume."""
    folder = pod.directory(environment.CHECKPOINT_DIR)
    return max((int(path.name) for path in folder.glob("*") if path.name.isdecimal()), default=0)


def test_a_pod_of_the_attempt_before_that_goes_on_publishes_nothing_over_the_next_one(
    object_store: ObjectStore, pod: TrainingPod, data: Path
) -> None:
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync()
    old = train(pod, data)
    training.wait_until(lambda: published(object_store, pod), old)
    assert pod.sidecar is not None
    pod.sidecar.send_signal(signal.SIGSTOP)
    # It has something to publish when it goes on, of steps that the next attempt publishes as well.
    beyond = max(published(object_store, pod)) + 14
    training.wait_until(lambda: written(pod) >= beyond, old)
    trainer = warm_trainers.trainer_of(old.pid)
    os.kill(trainer, signal.SIGSTOP)
    before = max(published(object_store, pod))

    again = pod.next_attempt()
    again.folder = pod.folder / "again"
    again.folder.mkdir()
    assert again.fetch().termination.checkpoint_step == before
    again.start_sync()
    new = train(again, data)
    training.wait_until(lambda: max(published(object_store, pod)) >= beyond, new)
    os.kill(trainer, signal.SIGCONT)
    pod.sidecar.send_signal(signal.SIGCONT)
    assert pod.sync_ended(sigterm=False).code == exit_codes.FENCED
    at = written(pod)
    training.wait_until(lambda: written(pod) > at, old)  # its program does not know, and trains on
    old.kill()
    old.communicate()
    at = max(published(object_store, pod))
    training.wait_until(lambda: max(published(object_store, pod)) > at, new)
    new.terminate()
    new.communicate()
    assert again.sync_ended().code == exit_codes.OK
    assert new.returncode == exit_codes.RESTART

    steps = {step for step in published(object_store, pod) if step > before}
    assert steps
    attempts = {manifest(object_store, storage.checkpoint(pod.job, step)).attempt for step in steps}
    assert attempts == {again.plan.attempt}
    assert max(steps) == written(again)
    require_exact(again.directory(environment.CHECKPOINT_DIR) / str(max(steps)))
