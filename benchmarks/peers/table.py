"""The tables: what was measured, a row for each server and way, medians of the rounds."""

import os
import statistics
from collections.abc import Callable, Sequence

from peers.asked import SAYS
from peers.server import Server
from peers.turns import Cell, Found, Key, Remote, rows

HEAD = "| clients | server | req/s | p50/p99 ms | of the ceiling | CPU ms: server | of it outside TensorFlow | load generator |"


def report(found: Found, servers: Sequence[Server], remotes: Sequence[Remote], clients: Sequence[int]) -> None:
    """All of them as markdown."""
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores, load average {os.getloadavg()[0]:.1f}; CPU in ms for each request, medians of the rounds\n")
    print("| server | version | TensorFlow | how |\n|---|---|---|---|")
    for server in servers:
        own, tensorflow = found.versions.get(server.name, ("–", "–"))
        print(f"| {server.name} | {own} | {tensorflow} | {server.says} |")
    for remote in remotes:
        print(f"| {remote.row} | – | – | runs already: {remote.address} {remote.host} |")
    for kind, says in SAYS.items():
        print(f"\n### {says[0].upper()}{says[1:]}\n\n{HEAD}\n|---|---|---|---|---|---|---|---|")
        for count in clients:
            print(_ceiling_row(found, kind, count))
            for row in rows(found, kind):
                print(_row(found, Key(row, kind, count)))
    if found.failures:
        print("\nNot measured, or not in every round:\n")
    for name, reason in found.failures.items():
        print(f"- {name}: {' '.join(reason.split())[:600]}")


def _ceiling_row(found: Found, kind: str, clients: int) -> str:
    limits = found.limits.get((kind, clients), [])
    if not limits:
        return f"| {clients} | the ceiling: in one process | not measured | – | – | – | – | – |"
    rate, cpu = (statistics.median(getattr(limit, name) for limit in limits) for name in ("rate", "cpu_ms"))
    return f"| {clients} | the ceiling: in one process | {rate:.1f} | – | 100% | {cpu:.2f} | – | – |"


def _row(found: Found, key: Key) -> str:
    cells = found.cells.get(key)
    if not cells:
        return f"| {key.clients} | {key.row} | not measured | – | – | – | – | – |"

    def median(of: Callable[[Cell], float]) -> float:
        return statistics.median(of(cell) for cell in cells)

    cpu = outside = "–"
    if all(cell.cpu_ms is not None for cell in cells):
        cpu = f"{median(lambda cell: cell.cpu_ms):.2f}"
        outside = f"{median(lambda cell: cell.cpu_ms - cell.limit.cpu_ms):.2f}"
    return (
        f"| {key.clients} | {key.row} | {median(lambda cell: cell.load.rate):.1f} "
        f"| {median(lambda cell: cell.load.p50):.1f}/{median(lambda cell: cell.load.p99):.1f} "
        f"| {median(lambda cell: cell.load.rate / cell.limit.rate):.0%} | {cpu} | {outside} "
        f"| {median(lambda cell: cell.load.own_ms):.2f} |"
    )
