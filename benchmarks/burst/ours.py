"""Fovea's operator under measure, at its default settings or with some set."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fovea_dev.apiserver import ApiServer
from fovea_dev.ports import free_ports

from burst.kinds import JobKind, TrainingJobs
from burst.process import Command, end, start, wait_ready


@dataclass(frozen=True)
class Ours:
    """`settings`: in capitals, without the prefix FOVEA_OPERATOR_. `profile`: where a cProfile is written."""

    settings: dict[str, str] = field(default_factory=dict)
    profile: Path | None = None
    name: str = "fovea"
    kind: JobKind = field(default_factory=TrainingJobs)

    @contextmanager
    def running(self, server: ApiServer, namespace: str) -> Iterator[int]:
        """The process id of an operator that leads."""
        metrics, report = free_ports(2)
        process = self.start(server, namespace, metrics, report)
        try:
            wait_ready(process, f"http://127.0.0.1:{metrics}/readyz", server.folder / "operator.log")
            yield process.pid
            said = urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=10)
            (server.folder / "operator-metrics.txt").write_bytes(said.read())  # to look at, not for the table
        finally:
            end(process)

    def start(self, server: ApiServer, namespace: str, metrics: int, report: int) -> "subprocess.Popen[bytes]":
        """Start one on these ports; its log is begun again."""
        ports = {"NAMESPACE": namespace, "METRICS_PORT": str(metrics), "REPORT_PORT": str(report)}
        return start(self._command(server, ports), server.folder / "operator.log")

    def _command(self, server: ApiServer, ports: dict[str, str]) -> Command:
        variables = {f"FOVEA_OPERATOR_{name}": value for name, value in {**ports, **self.settings}.items()}
        profiler = ["-m", "cProfile", "-o", str(self.profile)] if self.profile else []
        words = [sys.executable, *profiler, "-m", "fovea_operator.main", "run"]
        return Command(words, {**os.environ, **variables, "KUBECONFIG": str(server.kubeconfig)})
