"""All benchmarks, one after the other, as markdown: `make bench`, or `make bench ARGS="--quick"`.

    python benchmarks/run.py [--only NAME ...] [--quick]

What they measure, and figures to compare with: benchmarks/README.md.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Benchmark:
    """A script of this folder, and its arguments for the published figures and for a quick look."""

    script: str
    says: str
    whole: Sequence[str] = ()
    quick: Sequence[str] = ()


BENCHMARKS = {
    "operator": Benchmark(
        "operator_burst.py",
        "the operator on a real API server: bursts of jobs, and one job each second",
        ("--burst", "500", "1000", "5000", "--steady", "60", "--submitters", "16"),
        ("--burst", "100", "--steady", "10"),
    ),
    "scale": Benchmark(
        "operator_scale.py",
        "the operator beside 50,000 ended jobs: memory, start, idle CPU, the pod of a new job",
        (),
        ("--jobs", "5000", "--running", "100", "--deployments", "20", "--versions", "200", "--steady", "20"),
    ),
    "versions": Benchmark(
        "model_versions.py",
        "model versions in memory: calls of jobs that end together, one decision beside many versions",
        (),
        ("--tries", "10"),
    ),
    "memory": Benchmark(
        "cached_jobs.py",
        "ended jobs in the operator's memory",
        (),
        ("--jobs", "5000"),
    ),
    "server": Benchmark(
        "model_server.py",
        "the model server against the model in one process, at 1, 8 and 32 clients",
        ("--seconds", "4", "--rounds", "3"),
        ("--seconds", "2", "--rounds", "1"),
    ),
    "platform": Benchmark(
        "local_platform.py",
        "the local cluster: submit to RUNNING, checkpoints, a model's NodePort, a rollout under load",
        (),
        ("--quick",),
    ),
}


def machine() -> str:
    """One line about this machine."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(os.sched_getaffinity(0))} cores ({model}), {memory:.0f} GiB, {platform.system()} {platform.release()}"


def main() -> int:
    """Run; the exit code is 1 when one of them failed, the others are run all the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = "; ".join(f"{name}: {benchmark.says}" for name, benchmark in BENCHMARKS.items())
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), metavar="NAME", help=f"one of {names}")
    parser.add_argument("--quick", action="store_true", help="minutes instead of half an hour, noisier")
    options = parser.parse_args()
    print(f"{machine()}; load average {os.getloadavg()[0]:.1f} at the start", flush=True)
    failed = []
    for name in options.only or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        print(f"\n## {name}: {benchmark.says}\n", flush=True)
        begun = time.monotonic()
        arguments = benchmark.quick if options.quick else benchmark.whole
        code = subprocess.run([sys.executable, str(HERE / benchmark.script), *arguments], check=False).returncode
        print(f"\n{name} took {time.monotonic() - begun:.0f} s, exit code {code}", flush=True)
        if code != 0:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
