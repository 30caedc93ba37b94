"""The command `fovea-activator`."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

import aiohttp
import grpc
from aiohttp import web
from fovea_api.contract import environment, names
from fovea_api.contract.report import REPORT_TOKEN_FILE
from fovea_api.contract.waiting import WAITING_PATH, WaitingAnswer, WaitingReport
from prometheus_client import generate_latest

from . import rest_front
from .grpc_front import OPTIONS, GrpcFront
from .rest_front import RestFront
from .room import Bounds, Counts, Report, Room

log = logging.getLogger(__name__)
_REPORT_SECONDS = 5.0
_MOST_CALLS = 2 * Bounds.requests_in_all
"""Those that the room refuses included: gRPC's own refusal says neither what is full nor what to do."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="fovea-activator",
        description="Takes requests of models without a pod, lets the operator start one, and passes the requests on.",
    )
    parser.add_argument("--operator", required=True, metavar="URL", help="Where the operator takes reports.")
    parser.add_argument("--token", type=Path, default=Path(environment.REPORT_TOKEN_MOUNT), metavar="FOLDER")
    parser.add_argument(
        "--longest", type=float, default=600.0, metavar="SECONDS", help="Most time that a request waits."
    )
    parser.add_argument("--drain", type=float, default=5.0, metavar="SECONDS", help="New requests after SIGTERM.")
    parser.add_argument("--cluster-domain", default="cluster.local", help="DNS domain of the cluster.")
    parser.add_argument("--grpc-port", type=int, default=names.GRPC_PORT)
    parser.add_argument("--rest-port", type=int, default=names.REST_PORT)
    parser.add_argument("--metrics-port", type=int, default=9090, help="Port of /metrics and /readyz.")
    return parser.parse_args()


def reporter(session: aiohttp.ClientSession, operator: str, token: Path) -> Report:
    """Posts to the operator at that URL, with the token as it is in the folder now."""

    async def report(said: WaitingReport) -> WaitingAnswer:
        bearer = (token / REPORT_TOKEN_FILE).read_text().strip()
        try:
            async with session.post(
                f"{operator.rstrip('/')}{WAITING_PATH}",
                data=said.to_json(),
                headers={"Authorization": f"Bearer {bearer}"},
                timeout=aiohttp.ClientTimeout(total=_REPORT_SECONDS),
            ) as answer:
                text = await answer.text()
        except aiohttp.ClientError as error:
            raise OSError(str(error)) from error
        if answer.status != 200:
            raise OSError(f"{answer.status} {text.strip()}")
        return WaitingAnswer.from_json(text)

    return report


class _Probe:
    """/metrics and /readyz."""

    def __init__(self, counts: Counts) -> None:
        self.ready = True
        self._counts = counts

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/readyz", self._readyz)
        return application

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._counts.registry))

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.ready else 503)


async def _run(given: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    counts = Counts()
    probe = _Probe(counts)
    # Reports have connections of their own: requests that are passed on must not hold them up.
    async with aiohttp.ClientSession() as reporting, rest_front.session() as session:
        room = Room(reporter(reporting, given.operator, given.token), counts)
        alive = asyncio.create_task(room.alive(), name="alive")
        server = grpc.aio.server(options=OPTIONS, maximum_concurrent_rpcs=_MOST_CALLS)
        server.add_generic_rpc_handlers((GrpcFront(room, given.longest, cluster_domain=given.cluster_domain),))
        server.add_insecure_port(f"[::]:{given.grpc_port}")
        await server.start()
        rest = RestFront(room, session, given.longest, cluster_domain=given.cluster_domain)
        runners = [rest.runner(), web.AppRunner(probe.application())]
        for runner, port in zip(runners, (given.rest_port, given.metrics_port), strict=True):
            await runner.setup()
            await web.TCPSite(runner, None, port).start()
        log.info("waiting for requests")
        await stop.wait()
        probe.ready = False
        # The gateway goes on sending here until it has heard of it; then those that wait get their answers.
        await asyncio.sleep(given.drain)
        await server.stop(grace=given.longest)
        for runner in runners:
            await runner.cleanup()
        alive.cancel()


def main() -> int:
    """Run until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(_run(_arguments()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
