"""How fast the operator takes a burst of jobs, and what it costs: a real API server, pods stepped by a played kubelet.

    python benchmarks/operator_burst.py --burst 500 1000 --steady 60

Each pod is set Running 0.2 s after it appears and Succeeded, with the sidecar's termination message, 2 s later. Every
time is read from the API server's audit log (level Metadata) and CPU and memory from /proc: the operator's own metrics
are not asked.
Needs the built tools of the local cluster (`make tools`) and 2 cores of which nothing else takes much.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("tests", "dev")]
# ruff: noqa: E402 - what stands in tests/ and dev/ is no distribution

from fovea_api.contract import labels
from fovea_api.contract.report import REASON_FETCHED, REASON_PUBLISHED, Published, Termination
from fovea_api.v1alpha1 import API_VERSION
from fovea_dev.apiserver import ApiServer
from fovea_dev.ports import free_ports
from fovea_operator.cluster import credentials
from support.kube_apiserver import api_server, make_namespace
from support.kubelet_player import terminated

RUNNING_AFTER, ENDS_AFTER = 0.2, 2.0
CONCURRENCY = 16
MERGE = "application/merge-patch+json"
TICKS = os.sysconf("SC_CLK_TCK")


class _Overwhelmed(Exception):
    """The server asks to try again."""


class Api:
    """The few calls of submitter and stepper."""

    def __init__(self, kubeconfig: Path, agent: str, at_once: int = CONCURRENCY) -> None:
        found = credentials.from_kubeconfig([kubeconfig])
        self._server = found.server
        connector = aiohttp.TCPConnector(ssl=found.context(), limit=64)
        self._session = aiohttp.ClientSession(
            connector=connector, headers={"User-Agent": agent}, timeout=aiohttp.ClientTimeout(total=None)
        )
        self._slots = asyncio.Semaphore(at_once)

    async def send(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> dict[str, Any]:
        """One call, tried again while the server is overwhelmed; raises on any other answer but success."""
        data = None if body is None else json.dumps(body)
        for pause in (0.1, 0.5, 2.0, 5.0, 10.0):
            try:
                return await self._send(method, path, data, kind)
            except (aiohttp.ClientError, _Overwhelmed) as error:
                print(f"{method} {path}: {error}; again in {pause} s", file=sys.stderr)
            await asyncio.sleep(pause)
        return await self._send(method, path, data, kind)

    async def _send(self, method: str, path: str, data: str | None, kind: str) -> dict[str, Any]:
        async with (
            self._slots,
            self._session.request(method, self._server + path, data=data, headers={"Content-Type": kind}) as answer,
        ):
            if answer.status in (429, 500, 503, 504):
                raise _Overwhelmed(str(answer.status))
            document: dict[str, Any] = await answer.json()
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status}: {document.get('message')}")
            return document

    async def watch(self, path: str, query: str, since: str) -> AsyncIterator[dict[str, Any]]:
        """Events of a watch, begun anew where the server ends it (as it does with a watcher that is slow)."""
        while True:
            url = f"{self._server}{path}?watch=true&resourceVersion={since}&{query}"
            async with self._session.get(url) as answer:
                buffer = b""
                async for chunk in answer.content.iter_any():
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    for line in lines:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise RuntimeError(f"watch {path}: {event['object']}")
                        since = event["object"]["metadata"]["resourceVersion"]
                        yield event

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


# --- the stepper: a process of its own, as the kubelet is ---


async def step_pods(kubeconfig: Path, namespace: str) -> None:
    """Step every training pod of a namespace, for ever."""
    api = Api(kubeconfig, "stepper")
    pods = f"/api/v1/namespaces/{namespace}/pods"
    since = (await api.send("GET", pods + "?limit=1"))["metadata"]["resourceVersion"]
    tasks: set[asyncio.Task[None]] = set()
    print("ready", flush=True)
    async for event in api.watch(pods, f"labelSelector={labels.MANAGED_SELECTOR}", since):
        if event["type"] == "ADDED":
            task = asyncio.create_task(_step(api, f"{pods}/{event['object']['metadata']['name']}/status"))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


async def _step(api: Api, path: str) -> None:
    fetched = terminated(0, Termination(REASON_FETCHED, "everything is in place").to_json())
    running = {"running": {"startedAt": _stamp()}}
    await asyncio.sleep(RUNNING_AFTER)
    await api.send("PATCH", path, {"status": _pod_status("Running", fetched, running, running)}, MERGE)
    await asyncio.sleep(ENDS_AFTER)
    output = Published("s3://fovea/bench/output", "sha256:" + "b" * 64, 1 << 20, 3)
    said = Termination(REASON_PUBLISHED, "output is in the store", output=output).to_json()
    await api.send(
        "PATCH", path, {"status": _pod_status("Succeeded", fetched, terminated(0, said), terminated(0))}, MERGE
    )


def _stamp() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _pod_status(phase: str, fetch: Any, sync: Any, trainer: Any) -> dict[str, Any]:
    def container(name: str, state: Any) -> dict[str, Any]:
        return {"name": name, "state": state, "ready": False, "restartCount": 0, "image": "x", "imageID": ""}

    return {
        "phase": phase,
        "initContainerStatuses": [container("fovea-fetch", fetch), container("fovea-sync", sync)],
        "containerStatuses": [container("trainer", trainer)],
    }


# --- what the audit log says ---


@dataclass
class Ledger:
    """Times (seconds since the epoch) by job, and counts, of one run."""

    submitted: dict[str, float] = field(default_factory=dict)
    pod: dict[str, float] = field(default_factory=dict)
    pod_ended: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    writes: int = 0
    events: int = 0
    reads: int = 0
    failures: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def read(self, records: Iterable[dict[str, Any]]) -> None:
        """Take in finished requests."""
        for record in records:
            at = datetime.fromisoformat(record["stageTimestamp"]).timestamp()
            reference = record.get("objectRef") or {}
            what = f"{record['verb']} {reference.get('resource')}/{reference.get('subresource', '')}"
            name, agent = reference.get("name", ""), record.get("userAgent", "")
            if agent == "fovea-operator" and reference.get("resource") != "leases":
                self._count(record, what)
            if what == "create trainingjobs/":
                self.submitted[name] = at
            elif what == "create pods/":
                self.pod[_job(name)] = at
            elif what == "patch pods/status":
                self.pod_ended[_job(name)] = at
            elif what == "patch trainingjobs/status":
                self.ended[name] = at

    def _count(self, record: dict[str, Any], what: str) -> None:
        code = record["responseStatus"]["code"]
        if code >= 400:
            self.failures[code] += 1
        if record["verb"] in ("get", "list"):
            self.reads += 1
        elif what.startswith("create events"):
            self.events += 1
        elif record["verb"] != "watch":
            self.writes += 1


def _job(pod: str) -> str:
    return pod.rsplit("-", 3)[0]


def percentiles(values: list[float]) -> tuple[float, float]:
    """p50 and p99."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


# --- a run ---


@dataclass(frozen=True)
class Cost:
    """CPU seconds used and memory of a process."""

    cpu: float
    rss: int
    peak: int

    @classmethod
    def of(cls, pid: int) -> "Cost":
        """Read from /proc; memory in MiB."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
        )
        memory = {name: int(status[name].split()[0]) // 1024 for name in ("VmRSS", "VmHWM")}
        return cls((int(fields[11]) + int(fields[12])) / TICKS, memory["VmRSS"], memory["VmHWM"])


def _manifest(name: str, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"trainer": {"container": {"image": "registry.invalid/trainer:1"}}},
    }


async def submit(kubeconfig: Path, namespace: str, count: int, every: float, submitters: int) -> None:
    """Create jobs, all at once or one every so many seconds; wait until all have succeeded."""
    api = Api(kubeconfig, "submitter", submitters)
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/trainingjobs"
    since = (await api.send("GET", path + "?limit=1"))["metadata"]["resourceVersion"]
    creating = asyncio.create_task(_create(api, path, namespace, count, every))
    left = {f"job-{number:05}" for number in range(count)}
    async with asyncio.timeout(90 + count * (every + 0.1)):
        async for event in api.watch(path, "", since):
            if event["object"].get("status", {}).get("state") == "SUCCEEDED":
                left.discard(event["object"]["metadata"]["name"])
            if not left:
                break
    await creating
    await api.close()


async def _create(api: Api, path: str, namespace: str, count: int, every: float) -> None:
    async def one(number: int) -> None:
        await asyncio.sleep(number * every)
        await api.send("POST", path, _manifest(f"job-{number:05}", namespace))

    await asyncio.gather(*(one(number) for number in range(count)))


def run(
    folder: Path, count: int, *, every: float, submitters: int, settings: dict[str, str], profile: Path | None
) -> str:
    """One run on a fresh API server; a row of the table."""
    shutil.rmtree(folder, ignore_errors=True)
    with api_server(folder) as server:
        namespace = make_namespace(server, "bench").namespace
        metrics, report = free_ports(2)
        operator = _start_operator(server, folder, namespace, metrics, report, settings, profile)
        stepper = subprocess.Popen(
            [sys.executable, __file__, "--step", namespace, "--kubeconfig", str(server.kubeconfig)],
            stdout=subprocess.PIPE,
        )
        try:
            assert stepper.stdout is not None
            stepper.stdout.readline()
            _wait_for(metrics)
            api_pid = int((folder / "pids/kube-apiserver.pid").read_text().split()[0])
            before, api_before = Cost.of(operator.pid), Cost.of(api_pid)
            asyncio.run(submit(server.kubeconfig, namespace, count, every, submitters))
            after, api_after = Cost.of(operator.pid), Cost.of(api_pid)
            said = urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=10)
            (folder / "operator-metrics.txt").write_bytes(said.read())  # to look at, not for the table
            _wait_for_events(server, namespace, count)
        finally:
            for process in (operator, stepper):
                process.terminate()
                process.wait(30)
    ledger = Ledger()
    with server.audit_log.open() as lines:
        ledger.read(json.loads(line) for line in lines)
    return _row(ledger, count, every, (before, after), api_after.cpu - api_before.cpu)


def _start_operator(
    server: ApiServer,
    folder: Path,
    namespace: str,
    metrics: int,
    report: int,
    settings: dict[str, str],
    profile: Path | None,
) -> "subprocess.Popen[bytes]":
    ports = {"NAMESPACE": namespace, "METRICS_PORT": str(metrics), "REPORT_PORT": str(report)}
    variables = {f"FOVEA_OPERATOR_{name}": value for name, value in {**ports, **settings}.items()}
    module = ["-m", "fovea_operator.main", "run"]
    command = [sys.executable, *(["-m", "cProfile", "-o", str(profile)] if profile else []), *module]
    log = (folder / "operator.log").open("wb")
    environment = {**os.environ, **variables, "KUBECONFIG": str(server.kubeconfig)}
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def _wait_for(port: int) -> None:
    from support.operator_process import OperatorProcess  # its probe

    probe = OperatorProcess.__new__(OperatorProcess)
    probe.metrics_port = port
    deadline = time.monotonic() + 60
    while not probe.is_ready():
        if time.monotonic() > deadline:
            raise RuntimeError("the operator is not ready after 60 s")
        time.sleep(0.1)


def _wait_for_events(server: ApiServer, namespace: str, count: int) -> None:
    """Events trickle behind a burst on purpose: wait for them, so that they are counted."""
    path = f"/api/v1/namespaces/{namespace}/events?limit=1"
    deadline = time.monotonic() + 30 + count / 15
    seen, still = -1, 0
    while time.monotonic() < deadline and still < 3:
        answer = server.client.get(path)
        found = len(answer["items"]) + int(answer["metadata"].get("remainingItemCount") or 0)
        still = still + 1 if found == seen else 0
        seen = found
        time.sleep(1)


def _row(ledger: Ledger, count: int, every: float, cost: tuple[Cost, Cost], api_cpu: float) -> str:
    before, after = cost
    pods = percentiles([ledger.pod[name] - at for name, at in ledger.submitted.items()])
    ends = percentiles([max(0.0, ledger.ended[name] - ledger.pod_ended[name]) for name in ledger.submitted])
    drain = max(ledger.ended.values()) - min(ledger.submitted.values())
    submitting = max(ledger.submitted.values()) - min(ledger.submitted.values())
    failures = ", ".join(f"{number}×{code}" for code, number in ledger.failures.items()) or "none"
    return (
        "| "
        + " | ".join(
            [
                f"{count} at {1 / every:g}/s" if every else f"burst {count}",
                f"{pods[0]:.3f}/{pods[1]:.3f}",
                f"{ends[0]:.3f}/{ends[1]:.3f}",
                f"{drain:.1f} ({submitting:.1f})",
                f"{ledger.writes / count:.2f}",
                f"{(ledger.writes + ledger.events) / count:.2f}",
                f"{(after.cpu - before.cpu) * 1000 / count:.1f}",
                f"{api_cpu * 1000 / count:.1f}",
                f"{after.rss}/{after.peak}",
                failures,
            ]
        )
        + " |"
    )


HEADER = (
    "| run | pod after submit p50/p99 s | job end after pod's end p50/p99 s | drain (submitting) s | writes per job "
    "| with events | operator CPU ms/job | API server CPU ms/job | RSS/peak MiB | refused calls |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--burst", type=int, nargs="*", default=[], help="sizes of bursts, e.g. 500 1000 5000")
    parser.add_argument("--steady", type=int, default=0, help="seconds of one job per second")
    parser.add_argument("--folder", type=Path, help="where keys, data and logs go (default: /dev/shm if there is one)")
    parser.add_argument("--set", action="append", default=[], help="setting of the operator, e.g. --set WORKERS=32")
    parser.add_argument("--profile", type=Path, help="write a cProfile of the operator")
    parser.add_argument(
        "--submitters", type=int, default=2, help="jobs created at the same time; kubectl create -f is 1 (default: 2)"
    )
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--kubeconfig", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    # SIGTERM (as `timeout` sends it) ends what was started, as an interrupt does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.step:
        asyncio.run(step_pods(options.kubeconfig, options.step))
        return
    shared_memory = Path("/dev/shm")
    root = options.folder or Path(tempfile.mkdtemp(dir=shared_memory if shared_memory.is_dir() else None))
    settings = dict(item.split("=", 1) for item in options.set)
    print(HEADER, flush=True)
    for count, every in [(count, 0.0) for count in options.burst] + ([(options.steady, 1.0)] if options.steady else []):
        row = run(
            root / "plane",
            count,
            every=every,
            submitters=options.submitters,
            settings=settings,
            profile=options.profile,
        )
        load = os.getloadavg()[0]
        print(f"{row} <!-- load average {load:.1f} -->", flush=True)
    if options.folder is None:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
