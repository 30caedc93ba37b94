"""Model server: what a request costs outside the runtime, and its rate beside what the same machine does in one process.

    python benchmarks/model_server.py [--seconds 5] [--rounds 3] [--clients 1,8,32] [--most-outside 0.30]

The model has three convolutions and takes encoded pictures (one JPEG of 320x240 in every request). The load comes from
h2load (Debian: nghttp2-client) over the loopback interface. Rounds of the server and rounds of the ceiling alternate,
because the machine may be busy with other things; the table shows medians. The ceiling has as many callers as the server.

Processor time is read by thread: in the runtime (its own threads, and the time of those that run the model within the
run), on the event loop, and elsewhere (batching, on the threads that run the model; gRPC). The last two are what the
server itself costs. Where the rates are noisy, read that.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "dev"))

from served import ceiling, model
from served.ceiling import Limit
from served.load import Load, load, required
from served.server import Server, running_server


@dataclass(frozen=True)
class Round:
    """One measurement of a number of clients; processor time in milliseconds for each request."""

    load: Load
    runtime: float
    loop: float
    others: float
    limit: Limit

    @property
    def outside(self) -> float:
        """What a request costs beside the model's run."""
        return self.loop + self.others

    @property
    def share(self) -> float:
        """Of the ceiling."""
        return self.load.rate / self.limit.rate


def server_round(server: Server, payload: bytes, clients: int, seconds: float, limit: Limit) -> Round:
    """One measurement of the server."""
    before = server.spent()
    measured = load(server.address, payload, clients, seconds)
    spent = server.spent() - before
    runtime, loop, others = (part / measured.requests * 1e3 for part in (spent.runtime, spent.loop, spent.others))
    return Round(measured, runtime, loop, others, limit)


def in_process(folder: Path) -> Any:
    """The model, called without a server."""
    from fovea_serving.server.servable import SessionSettings
    from fovea_serving.server.servable import load as load_servable

    servable = load_servable(folder, SessionSettings())
    signature = servable.signatures["serving_default"]
    outputs = tuple(signature.outputs)
    return lambda feed: servable.run(signature, [feed], outputs)


def measure(clients: Sequence[int], rounds: int, seconds: float) -> dict[int, list[Round]]:
    """Server and ceiling in turns, for each number of clients."""
    found: dict[int, list[Round]] = {number: [] for number in clients}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save_cnn3(folder / model.NAME / "1")
        image = model.picture()
        payload = model.request(model.NAME, image)
        run = in_process(folder / model.NAME / "1")
        with running_server(folder) as server:
            load(server.address, payload, max(clients), 1.0)
            for number in range(rounds):
                for count in clients:
                    limit = ceiling.best(run, image, count, seconds)
                    found[count].append(server_round(server, payload, count, seconds, limit))
                print(f"round {number + 1} of {rounds} done, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    return found


def report(found: dict[int, list[Round]]) -> float:
    """The table as markdown; milliseconds outside the runtime at the highest number of clients."""
    cores, busy = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"{cores} cores, load average {busy:.1f}; CPU in ms for each request\n")
    print(
        "| clients | req/s | p50/p99 ms | ceiling/s | share | CPU outside: loop + other threads | in the runtime | ceiling |"
    )
    print("|---|---|---|---|---|---|---|---|")
    outside = 0.0
    for count, rounds in sorted(found.items()):

        def median(of: Any, rounds: list[Round] = rounds) -> float:
            return statistics.median(of(one) for one in rounds)

        outside = median(lambda one: one.outside)
        print(
            f"| {count} | {median(lambda one: one.load.rate):.0f} "
            f"| {median(lambda one: one.load.p50):.1f}/{median(lambda one: one.load.p99):.1f} "
            f"| {median(lambda one: one.limit.rate):.0f} | {median(lambda one: one.share):.0%} "
            f"| {outside:.2f}: {median(lambda one: one.loop):.2f} + {median(lambda one: one.others):.2f} "
            f"| {median(lambda one: one.runtime):.2f} | {median(lambda one: one.limit.cpu_ms):.2f} |"
        )
    return outside


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of each number of clients")
    parser.add_argument("--clients", default="1,8,32", help="numbers of concurrent callers")
    parser.add_argument(
        "--most-outside",
        type=float,
        help="exit 1 when a request costs more ms outside the runtime, at the most clients",
    )
    arguments = parser.parse_args()
    required()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    clients = [int(number) for number in arguments.clients.split(",")]
    outside = report(measure(clients, arguments.rounds, arguments.seconds))
    return 0 if arguments.most_outside is None or outside <= arguments.most_outside else 1


if __name__ == "__main__":
    sys.exit(main())
