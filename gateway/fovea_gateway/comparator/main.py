"""The command `fovea-comparator`."""

import argparse
import asyncio
import logging
import signal
import sys

from prometheus_client import start_http_server

from .comparing import Comparing, Counts, asker, serve


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="fovea-comparator",
        description="Asks two versions of a model the same mirrored requests, and counts how far their answers are apart.",
    )
    parser.add_argument("--stable", required=True, metavar="HOST:PORT", help="The version that is served (gRPC).")
    parser.add_argument("--candidate", required=True, metavar="HOST:PORT", help="The new version (gRPC).")
    parser.add_argument("--port", type=int, default=8500, help="Port for mirrored requests (gRPC).")
    parser.add_argument("--metrics-port", type=int, default=9090, help="Port of /metrics.")
    parser.add_argument("--seconds", type=float, default=30.0, help="How long an answer may take.")
    return parser.parse_args()


async def _run(given: argparse.Namespace) -> None:
    counts = Counts()
    start_http_server(given.metrics_port, registry=counts.registry)
    comparing = Comparing(asker(given.stable, given.seconds), asker(given.candidate, given.seconds), counts)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    logging.getLogger(__name__).info("comparing %s with %s", given.candidate, given.stable)
    await serve(given.port, comparing, stop)


def main() -> int:
    """Run until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(_run(_arguments()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
