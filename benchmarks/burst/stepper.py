"""Plays the kubelet in a process of its own: a pod is Running 0.2 s after it appears, and ends 2 s later.

python -m burst.stepper KUBECONFIG NAMESPACE trainingjobs|tfjobs [--distributed] [--killed PERCENT] [--wrong PERCENT]
"""

import argparse
import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from burst.calls import MERGE, Calls, Gone
from burst.kinds import JobKind, kind_of
from burst.outcomes import Outcomes
from burst.process import end, python

RUNNING_AFTER, ENDS_AFTER = 0.2, 2.0
ALL_WELL = Outcomes()


@contextmanager
def stepper(kubeconfig: Path, namespace: str, kind: JobKind, outcomes: Outcomes = ALL_WELL) -> Iterator[None]:
    """A stepper that watches already."""
    flags = ["--distributed"] if kind.distributed else []
    flags += [f"--killed={outcomes.killed}", f"--wrong={outcomes.wrong}"]
    command = python("-m", "burst.stepper", str(kubeconfig), namespace, kind.plural, *flags)
    process = subprocess.Popen(command.words, env=command.environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("the stepper ended before it was ready")
        yield
    finally:
        end(process)


async def step_pods(kubeconfig: Path, namespace: str, kind: JobKind, outcomes: Outcomes) -> None:
    """Step every pod of a kind's jobs in a namespace, for ever."""
    calls = Calls(kubeconfig, "stepper")
    pods = f"/api/v1/namespaces/{namespace}/pods"
    since = (await calls.send("GET", pods + "?limit=1"))["metadata"]["resourceVersion"]
    tasks: set[asyncio.Task[None]] = set()
    print("ready", flush=True)
    async for event in calls.watch(pods, f"labelSelector={kind.pod_selector}", since):
        if event["type"] == "ADDED":
            name = event["object"]["metadata"]["name"]
            code = outcomes.code(name)
            ended = None if code is None else kind.ended(name, code)
            task = asyncio.create_task(_step(calls, f"{pods}/{name}/status", kind.running(), ended))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


async def _step(calls: Calls, path: str, running: dict[str, Any], ended: dict[str, Any] | None) -> None:
    with suppress(Gone):  # the operator has deleted it
        await asyncio.sleep(RUNNING_AFTER)
        await calls.send("PATCH", path, {"status": running}, MERGE)
        if ended is None:
            return
        await asyncio.sleep(ENDS_AFTER)
        await calls.send("PATCH", path, {"status": ended}, MERGE)


def main() -> None:
    """Parse and step."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kubeconfig", type=Path)
    parser.add_argument("namespace")
    parser.add_argument("plural")
    parser.add_argument("--distributed", action="store_true")
    parser.add_argument("--killed", type=int, default=0)
    parser.add_argument("--wrong", type=int, default=0)
    given = parser.parse_args()
    kind, outcomes = kind_of(given.plural, distributed=given.distributed), Outcomes(given.killed, given.wrong)
    asyncio.run(step_pods(given.kubeconfig, given.namespace, kind, outcomes))


if __name__ == "__main__":
    main()
