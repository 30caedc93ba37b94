"""One run: a fresh API server, one operator, one load; read from the audit log and from /proc."""

import asyncio
import json
import shutil
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fovea_dev.apiserver import ApiServer
from support.kube_apiserver import api_server, make_namespace

from burst.kinds import JobKind
from burst.ledger import Ledger
from burst.process import Cost, wait_idle
from burst.stepper import stepper
from burst.submitter import Load, submit


class Contestant(Protocol):
    """An operator that can be measured."""

    @property
    def name(self) -> str:
        """As it is called in the table."""

    @property
    def kind(self) -> JobKind:
        """What it takes care of."""

    def running(self, server: ApiServer, namespace: str) -> AbstractContextManager[int]:
        """Its process id, from when it is ready; `namespace` is its own and that of the jobs."""


@dataclass(frozen=True)
class Run:
    """What came out: the ledger, and the CPU seconds and memory that the run took."""

    contestant: str
    load: Load
    ledger: Ledger
    operator_cpu: float
    api_cpu: float
    memory: Cost


def measure(folder: Path, contestant: Contestant, load: Load) -> Run:
    """Measure one operator under one load; `folder` is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    with api_server(folder) as server:
        namespace = make_namespace(server, "bench").namespace
        api_pid = int((folder / "pids/kube-apiserver.pid").read_text().split()[0])
        with (
            contestant.running(server, namespace) as operator,
            stepper(server.kubeconfig, namespace, contestant.kind),
        ):
            # The API server is busy for some seconds after kinds were installed, the longer the larger they are.
            wait_idle(api_pid)
            before, api_before = Cost.of(operator), Cost.of(api_pid)
            asyncio.run(submit(server.kubeconfig, namespace, contestant.kind, load))
            memory = Cost.of(operator)
            # Events trickle behind a burst: they are part of what a job costs.
            _wait_for_events(server, namespace, load.count)
            after, api_after = Cost.of(operator), Cost.of(api_pid)
    ledger = Ledger(contestant.kind)
    with server.audit_log.open() as lines:
        ledger.read(json.loads(line) for line in lines)
    return Run(contestant.name, load, ledger, after.cpu - before.cpu, api_after.cpu - api_before.cpu, memory)


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
