"""The models of a server with versions that are no more than their folders: they load at once, never, or when told to."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fovea_serving.protocol.errors import ServingError, internal
from fovea_serving.server.lifecycle import LoadSettings, ModelSettings
from fovea_serving.server.models import Models
from fovea_serving.server.versions import Specific, State
from support.polling import until
from tensorflow_serving.apis import model_pb2

SECONDS = 20
THREADS = 4


@dataclass
class Version:
    path: Path
    closed: list[Path]

    def close(self) -> None:
        self.closed.append(self.path)


class Server:
    """Models whose versions load at once, except below a folder `broken`, or `slow` until `gate` is set; also one `slow_version`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.gate = threading.Event()
        self.closed: list[Path] = []
        self.loading, self.slow_version = 0, 0
        self.executor = ThreadPoolExecutor(THREADS)
        self.retries, self.retry_seconds, self.poll_seconds, self.labels_may_wait = 0, 0.0, 0.02, False

    @functools.cached_property
    def models(self) -> Models:
        return Models(
            load=self.load,  # type: ignore[arg-type]
            executor=self.executor,
            settings=LoadSettings(self.retries, self.retry_seconds, self.poll_seconds),
            closed=lambda _: None,
            labels_may_wait=self.labels_may_wait,
        )

    async def until(self, probe: Callable[[], Any]) -> None:
        """Wait until the probe is true; nothing tells when."""
        await asyncio.to_thread(until, probe, seconds=SECONDS, every=0.01, what="what the models should do")

    def load(self, name: str, version: int, path: Path) -> Version:
        if "broken" in path.parts:
            raise internal("no variables")
        if "slow" in path.parts or version == self.slow_version:
            self.loading += 1
            assert self.gate.wait(SECONDS)
        return Version(path, self.closed)

    def model(self, name: str, *versions: int, labels: dict[str, int] | None = None, folder: str = "") -> ModelSettings:
        base = self.root / (folder or name)
        for version in versions:
            (base / str(version)).mkdir(parents=True, exist_ok=True)
        wanted = Specific(frozenset(versions))
        return ModelSettings(name, base, wanted, tuple((labels or {}).items()))

    def answers(self, name: str, label: str) -> int:
        with self.models.use(model_pb2.ModelSpec(name=name, version_label=label)) as (version, _):
            return version

    def folder(self, name: str, version: int | None = None) -> str:
        """The folder, below the root, of the version that answers."""
        spec = model_pb2.ModelSpec(name=name)
        if version is not None:
            spec.version.value = version
        with self.models.use(spec) as (_, found):
            return str(found.path.relative_to(self.root))  # type: ignore[attr-defined]

    async def until_available(self, name: str, version: int) -> None:
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    if self.models.states(name, version)[0].state is State.AVAILABLE:
                        return
                except ServingError:
                    pass  # not seen yet
                await asyncio.sleep(0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.gate.set()
    made.executor.shutdown()


def run(body: Callable[[], Awaitable[None]], server: Server) -> None:
    async def within_limits() -> None:
        async with asyncio.timeout(2 * SECONDS):
            await body()
        server.models.close()

    asyncio.run(within_limits())
