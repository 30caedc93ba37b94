"""Plays the kubelet in a process of its own: a pod is Running 0.2 s after it appears, and Succeeded 2 s later.

python -m burst.stepper KUBECONFIG NAMESPACE trainingjobs|tfjobs
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from burst.calls import MERGE, Calls
from burst.kinds import JOB_KINDS, JobKind
from burst.process import end, python

RUNNING_AFTER, ENDS_AFTER = 0.2, 2.0


@contextmanager
def stepper(kubeconfig: Path, namespace: str, kind: JobKind) -> Iterator[None]:
    """A stepper that watches already."""
    command = python("-m", "burst.stepper", str(kubeconfig), namespace, kind.plural)
    process = subprocess.Popen(command.words, env=command.environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("the stepper ended before it was ready")
        yield
    finally:
        end(process)


async def step_pods(kubeconfig: Path, namespace: str, kind: JobKind) -> None:
    """Step every pod of a kind's jobs in a namespace, for ever."""
    calls = Calls(kubeconfig, "stepper")
    pods = f"/api/v1/namespaces/{namespace}/pods"
    since = (await calls.send("GET", pods + "?limit=1"))["metadata"]["resourceVersion"]
    tasks: set[asyncio.Task[None]] = set()
    print("ready", flush=True)
    async for event in calls.watch(pods, f"labelSelector={kind.pod_selector}", since):
        if event["type"] == "ADDED":
            task = asyncio.create_task(_step(calls, f"{pods}/{event['object']['metadata']['name']}/status", kind))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


async def _step(calls: Calls, path: str, kind: JobKind) -> None:
    await asyncio.sleep(RUNNING_AFTER)
    await calls.send("PATCH", path, {"status": kind.running()}, MERGE)
    await asyncio.sleep(ENDS_AFTER)
    await calls.send("PATCH", path, {"status": kind.succeeded()}, MERGE)


if __name__ == "__main__":
    asyncio.run(step_pods(Path(sys.argv[1]), sys.argv[2], JOB_KINDS[sys.argv[3]]))
