"""A pod of a batch prediction without a cluster: agent and program as processes on a volume of their own."""

import csv
import io
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from fovea_api.contract import batch, environment, storage
from fovea_api.contract.manifest import Manifest
from fovea_api.contract.plan import BatchPlan
from fovea_api.contract.report import REPORT_TOKEN_FILE
from support import warm_trainers
from support.model_server import png
from support.object_store import ObjectStore
from support.polling import until
from support.training_pod import AGENT, Ended, ended

NAMESPACE = "vision"


@dataclass
class BatchPod:
    """Pod number `index`. `folder` holds its volume, and what its containers say."""

    plan: BatchPlan
    folder: Path
    keys: Path
    model: Path
    index: int = 0
    signature: str = "serving_default"
    batch_size: int = 4
    agent: subprocess.Popen[bytes] | None = None
    program: subprocess.Popen[bytes] | None = None
    agent_flags: tuple[str, ...] = field(default=())

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def prediction(self) -> str:
        return storage.batch(self.plan.namespace, self.plan.name, self.plan.uid)

    def another(self, index: int, name: str) -> "BatchPod":
        """A pod of the same prediction, with an empty volume."""
        folder = self.folder.with_name(name)
        folder.mkdir()
        return replace(self, folder=folder, index=index, agent=None, program=None)

    def start_agent(self) -> None:
        """Start the sidecar, or start it again."""
        self.work.mkdir(exist_ok=True)
        arguments = ["--object-store", str(self.keys), "--work", str(self.work), "--poll", "0.02"]
        arguments += ["--report-interval", "0.1", "--report-token", str(self.folder)]
        message = ["--termination-log", str(self.folder / "agent.message")]
        variables = {environment.PLAN: self.plan.to_json(), batch.INDEX: str(self.index)}
        with (self.folder / "agent.log").open("wb") as log:
            self.agent = subprocess.Popen(
                [*AGENT, "batch", *arguments, *message, *self.agent_flags],
                env={**os.environ, **variables},
                stderr=log,
            )

    def start_program(self) -> None:
        """Start the container with the model, or start it again."""
        self.work.mkdir(exist_ok=True)
        words = ["--model", str(self.model), "--work", str(self.work), "--signature", self.signature]
        words += ["--input-format", self.plan.input_format, "--output-format", self.plan.output_format]
        words += ["--batch-size", str(self.batch_size)]
        with (self.folder / "program.log").open("ab") as log:
            self.program = subprocess.Popen(
                warm_trainers.command(*words, module=warm_trainers.BATCH),
                env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
                stdout=log,
                stderr=log,
            )

    def start(self) -> "BatchPod":
        """Both containers."""
        self.start_agent()
        self.start_program()
        return self

    def ended(self, seconds: float = 120) -> tuple[int, Ended]:
        """Wait until the program has ended, then end the agent as the kubelet does: exit code, and how the agent ended."""
        assert self.program is not None
        assert self.agent is not None
        code = self.program.wait(timeout=seconds)
        self.agent.send_signal(signal.SIGTERM)
        agent = self.agent.wait(timeout=30)
        return code, ended(agent, self.folder / "agent.message", self.folder / "agent.log")

    def kill(self) -> None:
        """The node is lost."""
        for process in (self.agent, self.program):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def log(self) -> str:
        """What both have said."""
        return (self.folder / "agent.log").read_text() + (self.folder / "program.log").read_text()


@contextmanager
def running(*pods: BatchPod) -> Iterator[None]:
    """Kill what is left at the end."""
    try:
        yield
    finally:
        for pod in pods:
            pod.kill()


@pytest.fixture
def batch_pod(object_store: ObjectStore, saved_model: Path, tmp_path: Path) -> Iterator[BatchPod]:
    """The only pod of a prediction of its own: pictures to JSON lines, three in a shard."""
    folder = tmp_path / "pod"
    folder.mkdir()
    (folder / REPORT_TOKEN_FILE).write_text("token")
    made = storage.batch(NAMESPACE, "pets", tmp_path.name)
    plan = BatchPlan(
        namespace=NAMESPACE,
        name="pets",
        uid=tmp_path.name,
        workers=1,
        input_uri=f"s3://{object_store.bucket}/{storage.dataset(NAMESPACE, tmp_path.name)}",
        input_format=batch.IMAGES,
        output_uri=f"s3://{object_store.bucket}/{storage.batch_output(made)}",
        output_format=batch.JSONL,
        model_digest="sha256:0",
        shard_bytes=1 << 20,
        shard_records=3,
    )
    pod = BatchPod(plan, folder, object_store.keys(NAMESPACE, tmp_path / "keys"), saved_model)
    with running(pod):
        yield pod


def put_input(store: ObjectStore, pod: BatchPod, files: dict[str, bytes]) -> None:
    """Objects below the input's address."""
    folder = storage.Location.parse(pod.plan.input_uri).key
    for name, content in files.items():
        store.put(f"{folder}/{name}", content)


def put_pictures(store: ObjectStore, pod: BatchPod, count: int) -> dict[str, int]:
    """Grey pictures; how bright each is."""
    pictures = {f"{number}.png": number * 7 % 256 for number in range(1, count + 1)}
    put_input(store, pod, {name: png(brightness) for name, brightness in pictures.items()})
    return pictures


def brightness(files: dict[str, bytes]) -> list[tuple[str, int]]:
    """Record and brightness of each line of the output."""
    return [(line["record"], line["prediction"]["brightness"]) for line in lines(files)]


def answered(store: ObjectStore, pod: BatchPod) -> set[int]:
    """Shards with an answer in the store."""
    names = store.names(f"{pod.prediction}/shards/answers/")
    return {int(name.partition("/")[0]) for name in names if name.endswith(f"/{storage.MANIFEST}")}


def programs_shards(pod: BatchPod) -> list[int]:
    """Shards that the program of a pod has answered, by its log."""
    return [int(found) for found in re.findall(r"Shard (\d+) of", (pod.folder / "program.log").read_text())]


def wait_for_answers(store: ObjectStore, pod: BatchPod, count: int) -> None:
    """Until so many shards are answered."""
    until(lambda: len(answered(store, pod)) >= count, what=f"{count} shards are answered", every=0.02)


def output(store: ObjectStore, pod: BatchPod) -> dict[str, bytes]:
    """The files of the output by name, which are those of its manifest, and none beside them."""
    prefix = storage.Location.parse(pod.plan.output_uri).key
    manifest = Manifest.from_json(store.get(storage.manifest(prefix)))
    files = {entry.path: store.get(f"{prefix}/{entry.key}") for entry in manifest.entries}
    assert sorted([*files, storage.MANIFEST]) == store.names(f"{prefix}/")
    assert [entry.size for entry in manifest.entries] == [len(files[entry.path]) for entry in manifest.entries]
    return files


def lines(files: dict[str, bytes], prefix: str = "part-") -> list[dict[str, Any]]:
    """The JSON lines of all parts, in order."""
    return [json.loads(line) for name in sorted(files) if name.startswith(prefix) for line in files[name].splitlines()]


def rows(content: bytes) -> list[list[str]]:
    """The rows of a CSV file."""
    return list(csv.reader(io.StringIO(content.decode(), newline="")))
