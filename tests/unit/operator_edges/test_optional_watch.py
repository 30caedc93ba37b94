"""Kopf in a thread, watching one kind: its events come here, and its end ends nothing else."""

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from fovea_operator import logs
from fovea_operator.cluster import credentials
from fovea_operator.cluster.credentials import Credentials
from fovea_operator.cluster.resources import Resource
from fovea_operator.handlers.running import OptionalWatch
from fovea_operator.settings import Settings

GROUP = Resource("scheduling.example.com/v1", "PodGroup", "podgroups", labelled=True, optional=True)
VERBS = ["list", "watch"]
PATH = "/apis/scheduling.example.com/v1"


def group(name: str, version: int) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "team", "uid": name, "resourceVersion": str(version)}
    return {"apiVersion": GROUP.api_version, "kind": "PodGroup", "metadata": metadata}


class ApiServer:
    """Discovery, lists and watches of one kind, as a real API server answers them."""

    def __init__(self) -> None:
        self.served = True
        self.selectors: list[str] = []
        self.told: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        """Watch events; None ends the watch."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        version = {"groupVersion": GROUP.api_version, "version": "v1"}
        match request.path:
            case "/api":
                return web.json_response({"versions": ["v1"]})
            case "/api/v1":
                namespaces = {"name": "namespaces", "singularName": "namespace", "kind": "Namespace"}
                return web.json_response({"resources": [{**namespaces, "namespaced": False, "verbs": VERBS}]})
            case "/apis":
                found = {"name": GROUP.group, "versions": [version], "preferredVersion": version}
                return web.json_response({"groups": [found]})
            case _ if request.path == PATH:
                there = {"name": "podgroups", "singularName": "podgroup", "kind": "PodGroup", "namespaced": True}
                return web.json_response({"resources": [{**there, "verbs": VERBS}]})
            case _ if not self.served:
                return web.json_response({"kind": "Status", "code": 404, "message": "no such kind"}, status=404)
        self.selectors.append(request.query.get("labelSelector", ""))
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "5"}, "items": [group("listed", 4)]})
        stream = web.StreamResponse()
        await stream.prepare(request)
        while (event := await self.told.get()) is not None:
            await stream.write(json.dumps(event).encode() + b"\n")
        return stream


Use = Callable[[ApiServer, OptionalWatch, "asyncio.Queue[Any]"], Awaitable[None]]


def watching(monkeypatch: pytest.MonkeyPatch, use: Use) -> None:
    """Run `use` beside a watch; the queue gets type, name and thread of every event, and "end"."""

    async def run() -> None:
        server, came = ApiServer(), asyncio.Queue[Any]()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        monkeypatch.setattr(credentials, "load", lambda: Credentials(f"http://127.0.0.1:{port}"))
        watch = OptionalWatch(
            Settings(),
            GROUP,
            lambda gvk, kind, raw: came.put_nowait((gvk, kind, raw["metadata"]["name"], threading.current_thread())),
            lambda: came.put_nowait("end"),
        )
        try:
            async with asyncio.timeout(30):
                await use(server, watch, came)
        finally:
            await watch.stop()
            server.told.put_nowait(None)
            await runner.cleanup()

    asyncio.run(run())


def test_what_is_listed_and_watched_arrives_in_the_operators_own_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(server: ApiServer, watch: OptionalWatch, came: "asyncio.Queue[Any]") -> None:
        here = threading.main_thread()
        assert await came.get() == (GROUP.gvk, None, "listed", here)
        server.told.put_nowait({"type": "ADDED", "object": group("new", 7)})
        assert await came.get() == (GROUP.gvk, "ADDED", "new", here)
        assert set(server.selectors) == {"fovea.dev/managed=true"}
        assert not watch.ended

    watching(monkeypatch, use)


def test_a_kind_that_is_removed_ends_its_watch_and_no_task_of_the_operator(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(server: ApiServer, watch: OptionalWatch, came: "asyncio.Queue[Any]") -> None:
        await came.get()
        ours = asyncio.create_task(asyncio.Event().wait())
        server.served = False
        server.told.put_nowait(None)
        assert await came.get() == "end"
        assert watch.ended
        assert not ours.done()
        ours.cancel()

    watching(monkeypatch, use)
    [said] = [r for r in caplog.records if r.message == "the watch of an optional kind ended"]
    assert "no such kind" in vars(said)["error"]
    kopfs = [record for record in caplog.records if record.name.startswith("kopf")]
    assert kopfs
    assert not any(map(logs._is_heard, kopfs)), "one line says it, no traceback"
    assert logs._is_heard(said)


def test_nothing_comes_after_a_watch_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(server: ApiServer, watch: OptionalWatch, came: "asyncio.Queue[Any]") -> None:
        await came.get()
        [thread] = [thread for thread in threading.enumerate() if thread.name == "watch of podgroups"]
        await watch.stop()
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()
        watch._take_in(GROUP.gvk, "ADDED", group("late", 9))
        assert came.empty()
        assert not watch.ended

    watching(monkeypatch, use)


def test_kopf_is_heard_where_the_operator_runs() -> None:
    record = logging.makeLogRecord({"name": "kopf._core.reactor", "threadName": threading.main_thread().name})
    assert logs._is_heard(record)
