"""Creates the jobs of a run and waits until the operator says that all have succeeded."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burst.calls import Calls
from burst.kinds import JobKind


@dataclass(frozen=True)
class Load:
    """Jobs to submit: how many, all at once or with seconds between them, and by how many submitters at the same time."""

    count: int
    every: float = 0.0
    submitters: int = 2

    def __str__(self) -> str:
        return f"{self.count} at {1 / self.every:g}/s" if self.every else f"burst {self.count}"

    @property
    def patience_seconds(self) -> float:
        """When to give up: a client that is held to 20 calls/s needs 0.35 s for each job."""
        return 120 + self.count * (self.every + 0.5)


async def submit(kubeconfig: Path, namespace: str, kind: JobKind, load: Load) -> None:
    """Create jobs; wait until all have succeeded."""
    calls = Calls(kubeconfig, "submitter", load.submitters)
    path = f"/apis/{kind.api_version}/namespaces/{namespace}/{kind.plural}"
    since = (await calls.send("GET", path + "?limit=1"))["metadata"]["resourceVersion"]
    creating = asyncio.create_task(_create(calls, path, namespace, kind, load))
    left = {_name(number) for number in range(load.count)}
    async with asyncio.timeout(load.patience_seconds):
        async for event in calls.watch(path, "", since):
            if kind.has_succeeded(event["object"]):
                left.discard(event["object"]["metadata"]["name"])
            if not left:
                break
    await creating
    await calls.close()


async def _create(calls: Calls, path: str, namespace: str, kind: JobKind, load: Load) -> None:
    async def one(number: int) -> None:
        await asyncio.sleep(number * load.every)
        await calls.send("POST", path, _manifest(kind, _name(number), namespace))

    await asyncio.gather(*(one(number) for number in range(load.count)))


def _name(number: int) -> str:
    return f"job-{number:05}"


def _manifest(kind: JobKind, name: str, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": kind.spec(),
    }
