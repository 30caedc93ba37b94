"""Which models are served after a change of the configuration, and what one that is broken costs the others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fovea_serving.protocol.errors import ServingError, failed_precondition
from fovea_serving.server import lifecycle
from fovea_serving.server.lifecycle import ModelSettings
from fovea_serving.server.reloading import follow_config
from fovea_serving.server.versions import Latest, Specific
from support.played_models import SECONDS, THREADS, Server, run, server

__all__ = ["server"]


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
    server: Server,
) -> None:
    server.labels_may_wait = True

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


@pytest.mark.parametrize("bad", ["broken", "slow"])
def test_a_new_model_that_is_broken_or_slow_delays_no_later_reload(server: Server, bad: str) -> None:
    server.retries, server.retry_seconds = 5, 3600.0

    async def body() -> None:
        good = server.model("good", 1, 2)
        await server.models.configure([good])
        other = server.model("other", 1, folder=bad)
        first = asyncio.ensure_future(server.models.configure([good, other]))
        await asyncio.wait({first}, timeout=0.1)
        async with asyncio.timeout(SECONDS):
            await server.models.configure([server.model("good", 1, 2, labels={"stable": 2}), other])
            assert server.answers("good", "stable") == 2
            assert not first.done()
            await server.models.configure([good])
            with pytest.raises(ServingError, match="Model other was taken out of the configuration before it was"):
                await first

    run(body, server)


@pytest.mark.parametrize("bad", ["broken", "slow"])
def test_a_file_is_followed_while_a_new_model_in_it_is_broken_or_slow(server: Server, bad: str) -> None:
    server.retries, server.retry_seconds = 5, 3600.0

    def labelled() -> bool:
        with contextlib.suppress(ServingError):
            return server.answers("good", "stable") == 2
        return False

    async def body() -> None:
        good, other = server.model("good", 1, 2), server.model("other", 1, folder=bad)
        files = iter([[good, other]])
        last = [server.model("good", 1, 2, labels={"stable": 2}), other]
        await server.models.configure([good])
        following = asyncio.ensure_future(
            follow_config(lambda: next(files, last), server.models.begin, [good], lambda: asyncio.sleep(0.02))
        )
        await server.until(labelled)
        following.cancel()

    run(body, server)


def test_a_model_whose_files_hang_delays_neither_looks_nor_unloads_of_others(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = lifecycle._seen

    def look(base_path: Path) -> Any:
        if "hangs" in str(base_path):
            assert server.gate.wait(SECONDS)
        return seen(base_path)

    monkeypatch.setattr(lifecycle, "_seen", look)

    async def body() -> None:
        hung = [ModelSettings(f"m{n}", server.root / f"hangs-{n}") for n in range(50)]
        waiting = asyncio.ensure_future(server.models.begin(hung))
        async with asyncio.timeout(SECONDS / 2):
            await server.models.configure([*hung, server.model("good", 1)])
        server.gate.set()
        with pytest.raises(ServingError, match="there is no such folder"):
            await waiting

    run(body, server)


def test_an_unload_does_not_wait_for_loads(server: Server) -> None:
    async def body() -> None:
        await server.models.configure([server.model("good", 1)])
        slow = [server.model(f"slow{n}", 1, folder=f"slow/{n}") for n in range(THREADS)]
        waiting = asyncio.ensure_future(server.models.begin([server.model("good", 1), *slow]))
        await server.until(lambda: server.loading == THREADS)
        removed = server.models.begin(slow)
        await server.until(lambda: server.closed == [server.root / "good" / "1"])
        await removed
        server.gate.set()
        await waiting

    run(body, server)


def test_a_file_that_is_refused_is_tried_again_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    files: Iterator[Any] = iter(["old", "new", "new", "new", "new", "newer"])
    refusals = iter([failed_precondition("too early"), failed_precondition("too early"), None, None])
    applied: list[Any] = []

    def begin(wanted: Sequence[ModelSettings]) -> Awaitable[None]:
        applied.append(wanted)
        if (error := next(refusals)) is not None:
            raise error
        return asyncio.sleep(0)

    def read() -> Any:
        if (found := next(files, None)) is None:
            raise asyncio.CancelledError
        return found

    with caplog.at_level(logging.ERROR), pytest.raises(asyncio.CancelledError):
        asyncio.run(follow_config(read, begin, "old", lambda: asyncio.sleep(0)))  # type: ignore[arg-type]
    assert applied == ["new", "new", "new", "newer"]
    assert [record.getMessage() for record in caplog.records] == [
        "The model config was not applied as a whole: FAILED_PRECONDITION: too early"
    ]


@pytest.mark.parametrize(
    ("entries", "versions", "text"),
    [
        (None, (), "there is no such folder; a version is a folder whose name is a whole number, for example {}/1/sav"),
        ([], (), "the folder is empty; a version is a folder whose name is a whole number"),
        (["v1", "1.0", "latest"], (), "a version is a folder whose name is a whole number, for example "
         "{}/1/saved_model.pb; found instead: 1.0, latest, v1"),
        (["saved_model.pb", "variables"], (), "the model lies in the base path itself; move its files into {}/1;"),
        ([f"epoch-{n:02}" for n in range(13)], (), "found instead: epoch-00, "),
        ([f"epoch-{n:02}" for n in range(13)], (), "epoch-09 and 3 more"),
        (["1", "2"], (7,), "that the version policy asks for; found: 1, 2"),
        (["模型"], (), "found instead: 模型"),
    ],
)  # fmt: skip
def test_a_model_without_versions_says_what_a_version_is_and_what_was_found_instead_and_says_it_once(
    server: Server,
    caplog: pytest.LogCaptureFixture,
    entries: list[str] | None,
    versions: tuple[int, ...],
    text: str,
) -> None:
    base = server.root / "m"
    for entry in entries or []:
        (base / entry).mkdir(parents=True)
    if entries == []:
        base.mkdir()
    policy = Specific(frozenset(versions)) if versions else Latest()

    async def body() -> None:
        with pytest.raises(ServingError) as caught:
            await server.models.configure([ModelSettings("m", base, policy)])
        await asyncio.sleep(0.1)
        assert f"No versions of servable m found under base path {base}" in caught.value.message
        assert text.format(base) in caught.value.message

    with caplog.at_level(logging.WARNING):
        run(body, server)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1, "many looks later it is still said once"
