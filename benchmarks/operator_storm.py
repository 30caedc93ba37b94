"""What the operator makes of a bad day: jobs of four pods, some of which fail, while the operator itself is killed.

    python benchmarks/operator_storm.py --jobs 200 --killed 5 --wrong 2 --kills 3
    python benchmarks/operator_storm.py --wave 500

--jobs: that number of jobs (a chief, two workers, a parameter server) at once, on an API server of their own, with pods
stepped by a played kubelet. --killed percent of the pods end with 137, which is tried again, --wrong percent with 1,
which is not; the same ones each time. Every tenth job goes on until its maxRunningSeconds. The operator gets SIGKILL
--kills times, at moments drawn by --seed, and is started again under its name, as a kubelet starts a container again in
its pod: it leads at once. With --elsewhere it gets another name, as on another node: it waits until the Lease of the dead
one is free. The end is judged by the objects and by the API
server's audit log (benchmarks/burst/verdict.py); the exit code is 1 when anything is wrong.

--wave: that number of running jobs of one pod are suspended at once, resumed at once, and cancelled at once.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("tests", "dev")]
# ruff: noqa: E402 - what stands in tests/ and dev/ is no distribution

from burst.calls import MERGE, Calls
from burst.kinds import IMAGE, TrainingJobs
from burst.ours import Ours
from burst.outcomes import ENDLESS, Outcomes
from burst.process import end, wait_ready
from burst.stepper import stepper
from burst.verdict import ENDED, judge
from fovea_dev.apiserver import ApiServer
from fovea_dev.ports import free_ports
from support.kube_apiserver import api_server, make_namespace

PATIENCE_SECONDS = 900
MAX_RUNNING_SECONDS = 6
LATE_SECONDS = 2.0


@dataclass
class Weather:
    """An API server, an operator that can be killed, and calls."""

    server: ApiServer
    namespace: str
    calls: Calls
    operator: Any
    start: Callable[[], Any]

    def kill(self) -> None:
        """SIGKILL to the operator; the next one starts at once."""
        self.operator.kill()
        self.operator.wait()
        self.operator = self.start()

    def path(self, plural: str) -> str:
        """Of a kind's objects."""
        prefix = "/api/v1" if plural == "pods" else "/apis/fovea.dev/v1alpha1"
        return f"{prefix}/namespaces/{self.namespace}/{plural}"

    async def list(self, plural: str) -> list[dict[str, Any]]:
        """All of a kind."""
        items: list[dict[str, Any]] = (await self.calls.send("GET", self.path(plural)))["items"]
        return items

    async def submit(self, name: str, spec: dict[str, Any]) -> None:
        """Create a job."""
        metadata = {"name": name, "namespace": self.namespace}
        document = {"apiVersion": "fovea.dev/v1alpha1", "kind": "TrainingJob", "metadata": metadata, "spec": spec}
        await self.calls.send("POST", self.path("trainingjobs"), document)

    async def until(self, met: Callable[[dict[str, Any]], bool], what: str) -> float:
        """Wait until it holds for all jobs; returns the seconds."""
        began = time.monotonic()
        while left := [job["metadata"]["name"] for job in await self.list("trainingjobs") if not met(job)]:
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise SystemExit(f"{len(left)} jobs are not {what} after {PATIENCE_SECONDS} s, such as {left[0]}")
            await asyncio.sleep(0.5)
        return time.monotonic() - began


@contextmanager
def weather(root: Path, kind: TrainingJobs, outcomes: Outcomes, *, elsewhere: bool = False) -> Iterator[Weather]:
    """All programs that a run needs. `elsewhere`: each operator has a name of its own."""
    with api_server(root / "plane") as server:
        namespace = make_namespace(server, "bench").namespace
        metrics, report = free_ports(2)
        ours = Ours(kind=kind, settings={} if elsewhere else {"IDENTITY": "fovea-operator"})

        def start() -> Any:
            return ours.start(server, namespace, metrics, report)

        found = Weather(server, namespace, Calls(server.kubeconfig, "submitter"), start(), start)
        try:
            wait_ready(found.operator, f"http://127.0.0.1:{metrics}/readyz", server.folder / "operator.log")
            with stepper(server.kubeconfig, namespace, kind, outcomes):
                yield found
        finally:
            end(found.operator)


async def storm(found: Weather, jobs: int, kills: int, seed: int) -> None:
    """Submit all, kill the operator now and then, and wait for the end of all jobs."""
    shape = TrainingJobs(distributed=True).spec()
    # The longest attempt that goes well takes 2.2 s, the wait for a Lease 15 s: kills fall into the work.
    moments = sorted(random.Random(seed).uniform(1, 20 * kills) for _ in range(kills))

    async def killing() -> None:
        began = time.monotonic()
        for moment in moments:
            await asyncio.sleep(max(0.0, began + moment - time.monotonic()))
            found.kill()

    kill = asyncio.create_task(killing())
    policy = {"backoffLimit": 3, "cleanPodPolicy": "Running"}
    endless = {**shape, "runPolicy": {**policy, "maxRunningSeconds": MAX_RUNNING_SECONDS}}
    await asyncio.gather(
        *(
            found.submit(f"{ENDLESS}{number:05}", endless)
            if number % 10 == 9
            else found.submit(f"job-{number:05}", {**shape, "runPolicy": policy})
            for number in range(jobs)
        )
    )
    await kill
    seconds = await found.until(lambda job: (job.get("status") or {}).get("state") in ENDED, "ended")
    print(f"all {jobs} jobs ended {seconds:.0f} s after the last kill", flush=True)


async def judged(found: Weather, outcomes: Outcomes, kills: int) -> bool:
    """Print what the storm has left; whether that is well."""
    with found.server.audit_log.open() as lines:
        records = [json.loads(line) for line in lines]
    created = [
        record["objectRef"]["name"]
        for record in records
        if record["verb"] == "create"
        and (record.get("objectRef") or {}).get("resource") == "pods"
        and not record["objectRef"].get("subresource")
        and record["responseStatus"]["code"] == 201
    ]
    verdict = judge(await found.list("trainingjobs"), await found.list("pods"), created, outcomes)
    late = verdict.late_seconds
    print(f"states: {dict(verdict.states)}; retries: {verdict.retries}; pods made: {len(created)}; kills: {kills}")
    print(
        f"deadlines: {len(late)}; latest {max(late, default=0):.0f} s, {sum(one > LATE_SECONDS for one in late)} missed"
    )
    for sort, names in verdict.faults.items():
        print(f"WRONG: {sort}: {len(names)}, such as {', '.join(names[:5])}")
    return not verdict.faults


async def wave(found: Weather, jobs: int) -> None:
    """Suspend, resume and cancel all at once."""
    spec = {"trainer": {"container": {"image": IMAGE}}}
    names = [f"{ENDLESS}{number:05}" for number in range(jobs)]

    async def change(**fields: Any) -> None:
        path = found.path("trainingjobs")
        await asyncio.gather(*(found.calls.send("PATCH", f"{path}/{name}", {"spec": fields}, MERGE) for name in names))

    def suspended(job: dict[str, Any]) -> bool:
        conditions = (job.get("status") or {}).get("conditions") or []
        return any(one["type"] == "Suspended" and one["status"] == "True" for one in conditions)

    def state(wanted: str) -> Callable[[dict[str, Any]], bool]:
        return lambda job: (job.get("status") or {}).get("state") == wanted

    await asyncio.gather(*(found.submit(name, spec) for name in names))
    await found.until(state("RUNNING"), "running")
    for what, fields, met in (
        ("suspended", {"suspend": True}, suspended),
        ("resumed", {"suspend": False}, state("RUNNING")),
        ("cancelled", {"cancel": True}, state("CANCELLED")),
    ):
        began = time.monotonic()
        await change(**fields)
        asked = time.monotonic() - began
        await found.until(met, what)
        print(f"{jobs} jobs {what}: {time.monotonic() - began:.1f} s, of which {asked:.1f} s asking", flush=True)


async def run(options: argparse.Namespace, root: Path) -> bool:
    """One storm or one wave."""
    if options.wave:
        with weather(root, TrainingJobs(), Outcomes()) as found:
            await wave(found, options.wave)
            await found.calls.close()
        return True
    outcomes = Outcomes(options.killed, options.wrong)
    with weather(root, TrainingJobs(distributed=True), outcomes, elsewhere=options.elsewhere) as found:
        await storm(found, options.jobs, options.kills, options.seed)
        well = await judged(found, outcomes, options.kills)
        await found.calls.close()
    print(f"load average {os.getloadavg()[0]:.1f}; {'all is well' if well else 'not well'}")
    return well


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=200, help="jobs of four pods (default: 200)")
    parser.add_argument("--killed", type=int, default=5, help="percent of pods that end with 137 (default: 5)")
    parser.add_argument("--wrong", type=int, default=2, help="percent of pods that end with 1 (default: 2)")
    parser.add_argument("--kills", type=int, default=3, help="how often the operator is killed (default: 3)")
    parser.add_argument(
        "--elsewhere", action="store_true", help="the next operator waits for the Lease of the dead one"
    )
    parser.add_argument("--seed", type=int, default=1, help="draws the moments of the kills (default: 1)")
    parser.add_argument("--wave", type=int, default=0, help="suspend and resume that number of jobs instead")
    options = parser.parse_args()
    shared_memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(dir=shared_memory if shared_memory.is_dir() else None))
    try:
        well = asyncio.run(run(options, root))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
