"""The command `fovea-comparator`."""

import argparse
import asyncio
import logging
import signal
import sys

from fovea_api.contract import names
from prometheus_client import start_http_server

from .comparing import Comparing, Counts
from .fronts import Ports, Version, serving


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="fovea-comparator",
        description="Asks two versions of a model the same mirrored requests, and counts how far their answers are apart.",
    )
    parser.add_argument("--stable", required=True, metavar="HOST", help="The version that is served.")
    parser.add_argument("--candidate", required=True, metavar="HOST", help="The new version.")
    parser.add_argument("--grpc-port", type=int, default=names.GRPC_PORT, help="Of mirrored requests and of versions.")
    parser.add_argument("--rest-port", type=int, default=names.REST_PORT, help="The same by REST.")
    parser.add_argument("--metrics-port", type=int, default=9090, help="Port of /metrics.")
    parser.add_argument("--seconds", type=float, default=30.0, help="How long an answer may take.")
    return parser.parse_args()


async def _run(given: argparse.Namespace) -> None:
    counts = Counts()
    start_http_server(given.metrics_port, registry=counts.registry)
    comparing = Comparing(counts)
    ports = Ports(given.grpc_port, given.rest_port)
    stable, candidate = (
        Version(f"{host}:{ports.grpc}", f"{host}:{ports.rest}") for host in (given.stable, given.candidate)
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    logging.getLogger(__name__).info("comparing %s with %s", given.candidate, given.stable)
    async with serving(comparing, stable, candidate, ports, given.seconds), asyncio.TaskGroup() as tasks:
        working = tasks.create_task(comparing.run())
        await stop.wait()
        working.cancel()


def main() -> int:
    """Run until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(_run(_arguments()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
