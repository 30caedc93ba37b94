"""How fast the operator takes a burst of jobs, and what it costs: a real API server, pods stepped by a played kubelet.

    python benchmarks/operator_burst.py --burst 500 1000 --steady 60
    python benchmarks/operator_burst.py --burst 1000 --peer tfjob-tuned --rounds 2

    python benchmarks/operator_burst.py --burst 200 --distributed --peer tfjob-tuned --rounds 2

Each pod is set Running 0.2 s after it appears and Succeeded, with the sidecar's termination message, 2 s later: also a
parameter server, which spares both operators its deletion. Every
time is read from the API server's audit log (level Metadata) and CPU and memory from /proc: the operator's own metrics
are not asked. Every run has an API server and an etcd of its own, which are left to calm down before it begins.

With --peer, Kubeflow's training operator (benchmarks/burst/peer.py says how it is run) gets as many TFJobs of one pod,
in turns with ours: the same API server program, submitters, stepper and ledger. Its job ends with the last write of its
status. It is built from its Go module the first time, which takes minutes.
The Go programs that are missing are built first. It needs 2 cores of which nothing else takes much.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("tests", "dev")]
# ruff: noqa: E402 - what stands in tests/ and dev/ is no distribution

from burst import table
from burst.kinds import TFJobs, TrainingJobs
from burst.lab import Contestant, Run, measure
from burst.ours import Ours
from burst.peer import PEERS, Peer, built
from burst.submitter import Load


def measure_all(root: Path, loads: list[Load], contestants: list[Contestant], rounds: int) -> None:
    """Every load, round by round, the contestants in turns; print a row for each run, and the pairs at the end."""
    pairs = []
    print(table.HEADER, flush=True)
    for load in loads:
        for number in range(1, rounds + 1):
            runs: list[Run] = []
            for contestant in contestants:
                runs.append(measure(root / "plane", contestant, load))
                print(f"{table.row(runs[-1])} <!-- load average {os.getloadavg()[0]:.1f} -->", flush=True)
            ours, *others = runs
            if not load.every:  # what drains at the pace it is submitted with says nothing
                pairs += [table.pair(number, ours, theirs) for theirs in others]
    if pairs:
        print(f"\n{table.PAIRS_HEADER}", *pairs, sep="\n", flush=True)


def main() -> None:
    """Parse and run."""
    options = _parser().parse_args()
    # SIGTERM (as `timeout` sends it) ends what was started, as an interrupt does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    loads = [Load(count, submitters=options.submitters) for count in options.burst]
    if options.steady:
        loads.append(Load(int(options.steady * options.rate), 1 / options.rate, options.submitters))
    settings = dict(item.split("=", 1) for item in options.set)
    contestants: list[Contestant] = [Ours(settings, options.profile, kind=TrainingJobs(options.distributed))]
    if options.peer:
        built()  # before the first run, not between the two of a pair
        contestants.append(Peer(options.peer, TFJobs(options.distributed)))
    shared_memory = Path("/dev/shm")
    root = options.folder or Path(tempfile.mkdtemp(dir=shared_memory if shared_memory.is_dir() else None))
    try:
        measure_all(root.absolute(), loads, contestants, options.rounds)
    finally:
        if options.folder is None:
            shutil.rmtree(root, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--burst", type=int, nargs="*", default=[], help="sizes of bursts, e.g. 500 1000 5000")
    parser.add_argument("--steady", type=int, default=0, help="seconds of jobs at --rate")
    parser.add_argument("--rate", type=float, default=1.0, help="jobs a second of --steady (default: 1)")
    parser.add_argument(
        "--distributed", action="store_true", help="jobs of four pods: a chief, two workers, a parameter server"
    )
    parser.add_argument("--peer", choices=list(PEERS), help="measure Kubeflow's training operator, too, in turns")
    parser.add_argument("--rounds", type=int, default=1, help="how often every load is measured (default: 1)")
    parser.add_argument("--folder", type=Path, help="where keys, data and logs go (default: /dev/shm if there is one)")
    parser.add_argument("--set", action="append", default=[], help="setting of the operator, e.g. --set WORKERS=32")
    parser.add_argument("--profile", type=Path, help="write a cProfile of the operator")
    parser.add_argument(
        "--submitters", type=int, default=2, help="jobs created at the same time; kubectl create -f is 1 (default: 2)"
    )
    return parser


if __name__ == "__main__":
    main()
