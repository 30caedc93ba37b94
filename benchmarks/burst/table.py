"""Runs as markdown: a row each, and what a pair of runs says about each other."""

from burst.lab import Run
from burst.ledger import percentiles

_COLUMNS = (
    "run",
    "operator",
    "pod after submit p50/p99 s",
    "job end after pod's end p50/p99 s",
    "drain (submitting) s",
    "writes per job",
    "with events",
    "operator CPU ms/job",
    "API server CPU ms/job",
    "RSS/peak MiB",
    "refused calls",
)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


HEADER = f"{_line(list(_COLUMNS))}\n|{'---|' * len(_COLUMNS)}"
PAIRS_HEADER = f"{_line(['pair', 'drain, ours/theirs s', 'ratio'])}\n|{'---|' * 3}"


def row(run: Run) -> str:
    """A row below HEADER."""
    ledger, count = run.ledger, run.load.count
    pods, ends = percentiles(ledger.seconds_to_pod()), percentiles(ledger.seconds_to_end())
    failures = ", ".join(f"{number}×{code}" for code, number in ledger.failures.items()) or "none"
    return _line(
        [
            str(run.load),
            run.contestant,
            f"{pods[0]:.3f}/{pods[1]:.3f}",
            f"{ends[0]:.3f}/{ends[1]:.3f}",
            f"{ledger.drain:.1f} ({ledger.submitting:.1f})",
            f"{ledger.writes / count:.2f}",
            f"{(ledger.writes + ledger.events) / count:.2f}",
            f"{run.operator_cpu * 1000 / count:.1f}",
            f"{run.api_cpu * 1000 / count:.1f}",
            f"{run.memory.rss}/{run.memory.peak}",
            failures,
        ]
    )


def pair(number: int, ours: Run, theirs: Run) -> str:
    """A row below PAIRS_HEADER: below 1, ours was faster."""
    drains = ours.ledger.drain, theirs.ledger.drain
    what = f"{ours.load}, round {number}: {ours.contestant}/{theirs.contestant}"
    return _line([what, f"{drains[0]:.1f}/{drains[1]:.1f}", f"{drains[0] / drains[1]:.2f}"])
