"""A training pod without a cluster: the agent's containers as processes, and a test in the part of the trainer."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from fovea_api.contract import environment, storage
from fovea_api.contract.manifest import Manifest
from fovea_api.contract.plan import ModelPlan, TrainingPlan
from fovea_api.contract.report import Termination
from support.object_store import ObjectStore
from support.polling import until

NAMESPACE = "vision"
AGENT = [sys.executable, "-m", "fovea_agent.main"]


@dataclass
class Ended:
    """How a container of the agent ended."""

    code: int
    termination: Termination
    log: list[dict[str, Any]]


@dataclass
class TrainingPod:
    """One attempt of a job. `folder` is the node: the pod's volume and its containers' messages are below it."""

    plan: TrainingPlan
    folder: Path
    keys: Path
    flags: list[str] = field(default_factory=list)
    sidecar: subprocess.Popen[bytes] | None = None

    @property
    def job(self) -> str:
        return storage.job(self.plan.namespace, self.plan.job, self.plan.uid)

    @property
    def work(self) -> Path:
        return self.folder / f"work-{self.plan.attempt}"

    @property
    def state(self) -> Path:
        """The volume of the agents alone."""
        return self.folder / f"state-{self.plan.attempt}"

    def next_attempt(self) -> "TrainingPod":
        """The pod that takes over, with an empty volume."""
        return replace(self, plan=replace(self.plan, attempt=self.plan.attempt + 1), sidecar=None)

    def directory(self, name: str) -> Path:
        """A folder that the trainer knows by an environment variable."""
        return self.work / Path(environment.DIRECTORIES[name]).relative_to(environment.WORK_MOUNT)

    def variables(self) -> dict[str, str]:
        """The program's environment: its folders on the pod's volume."""
        progress = self.work / Path(environment.PROGRESS_PATH).relative_to(environment.WORK_MOUNT)
        folders = {name: str(self.directory(name)) for name in environment.DIRECTORIES}
        return {**folders, environment.PROGRESS_FILE: str(progress)}

    def write(self, directory: str, files: dict[str, bytes]) -> None:
        """Write files as the trainer would."""
        for name, data in files.items():
            path = self.directory(directory) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def checkpoint(self, step: int, files: dict[str, bytes]) -> None:
        """Let a checkpoint appear by rename."""
        unfinished = self.directory(environment.CHECKPOINT_DIR) / f".{step}"
        for name, data in files.items():
            (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / name).write_bytes(data)
        os.utime(unfinished, (1, 1))  # as if it had been written more than a tick of the clock before (ADR 112)
        unfinished.rename(unfinished.parent / str(step))

    def progress(self, line: str) -> None:
        """Append to the progress file."""
        path = self.work / Path(environment.PROGRESS_PATH).relative_to(environment.WORK_MOUNT)
        with path.open("a") as file:
            file.write(line)

    def start(self, command: str, *flags: str) -> subprocess.Popen[bytes]:
        """Start a command of the agent as a container of the pod."""
        self.work.mkdir(exist_ok=True)
        self.state.mkdir(exist_ok=True)
        arguments = ["--object-store", str(self.keys), "--work", str(self.work), "--state", str(self.state)]
        message = ["--termination-log", str(self.folder / f"{command}.message")]
        with (self.folder / f"{command}.log").open("wb") as log:
            return subprocess.Popen(
                [*AGENT, command, *arguments, *message, *self.flags, *flags],
                env={**os.environ, environment.PLAN: self.plan.to_json()},
                stderr=log,
            )

    def ended(self, command: str, process: subprocess.Popen[bytes], seconds: float = 120) -> Ended:
        """Wait for it."""
        code = process.wait(timeout=seconds)
        return ended(code, self.folder / f"{command}.message", self.folder / f"{command}.log")

    def fetch(self, *flags: str, seconds: float = 120) -> Ended:
        """Run the init container."""
        return self.ended("fetch", self.start("fetch", *flags), seconds)

    def start_sync(self, *flags: str) -> None:
        """Start the sidecar; the trainer may run once this returns."""
        ready = self.state / Path(environment.SYNC_READY).relative_to(environment.AGENT_MOUNT)
        ready.unlink(missing_ok=True)
        self.sidecar = self.start("sync", "--poll", "0.1", "--report-interval", "0.2", *flags)
        until(ready.exists, what="sync hears signals", every=0.02)

    def sync_ended(self, *, sigterm: bool = True, seconds: float = 120) -> Ended:
        """The trainer has ended: wait for the sidecar."""
        assert self.sidecar is not None
        if sigterm:
            self.sidecar.send_signal(signal.SIGTERM)
        return self.ended("sync", self.sidecar, seconds)

    def kill_sync(self) -> None:
        """The node is lost."""
        if self.sidecar is not None and self.sidecar.poll() is None:
            self.sidecar.kill()
            self.sidecar.wait()

    def sync_log(self) -> str:
        """What the sidecar has logged so far."""
        return (self.folder / "sync.log").read_text()


def ended(code: int, message: Path, log: Path) -> Ended:
    """Read what a container left."""
    termination = Termination.from_json(message.read_text())
    assert termination is not None, f"no termination message; log:\n{log.read_text()}"
    return Ended(code, termination, [json.loads(line) for line in log.read_text().splitlines()])


def fetch_model(plan: ModelPlan, folder: Path, keys: Path, *flags: str) -> Ended:
    """Run the init container of a serving pod."""
    code = started_fetch_model(plan, folder, keys, *flags).wait(120)
    return ended(code, folder / "fetch-model.message", folder / "fetch-model.log")


def started_fetch_model(plan: ModelPlan, folder: Path, keys: Path, *flags: str) -> "subprocess.Popen[bytes]":
    """The same, under way."""
    message = folder / "fetch-model.message"
    with (folder / "fetch-model.log").open("wb") as stderr:
        return subprocess.Popen(
            [*AGENT, "fetch-model", "--object-store", keys, "--termination-log", message, *flags],
            env={**os.environ, environment.PLAN: plan.to_json()},
            stderr=stderr,
        )


@pytest.fixture
def pod(object_store: ObjectStore, tmp_path: Path) -> Iterator[TrainingPod]:
    """The first attempt of a job of its own, with the keys of its namespace."""
    keys = object_store.keys(NAMESPACE, tmp_path / "keys", ["shared"])
    plan = TrainingPlan(namespace=NAMESPACE, job="digits", uid=tmp_path.name, attempt=1)
    pod = TrainingPod(plan, tmp_path, keys)
    yield pod
    pod.kill_sync()


def manifest(object_store: ObjectStore, prefix: str) -> Manifest:
    """The manifest of what is published there."""
    return Manifest.from_json(object_store.get(storage.manifest(prefix)))


def published(object_store: ObjectStore, pod: TrainingPod) -> set[int]:
    """Steps of the job's checkpoints in the store."""
    parent = storage.checkpoints(pod.job)
    names = object_store.names(f"{parent}/")
    return {int(name.partition("/")[0]) for name in names if name.endswith(f"/{storage.MANIFEST}")}


def finish(pod: TrainingPod) -> None:
    """Write what a program leaves behind that has finished."""
    pod.write(environment.MODEL_DIR, {"saved_model.pb": b"graph", "variables/variables.index": b"index"})
    pod.write(environment.LOG_DIR, {"events.out.tfevents.1": b"loss"})
    evaluation = json.dumps({"metrics": {"accuracy": 0.975, "loss": 0.1}}).encode()
    pod.write(environment.OUTPUT_DIR, {environment.EVALUATION_FILE: evaluation, "loss.png": b"picture"})
    pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
