"""A rollout under load: how many requests fail while one version takes over from another."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from fovea_api.contract import labels
from support import local_models
from support.local_jobs import machine_type

from local.cluster import NAMESPACE, Local, wait

DRAIN_SECONDS = 45
LONGEST_SECONDS = 900.0
"""The load ends by itself after this: longer than all phases may take."""


@dataclass(frozen=True)
class Phase:
    """What the clients saw until some moment."""

    what: str
    seconds: float
    requests: int
    failed: int


def rollout(local: Local, *, quick: bool) -> None:
    """Version 2 takes over from 1 and 1 drains; then 2 is rejected and 1 comes back. Plain clients without retries."""
    name, machine = f"{local.word}-rollout", machine_type(f"{local.word}-rollout", memory="1Gi")
    wanted = {"drainSeconds": DRAIN_SECONDS}
    deployment = local_models.model_deployment(name, name, name, rollout=wanted)
    phases: list[Phase] = []
    with tempfile.TemporaryDirectory() as folder, local.made(machine, deployment):
        first, second = (local_models.save(Path(folder) / bias, bias=float(bias)) for bias in ("1", "2"))
        versions = [local_models.register(local, name, first)]
        local_models.serves(local, name, 1)
        where = local_models.address(local, name)
        with local_models.Load(name, where, pause_seconds=0.0, longest_seconds=LONGEST_SECONDS) as load:
            begun = time.monotonic()

            def phase(what: str) -> None:
                phases.append(Phase(what, time.monotonic() - begun, sum(load.answers.values()), len(load.failures)))

            time.sleep(5)
            phase("version 1 alone")
            versions.append(local_models.register(local, name, second))
            local_models.serves(local, name, 2)
            phase("version 2 starts and takes over")
            old = f"{labels.MODEL_DEPLOYMENT}={name},{labels.VERSION}=1"
            wait(lambda: not local.list("pods", selector=old), DRAIN_SECONDS + 150, "version 1 is gone", 1)
            phase("version 1 drains and goes")
            if not quick:
                local.fovea("versions", "reject", versions[1], "-n", NAMESPACE)
                local_models.serves(local, name, 1)
                phase("version 2 is rejected, version 1 takes over")
        local.kubectl("delete", "modelversion", *versions, "-n", NAMESPACE)
    print("\n### Rollout under load (8 connections, no pause, no retry policy)\n")
    print("| until | s | requests | failed |\n|---|---|---|---|")
    for one in phases:
        print(f"| {one.what} | {one.seconds:.0f} | {one.requests} | {one.failed} |")
    print(f"\nslowest answer {load.slowest_seconds:.2f} s; failures: {sorted(set(load.failures)) or 'none'}")
    _check(phases)


def _check(phases: list[Phase]) -> None:
    """A phase without a request would prove nothing, and a failed request is what must not be."""
    before = 0
    for one in phases:
        if one.requests <= before:
            raise SystemExit(
                f"no request was answered until {one.what!r}: the load had stopped, the figures say nothing"
            )
        before = one.requests
    if phases[-1].failed:
        raise SystemExit(f"{phases[-1].failed} requests failed; the aim is none")
