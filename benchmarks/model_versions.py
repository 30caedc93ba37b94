"""What numbers of model versions cost: calls of jobs that end together, and one decision beside many versions.

    python benchmarks/model_versions.py

No API server and no network: jobs of one model whose programs have ended, sixteen workers, and a server in memory
whose requests and answers are on their way for a few turns of the event loop. The decision is that of a job that
registers its version; all of it is timed, the gathering of what it sees too.
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]
# ruff: noqa: E402 - what stands in tests/ is no distribution

from fovea_operator.settings import Settings
from support.memory_api import Server
from support.registering import NAMESPACE, Parts, SlowServer, ended_pod, model_version, training_job

_TURNS = 8
"""A request or an answer is on its way for at most this many turns."""


def calls_per_job(jobs: int, seed: int) -> float:
    """Calls of the API server for each of the jobs that end together."""
    rng = random.Random(seed)

    async def pause() -> None:
        for _ in range(rng.randint(1, _TURNS)):
            await asyncio.sleep(0)

    async def run() -> float:
        server = SlowServer(pause)
        parts = Parts(server)
        for number in range(jobs):
            name = f"job-{number}"
            parts.know([server.put(training_job(name)), server.put(ended_pod(name))])
        await parts.settle()
        registered = [raw for (gvk, _), raw in server.objects.items() if gvk.kind == "ModelVersion"]
        if len(registered) != jobs:
            raise SystemExit(f"{len(registered)} versions of {jobs} jobs: the benchmark is wrong")
        return len(server.calls) / jobs

    return asyncio.run(run())


async def decision_seconds(versions: int, tries: int) -> float:
    """Median time of one decision to register, beside that many versions of the model and the jobs that made them."""
    server = Server()
    parts = Parts(server)
    for number in range(1, versions + 1):
        status = {"state": "SUCCEEDED", "modelVersion": f"digits-v{number}"}
        made = [training_job(f"past-{number}", status), model_version(number, job_uid=f"past-{number}-uid")]
        parts.know(server.put(raw) for raw in made)
    parts.know([server.put(training_job("new")), server.put(ended_pod("new"))])
    key, now, settings = parts.jobs.key(NAMESPACE, "new"), datetime.now(UTC), Settings()
    times = []
    for _ in range(tries):
        begun = time.perf_counter()
        decision = parts.jobs.decide(key, now, settings, "")
        times.append(time.perf_counter() - begun)
        if not decision.children:
            raise SystemExit("the decision registers nothing: the benchmark is wrong")
    return statistics.median(times)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--jobs", type=int, nargs="*", default=[10, 200], help="how many end together (default: 10 200)"
    )
    parser.add_argument("--versions", type=int, nargs="*", default=[10, 10_000], help="beside a decision (10 10000)")
    parser.add_argument("--tries", type=int, default=50, help="decisions that are timed (default: 50)")
    parser.add_argument("--seed", type=int, default=1, help="of the order in which answers come")
    options = parser.parse_args()
    print("| jobs that end together | calls per job |\n|---|---|")
    for jobs in options.jobs:
        print(f"| {jobs} | {calls_per_job(jobs, options.seed):.1f} |", flush=True)
    print("\n| versions of the model | ms per decision |\n|---|---|")
    for versions in options.versions:
        print(f"| {versions:,} | {asyncio.run(decision_seconds(versions, options.tries)) * 1000:.2f} |", flush=True)


if __name__ == "__main__":
    main()
