"""/metrics, /healthz and /readyz, and starting HTTP servers."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from .liveness import Liveness
from .metrics import CONTENT_TYPE, Metrics


def application(metrics: Metrics, liveness: Callable[[], Liveness]) -> web.Application:
    """The endpoints for Prometheus and for the kubelet's probes."""

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def healthz(_: web.Request) -> web.Response:
        trouble = liveness().trouble(asyncio.get_running_loop().time())
        return web.Response(status=500 if trouble else 200, text=f"{trouble or 'ok'}\n")

    async def readyz(_: web.Request) -> web.Response:
        ready = liveness().ready
        return web.Response(status=200 if ready else 503, text="ok\n" if ready else "standby: another instance leads\n")

    app = web.Application()
    app.router.add_get("/metrics", scrape)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


async def serve(app: web.Application, port: int) -> web.AppRunner:
    """Serve on all addresses of the pod; the caller cleans the runner up."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, None, port, reuse_address=True).start()
    return runner
