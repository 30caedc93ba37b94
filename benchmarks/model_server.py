"""Model server: what a request costs outside the runtime, and its rate beside what the same machine does in one process.

    python benchmarks/model_server.py [--seconds 5] [--rounds 3] [--clients 1,8,32] [--most-outside 0.30]
    python benchmarks/model_server.py --peers bentoml,litserve,rayserve,mlserver [--gateway HOST:PORT]

The model has three convolutions and takes encoded pictures (one JPEG of 320x240 in every request). The load comes from
h2load (Debian: nghttp2-client) over the loopback interface. Rounds of the server and rounds of the ceiling alternate,
because the machine may be busy with other things; the table shows medians. The ceiling has as many callers as the server.

Processor time is read by thread: in the runtime (its own threads, and the time of those that run the model within the
run), on the event loop, and elsewhere (batching, on the threads that run the model; gRPC). The last two are what the
server itself costs. Where the rates are noisy, read that.

With --peers, other model servers serve one SavedModel of the same network in turns with ours: `peers/`, and README.md.
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


def beside_peers(arguments: argparse.Namespace, clients: Sequence[int]) -> int:
    """Ours, its peers and the ceiling in turns, the tables printed; 1 when a row is missing."""
    from peers import known, table, turns

    servers = [known.SERVERS[name] for name in ("fovea", *filter(None, (arguments.peers or "").split(",")))]
    remotes = [
        turns.Remote(row, address, arguments.gateway_host)
        for row, address in (("Fovea, gateway", arguments.gateway), ("Fovea, behind it", arguments.behind))
        if address
    ]
    found = turns.measured(turns.Plan(servers, remotes, clients, arguments.rounds, arguments.seconds))
    table.report(found, servers, remotes, clients)
    return 1 if found.failures else 0


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of each number of clients")
    parser.add_argument("--clients", default="1,8,32", help="numbers of concurrent callers")
    parser.add_argument(
        "--most-outside",
        type=float,
        help="exit 1 when a request costs more ms outside the runtime, at the most clients; not with peers",
    )
    parser.add_argument("--peers", help="other servers to measure in turns: bentoml,litserve,rayserve,mlserver")
    parser.add_argument(
        "--gateway", metavar="HOST:PORT", help="a gateway's port for gRPC, with the model of --save behind it as cnn3"
    )
    parser.add_argument("--gateway-host", default=f"{model.NAME}.default.svc", help="the model's name at the gateway")
    parser.add_argument("--behind", metavar="HOST:PORT", help="the server behind the gateway, asked without it")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write the SavedModel of the peers, and end")
    return parser


def main() -> int:
    """Measure and report."""
    parser = options()
    arguments = parser.parse_args()
    known = ("bentoml", "litserve", "rayserve", "mlserver")
    if wrong := [name for name in filter(None, (arguments.peers or "").split(",")) if name not in known]:
        parser.error(f"--peers: {', '.join(wrong)}: one of {', '.join(known)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if arguments.save:
        model.save_cnn3(arguments.save, model.PEERS_SIZE, pixels=True)
        return 0
    required()
    clients = [int(number) for number in arguments.clients.split(",")]
    if arguments.peers is not None or arguments.gateway or arguments.behind:
        return beside_peers(arguments, clients)
    outside = report(measure(clients, arguments.rounds, arguments.seconds))
    return 0 if arguments.most_outside is None or outside <= arguments.most_outside else 1


if __name__ == "__main__":
    sys.exit(main())
