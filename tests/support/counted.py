"""Proxies of a gateway that show what they have counted, the API server that knows them, and the reader that asks them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from aiohttp import web
from fovea_operator import errors
from fovea_operator.cluster.envoy import Service
from fovea_operator.cluster.keys import Key
from fovea_operator.cluster.traffic import TrafficReader
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.traffic import Load, Traffic
from fovea_operator.settings import Settings
from support.kinds import MODEL_DEPLOYMENT

V1, V2 = Service("vision", "digits-v1-aaaa"), Service("vision", "digits-v2-bbbb")
DIGITS = Key(MODEL_DEPLOYMENT, "vision", "digits")
NAMES = (V1.name, V2.name)


@dataclass
class Proxy:
    """What a proxy shows; None: it does not answer well."""

    counts: dict[Service, int] | None = field(default_factory=dict)
    active: int = 0
    then: Callable[[], object] = lambda: None
    """What happens while it is asked."""

    async def show(self, request: web.Request) -> web.Response:
        is_judged, then = "upstream_rq_time" in request.query["filter"], self.then
        self.then = lambda: None
        then()
        if self.counts is None:
            return web.Response(status=503)
        lines = []
        for of, number in self.counts.items():
            cluster = f'envoy_cluster_name="service/{of.namespace}/{of.name}/8500/grpc"'
            if is_judged:
                lines.append(f"envoy_cluster_grpc_PredictionService_Predict_0{{{cluster}}} {number}")
                lines.append(f'envoy_cluster_upstream_rq_time_bucket{{{cluster},le="10"}} {number}')
            lines.append(f"envoy_cluster_upstream_rq_total{{{cluster}}} {number}")
            lines.append(f"envoy_cluster_upstream_rq_active{{{cluster}}} {self.active}")
        return web.Response(text="\n".join([*lines, ""]))


class Api:
    """The API server, which knows the proxies' addresses."""

    def __init__(self) -> None:
        self.addresses = ["127.0.0.1"]
        self.not_serving: set[str] = set()
        self.fails = False
        self.paths: list[str] = []

    async def request(self, _verb: str, _resource: Any, _method: str, path: str) -> dict[str, Any]:
        self.paths.append(path)
        if self.fails:
            raise errors.ApiError("endpointslices is forbidden", code=403)
        endpoints = [
            {"addresses": [address], "conditions": {"serving": address not in self.not_serving}}
            for address in self.addresses
        ]
        return {"items": [{"endpoints": endpoints}]}


@dataclass
class Watching:
    proxy: Proxy
    api: Api
    reader: TrafficReader
    woken: list[Key]

    def look(self, since: datetime | None, comparators: Sequence[str] = (), *, has_step: bool = True) -> Traffic:
        moment = None if since is None else times.text(since)
        found = self.reader.look(DIGITS, NAMES, moment, comparators, has_step=has_step)
        assert found is not None
        return found

    def load(self) -> Load:
        found = self.reader.load(DIGITS, NAMES, 60)
        assert found is not None
        return found

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110 - the reader notifies the operator's queue, no test
                await asyncio.sleep(0.01)


@asynccontextmanager
async def watching() -> AsyncIterator[Watching]:
    proxy, api, woken = Proxy(), Api(), []
    application = web.Application()
    application.router.add_get("/stats/prometheus", proxy.show)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    settings = replace(
        Settings(),
        gateway="fovea-system/fovea",
        gateway_proxies="envoy/gateway",
        gateway_statistics_port=port,
        statistics_seconds=0.02,
    )
    reader = TrafficReader(api, settings, woken.append)  # type: ignore[arg-type]
    task = asyncio.create_task(reader.run())
    try:
        yield Watching(proxy, api, reader, woken)
    finally:
        task.cancel()
        await runner.cleanup()


@asynccontextmanager
async def comparator(counts: Mapping[str, float]) -> AsyncIterator[str]:
    """host:port of one that shows these counts."""

    async def show(_: web.Request) -> web.Response:
        shown = ((f"fovea_comparator_{of}_total", number) for of, number in counts.items())
        return web.Response(text="".join(f"# TYPE {name} counter\n{name} {number}\n" for name, number in shown))

    application = web.Application()
    application.router.add_get("/metrics", show)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def totals(traffic: Traffic) -> dict[str, int]:
    return {name: requests.total for name, requests in traffic.whole.items()}
