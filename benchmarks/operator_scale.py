"""What tens of thousands of objects cost the operator: memory, its start, its idle CPU, and the pod of a new job.

    python benchmarks/operator_scale.py --jobs 50000 --running 1000 --deployments 500 --versions 10000

A real API server and etcd are filled first, without an operator: ended jobs with their whole status, jobs that shall
run, models with versions and ModelDeployments. Then the operator starts. The first pod that it makes is its first
decision. When all is calm, CPU and memory are read from /proc, and jobs are created one a second: a pod's time is from
the request that creates the job to the watch event of its pod, both in this process.

Ended jobs but the first are written to etcd, as the API server has written that one. Nothing else should run beside it.
"""

import argparse
import asyncio
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("tests", "dev")]
# ruff: noqa: E402 - what stands in tests/ and dev/ is no distribution

from burst.calls import MERGE, Calls
from burst.kinds import TrainingJobs
from burst.ours import Ours
from burst.process import Cost, wait_idle
from burst.stored import Stored
from fovea_api.v1alpha1 import API_VERSION, GROUP
from fovea_dev.apiserver import ApiServer
from support.ended_jobs import ended_job, status
from support.kube_apiserver import api_server, make_namespace

KIND = TrainingJobs()
DIGEST = "sha256:" + "0" * 64


class Filling:
    """Makes the objects of a run in one namespace."""

    def __init__(self, server: ApiServer, calls: Calls, namespace: str) -> None:
        self.server = server
        self.calls = calls
        self.namespace = namespace
        self.pods = f"/api/v1/namespaces/{namespace}/pods"

    def path(self, plural: str) -> str:
        """Path of a collection of ours."""
        return f"/apis/{API_VERSION}/namespaces/{self.namespace}/{plural}"

    async def ended(self, count: int) -> None:
        """Jobs that have published a model: the first by the API server, the others as it has written that one."""
        name = _ended(0)
        made = await self.create("TrainingJob", "trainingjobs", name, ended_job(name)["spec"])
        uid = made["metadata"]["uid"]
        said = {"status": status(name, self.namespace, uid)}
        await self.calls.send("PATCH", f"{self.path('trainingjobs')}/{name}/status", said, MERGE)
        key = f"/registry/{GROUP}/trainingjobs/{self.namespace}/{name}"
        async with Stored(self.server) as stored:
            await stored.copy(key, [{name: _ended(number), uid: str(uuid.uuid4())} for number in range(1, count)])
        # What is written past the API server reaches its watch cache later: lists are refused until then.
        last = f"{self.path('trainingjobs')}?resourceVersion=0&fieldSelector=metadata.name={_ended(count - 1)}"
        while not (await self.calls.send("GET", last))["items"]:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(1)

    async def job(self, name: str) -> None:
        """A job of a container, with nothing done for it yet."""
        await self.create("TrainingJob", "trainingjobs", name, KIND.spec())

    async def version(self, number: int, models: int) -> None:
        """A version of one of the models."""
        model, version = f"model-{number % models}", number // models + 1
        spec = {"model": model, "version": version, "uri": f"s3://fovea/{model}/{version}", "digest": DIGEST}
        await self.create("ModelVersion", "modelversions", f"{model}-v{version}", spec)

    async def deployment(self, number: int) -> None:
        """A ModelDeployment of one of the models."""
        await self.create("ModelDeployment", "modeldeployments", f"model-{number}", {"model": f"model-{number}"})

    async def create(self, kind: str, plural: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Create an object of ours."""
        metadata = {"name": name, "namespace": self.namespace}
        document = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
        return await self.calls.send("POST", self.path(plural), document)


def _ended(number: int) -> str:
    return f"ended-{number:05}"


async def at_once(works: Iterable[Callable[[], Any]], lanes: int = 16) -> None:
    """Do all of it, so many at the same time."""
    waiting = iter(works)

    async def lane() -> None:
        for work in waiting:
            await work()

    await asyncio.gather(*(lane() for _ in range(lanes)))


async def fill(filling: Filling, options: argparse.Namespace) -> None:
    """Everything that is there before the operator starts."""
    models = max(1, options.deployments)
    await filling.ended(options.jobs)
    await at_once((lambda n=n: filling.version(n, models)) for n in range(options.versions))
    await at_once((lambda n=n: filling.deployment(n)) for n in range(options.deployments))
    await at_once((lambda n=n: filling.job(f"running-{n:05}")) for n in range(options.running))


class Pods:
    """When each job's pod was seen first, in seconds of this process' clock; each pod is set Running."""

    def __init__(self, filling: Filling) -> None:
        self._filling = filling
        self._tasks: set[asyncio.Task[Any]] = set()
        self.seen: dict[str, float] = {}

    async def watch(self, since: str) -> None:
        """Until it is cancelled."""
        async for event in self._filling.calls.watch(self._filling.pods, f"labelSelector={KIND.pod_selector}", since):
            if event["type"] != "ADDED":
                continue
            name = event["object"]["metadata"]["name"]
            self.seen[KIND.job_of(name)] = time.monotonic()
            running = self._filling.calls.send(
                "PATCH", f"{self._filling.pods}/{name}/status", {"status": KIND.running()}, MERGE
            )
            task = asyncio.create_task(running)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def wait_for(self, count: int, seconds: float) -> None:
        """Wait until so many jobs have a pod."""
        deadline = time.monotonic() + seconds
        while len(self.seen) < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"{len(self.seen)} of {count} jobs have a pod after {seconds:.0f} s")
            await asyncio.sleep(0.05)


async def measure(filling: Filling, ours: Ours, server: ApiServer, options: argparse.Namespace) -> None:
    """Start an operator, and say what it costs."""
    since = (await filling.calls.send("GET", filling.pods + "?limit=1"))["metadata"]["resourceVersion"]
    pods = Pods(filling)
    watching = asyncio.create_task(pods.watch(since))
    begun = time.monotonic()
    running = ours.running(server, filling.namespace)
    pid = await asyncio.to_thread(running.__enter__)
    try:
        ready = time.monotonic() - begun
        await pods.wait_for(options.running, 600)
        first = min(pods.seen.values(), default=begun) - begun
        all_there = max(pods.seen.values(), default=begun) - begun
        for _ in range(2):  # the comparison comes 10 s after the watch is calm
            await asyncio.to_thread(wait_idle, pid, share=0.05, seconds=240)
            await asyncio.sleep(20)
        calm, before = time.monotonic() - begun, Cost.of(pid)
        say(f"start to ready {ready:.1f} s, to the first pod {first:.1f} s, to all of them {all_there:.1f} s")
        say(f"calm after {calm:.0f} s: RSS {before.rss} MiB (peak {before.peak}), CPU until then {before.cpu:.1f} s")
        await asyncio.sleep(options.idle)
        after = Cost.of(pid)
        say(f"idle for {options.idle} s: {100 * (after.cpu - before.cpu) / options.idle:.2f} % of a core")
        await steady(filling, pods, options.steady)
        say(f"after that: RSS {Cost.of(pid).rss} MiB (peak {Cost.of(pid).peak})")
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await asyncio.to_thread(running.__exit__, None, None, None)


async def steady(filling: Filling, pods: Pods, count: int) -> None:
    """One job each second; say how long its pod took."""
    if count < 2:
        return
    sent: dict[str, float] = {}
    for number in range(count):
        name = f"new-{number:05}"
        sent[name] = time.monotonic()
        await filling.job(name)
        await asyncio.sleep(max(0.0, sent[name] + 1 - time.monotonic()))
    await pods.wait_for(len(pods.seen.keys() | sent.keys()), 60)
    times = sorted(1000 * (pods.seen[name] - at) for name, at in sent.items())
    tail = statistics.quantiles(times, n=100, method="inclusive")[98]
    say(f"{count} new jobs at 1/s: pod p50 {statistics.median(times):.0f} ms, p99 {tail:.0f} ms")


def say(line: str) -> None:
    """A line of the result, with the load that it was measured at."""
    print(f"- {line} (load average {os.getloadavg()[0]:.1f})", flush=True)


async def run(folder: Path, options: argparse.Namespace) -> None:
    """One run in an empty folder."""
    with api_server(folder, audit=False) as server:
        namespace = make_namespace(server, "scale").namespace
        calls = Calls(server.kubeconfig, "scale")
        filling = Filling(server, calls, namespace)
        begun = time.monotonic()
        await fill(filling, options)
        say(
            f"{options.jobs:,} ended jobs, {options.running:,} to run, {options.deployments:,} ModelDeployments, "
            f"{options.versions:,} ModelVersions, made in {time.monotonic() - begun:.0f} s"
        )
        try:
            await measure(filling, Ours(dict(item.split("=", 1) for item in options.set)), server, options)
        finally:
            await calls.close()


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=50_000, help="ended jobs (default: 50000)")
    parser.add_argument("--running", type=int, default=1000, help="jobs that run (default: 1000)")
    parser.add_argument("--deployments", type=int, default=500, help="ModelDeployments, each of a model (default: 500)")
    parser.add_argument("--versions", type=int, default=10_000, help="ModelVersions of these (default: 10000)")
    parser.add_argument("--idle", type=int, default=60, help="seconds of idling that are measured (default: 60)")
    parser.add_argument("--steady", type=int, default=60, help="new jobs, one a second (default: 60)")
    parser.add_argument("--set", action="append", default=[], help="setting of the operator, e.g. --set WORKERS=32")
    parser.add_argument("--folder", type=Path, help="where keys, data and logs go (default: /dev/shm if there is one)")
    options = parser.parse_args()
    # SIGTERM (as `timeout` sends it) ends what was started, as an interrupt does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shared_memory = Path("/dev/shm")
    root = options.folder or Path(tempfile.mkdtemp(dir=shared_memory if shared_memory.is_dir() else None))
    try:
        asyncio.run(run(root.absolute() / "plane", options))
    finally:
        if options.folder is None:
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
