"""Which models are served after a change of the configuration, and what one that is broken costs the others."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fovea_serving.server.errors import ServingError, failed_precondition, internal
from fovea_serving.server.lifecycle import LoadSettings, ModelSettings
from fovea_serving.server.models import Models
from fovea_serving.server.reloading import follow_config
from fovea_serving.server.versions import Specific, State
from tensorflow_serving.apis import model_pb2

SECONDS = 20


@dataclass
class Version:
    path: Path

    def close(self) -> None:
        pass


class Server:
    """Models whose versions load at once, except below a folder `broken`, or `slow` until `gate` is set."""

    def __init__(self, root: Path, *, labels_may_wait: bool = False) -> None:
        self.root = root
        self.gate = threading.Event()
        self.executor = ThreadPoolExecutor(4)
        self.models = Models(
            load=self.load,  # type: ignore[arg-type]
            executor=self.executor,
            settings=LoadSettings(retries=0, retry_seconds=0.0, poll_seconds=0.02),
            closed=lambda _: None,
            labels_may_wait=labels_may_wait,
        )

    def load(self, name: str, version: int, path: Path) -> Version:
        if "broken" in path.parts:
            raise internal("no variables")
        if "slow" in path.parts:
            assert self.gate.wait(SECONDS)
        return Version(path)

    def model(self, name: str, *versions: int, labels: dict[str, int] | None = None, folder: str = "") -> ModelSettings:
        base = self.root / (folder or name)
        for version in versions:
            (base / str(version)).mkdir(parents=True, exist_ok=True)
        wanted = Specific(frozenset(versions))
        return ModelSettings(name, base, wanted, tuple((labels or {}).items()))

    def answers(self, name: str, label: str) -> int:
        with self.models.use(model_pb2.ModelSpec(name=name, version_label=label)) as (version, _):
            return version

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


@pytest.mark.parametrize("bad", ["broken", "slow"])
def test_a_model_that_is_broken_or_slow_keeps_nobody_from_changing_the_others(server: Server, bad: str) -> None:
    async def body() -> None:
        good = server.model("good", 1, 2)
        await server.models.configure([good])
        other = server.model("other", 1, folder=bad)
        first = asyncio.ensure_future(server.models.configure([good, other]))
        if bad == "slow":
            await asyncio.wait({first}, timeout=0.1)
            first.cancel()
        with pytest.raises((ServingError, asyncio.CancelledError)):
            await first
        await server.models.configure([server.model("good", 1, 2, labels={"stable": 1}), other])
        assert server.answers("good", "stable") == 1
        await server.models.configure([server.model("good", 1, 2, labels={"stable": 2}), other])
        assert server.answers("good", "stable") == 2

    run(body, server)


def test_labels_move_even_when_a_new_model_beside_them_is_broken(server: Server) -> None:
    async def body() -> None:
        await server.models.configure([server.model("good", 1, 2)])
        wanted = [server.model("good", 1, 2, labels={"stable": 2}), server.model("new", 1, folder="broken")]
        with pytest.raises(ServingError, match="new: INTERNAL: no variables"):
            await server.models.configure(wanted)
        assert server.answers("good", "stable") == 2

    run(body, server)


def test_a_label_that_waits_for_a_version_which_never_comes_keeps_nobody_from_changing_the_others(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path, labels_may_wait=True)

    async def body() -> None:
        waiting = server.model("waiting", 1, labels={"canary": 5})
        await server.models.configure([waiting])
        await server.models.configure([waiting, server.model("other", 1, labels={"stable": 1})])
        assert server.answers("other", "stable") == 1
        with pytest.raises(ServingError, match="assign label to version 6 of model waiting"):
            await server.models.configure([server.model("waiting", 1, labels={"canary": 6})])

    run(body, server)


def test_a_version_that_was_copied_a_moment_ago_is_loaded_a_look_later_and_no_error(server: Server) -> None:
    async def body() -> None:
        await server.models.configure([server.model("good", 1)])
        await server.models.configure([server.model("good", 3)])
        await server.until_available("good", 3)

    run(body, server)


def test_a_model_whose_folder_is_another_one_now_is_a_new_one(server: Server) -> None:
    async def body() -> None:
        await server.models.configure([server.model("good", 1)])
        with pytest.raises(ServingError, match=r"No versions of servable good found under base path .*elsewhere"):
            await server.models.configure([server.model("good", folder="elsewhere")])

    run(body, server)


def test_a_file_that_is_refused_is_tried_again_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    files: Iterator[Any] = iter(["old", "new", "new", "new", "new", "newer"])
    refusals = iter([failed_precondition("too early"), failed_precondition("too early"), None, None])
    applied: list[Any] = []

    async def configure(wanted: Sequence[ModelSettings]) -> None:
        applied.append(wanted)
        if (error := next(refusals)) is not None:
            raise error

    def read() -> Any:
        if (found := next(files, None)) is None:
            raise asyncio.CancelledError
        return found

    with caplog.at_level(logging.ERROR), pytest.raises(asyncio.CancelledError):
        asyncio.run(follow_config(read, configure, "old", lambda: asyncio.sleep(0)))  # type: ignore[arg-type]
    assert applied == ["new", "new", "new", "newer"]
    assert [record.getMessage() for record in caplog.records] == [
        "The model config was not applied as a whole: FAILED_PRECONDITION: too early"
    ]
