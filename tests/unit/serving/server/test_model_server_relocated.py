"""A model whose folder is another one now, and one that is taken away: what answers meanwhile, and what is unloaded."""

from __future__ import annotations

import asyncio
import gc
import shutil

import pytest
from fovea_serving.protocol.errors import ServingError
from fovea_serving.server.versions import State
from support.played_models import Server, run, server
from tensorflow_serving.apis import model_pb2

__all__ = ["server"]


@pytest.mark.parametrize("poll_seconds", [0.02, 0.0])
def test_versions_of_the_same_number_are_loaded_from_the_new_folder(server: Server, poll_seconds: float) -> None:
    server.poll_seconds = poll_seconds

    async def body() -> None:
        await server.models.configure([server.model("m", 1, 2, folder="old")])
        await server.models.configure([server.model("m", 1, 2, folder="new")])
        assert (server.folder("m"), server.folder("m", 1)) == ("new/2", "new/1")
        await server.until(lambda: sorted(server.closed) == [server.root / "old" / "1", server.root / "old" / "2"])
        assert [record.state for record in server.models.states("m", None)] == [State.AVAILABLE] * 2

    run(body, server)


def test_the_old_files_answer_until_the_new_ones_do_even_if_their_folder_is_gone(server: Server) -> None:
    async def body() -> None:
        await server.models.configure([server.model("m", 1, 2, folder="old")])
        outcome = asyncio.ensure_future(
            server.models.begin([server.model("m", 2, 3, folder="slow", labels={"stable": 2})])
        )
        await server.until(lambda: server.loading == 2)
        for version in (1, 2):
            shutil.rmtree(server.root / "old" / str(version))
        await asyncio.wait({outcome}, timeout=0.2)
        assert [server.folder("m"), server.folder("m", 1), server.folder("m", 2)] == ["old/2", "old/1", "old/2"]
        assert server.answers("m", "stable") == 2
        server.gate.set()
        await outcome
        assert server.folder("m") == "slow/3"
        await server.until(lambda: len(server.closed) == 2)
        with pytest.raises(ServingError, match=r"Specific\(m, 1\)"):
            server.folder("m", 1)

    run(body, server)


@pytest.mark.parametrize("turns", range(4))
def test_a_folder_is_not_followed_any_more_even_if_something_happened_at_that_moment(
    server: Server, turns: int
) -> None:
    """Python's wait_for forgets a cancellation that comes together with what it waits for."""
    server.poll_seconds = 5

    async def body() -> None:
        await server.models.configure([server.model("m", 1)])
        [(lifecycle, following)] = server.models._following.items()
        await asyncio.sleep(0.05)  # it waits for its next look
        lifecycle.change(lifecycle.model)
        for _ in range(turns):
            await asyncio.sleep(0)
        following.cancel()
        await asyncio.wait({following}, timeout=2)
        assert following.cancelled()

    run(body, server)


@pytest.mark.parametrize("poll_seconds", [0.02, 0.0])
def test_the_old_files_answer_as_long_as_the_new_ones_cannot_be_loaded_and_are_not_loaded_again_when_they_are_named(
    server: Server, poll_seconds: float
) -> None:
    """A second copy might not fit into memory beside the first, which goes only when no request uses it."""
    server.poll_seconds = poll_seconds

    async def body() -> None:
        old = server.model("m", 1, folder="old")
        await server.models.configure([old])
        with server.models.use(model_pb2.ModelSpec(name="m")) as (_, first):
            for bad in ("broken", "broken/again"):
                with pytest.raises(ServingError, match="m: INTERNAL: no variables"):
                    await server.models.configure([server.model("m", 1, folder=bad)])
                assert server.folder("m") == "old/1"
                assert server.models.states("m", 1)[0].error is not None
            await server.models.configure([old])
            with server.models.use(model_pb2.ModelSpec(name="m")) as (_, again):
                assert again is first
        assert server.models.states("m", 1)[0].state is State.AVAILABLE
        await server.models.configure([server.model("m", 1, folder="new")])
        await server.until(lambda: server.closed == [server.root / "old" / "1"])
        assert server.folder("m") == "new/1"

    run(body, server)


def test_a_folder_that_is_named_again_is_followed_again_and_what_was_loaded_from_the_other_goes(server: Server) -> None:
    server.slow_version = 2

    async def body() -> None:
        await server.models.configure([server.model("m", 1, folder="old")])
        moving = asyncio.ensure_future(server.models.begin([server.model("m", 1, 2, folder="next")]))
        await server.until(lambda: server.folder("m", 1) == "next/1")
        await server.models.configure([server.model("m", 1, 3, folder="old", labels={"stable": 1})])
        with pytest.raises(ServingError, match="taken out of the configuration"):
            await moving
        await server.until_available("m", 3)
        assert [server.folder("m"), server.folder("m", server.answers("m", "stable"))] == ["old/3", "old/1"]
        server.gate.set()
        await server.until(lambda: sorted(server.closed) == [server.root / "next" / "1", server.root / "next" / "2"])

    run(body, server)


def test_a_model_that_moves_again_before_it_has_moved_is_answered_by_what_is_loaded(server: Server) -> None:
    server.slow_version = 2

    async def body() -> None:
        await server.models.configure([server.model("m", 1, folder="old")])
        moving = asyncio.ensure_future(server.models.begin([server.model("m", 1, 2, folder="next")]))
        await server.until(lambda: server.folder("m", 1) == "next/1")
        with pytest.raises(ServingError, match="no variables"):
            await server.models.configure([server.model("m", 1, folder="broken")])
        server.gate.set()
        assert await moving is None
        await server.until(lambda: server.closed == [server.root / "old" / "1"])
        assert server.folder("m") == "next/2"

    run(body, server)


def test_a_model_that_is_taken_away_while_it_moves_goes_with_all_its_files(server: Server) -> None:
    async def body() -> None:
        await server.models.configure([server.model("m", 1, folder="old")])
        outcome = asyncio.ensure_future(server.models.begin([server.model("m", 1, folder="slow")]))
        await server.until(lambda: server.loading == 1)
        await server.models.configure([server.model("other", 1)])
        with pytest.raises(ServingError, match="taken out of the configuration"):
            await outcome
        with pytest.raises(ServingError, match="NOT_FOUND"):
            server.folder("m")
        server.gate.set()
        await server.until(lambda: sorted(server.closed) == [server.root / "old" / "1", server.root / "slow" / "1"])

    run(body, server)


@pytest.mark.parametrize("again", ["m", "elsewhere"])
@pytest.mark.parametrize("poll_seconds", [0.02, 0.0])
def test_a_request_under_way_is_answered_by_the_files_it_began_with_and_they_are_unloaded_after_it(
    server: Server, poll_seconds: float, again: str
) -> None:
    server.poll_seconds = poll_seconds

    async def body() -> None:
        first = server.model("m", 1)
        await server.models.configure([first])
        with server.models.use(model_pb2.ModelSpec(name="m")) as (_, servable):
            await server.models.configure([])
            await server.models.configure([server.model("m", 1, folder=again)])
            for _ in range(3):
                gc.collect()
                await asyncio.sleep(0)
            assert not server.closed
            assert server.folder("m") == f"{again}/1"
        await server.until(lambda: server.closed == [servable.path])  # type: ignore[attr-defined]

    run(body, server)
