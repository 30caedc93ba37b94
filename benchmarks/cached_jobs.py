"""What an ended job costs in the operator's memory, and to look at again.

    python benchmarks/cached_jobs.py --jobs 20000

No API server: jobs that have published a model are taken into the cache as a list brings them. "whole" is a store that
keeps every record, which operators did before ADR 140.
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]
# ruff: noqa: E402 - what stands in tests/ is no distribution

from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.cluster import records, resources
from fovea_operator.cluster.cache import Store
from fovea_operator.reconcile.training.view import is_settled
from support.ended_jobs import ended_job


def resident() -> int:
    """Bytes of memory that this process holds now."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def measured(jobs: int, *, packing: bool) -> str:
    """A row of the table."""
    store: Store[TrainingJob] = (
        Store(resources.TRAINING_JOB, records.job, is_settled)
        if packing
        else Store(resources.TRAINING_JOB, records.job)
    )
    before, begun = resident(), time.perf_counter()
    for number in range(jobs):
        name = f"job-{number}"
        # As it comes from the wire: with every string and number made for this one.
        store.put(
            json.loads(json.dumps(ended_job(name, uid=f"00000000-0000-4000-8000-{number:012}", version=number + 1)))
        )
    put = (time.perf_counter() - begun) / jobs
    grown = (resident() - before) / jobs
    begun = time.perf_counter()
    for number in range(min(jobs, 2000)):
        if store.get("team", f"job-{number}") is None:
            raise SystemExit("a job is missing: the benchmark is wrong")
    get = (time.perf_counter() - begun) / min(jobs, 2000)
    kept = "packed" if packing else "whole"
    return f"| {kept} | {jobs:,} | {grown / 1024:.1f} | {put * 1e6:.0f} | {get * 1e6:.0f} |"


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=20_000, help="how many (default: 20000)")
    parser.add_argument("--kept", choices=["packed", "whole"], help="only these, in a process of its own")
    options = parser.parse_args()
    print("| kept | jobs | KiB a job (resident) | µs to take in | µs to look at |\n|---|---|---|---|---|")
    for kept in [options.kept] if options.kept else ["packed", "whole"]:
        print(measured(options.jobs, packing=kept == "packed"), flush=True)


if __name__ == "__main__":
    main()
