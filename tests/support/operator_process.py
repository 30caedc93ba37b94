"""The operator as a process that can be killed: started against a test's API server, settings by environment."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from fovea_dev.apiserver import ApiServer
from fovea_dev.ports import free_ports
from support.polling import until

FAST = {
    "LEASE_SECONDS": "9",
    "LEASE_RENEW_SECONDS": "1",
    "BACKOFF_BASE_SECONDS": "0.3",
    "BACKOFF_MAX_SECONDS": "1",
    "RETRY_BASE_SECONDS": "0.2",
    "RETRY_MAX_SECONDS": "1",
    "RELIST_SECONDS": "2",
    "PROGRESS_SECONDS": "0.5",
    "LOG_FORMAT": "text",
    "METRICS_PORT": "0",
    "REPORT_PORT": "0",
}


class OperatorProcess:
    """One operator; its log is in `log`."""

    def __init__(
        self, server: ApiServer, folder: Path, *, namespace: str, watch: tuple[str, ...] = (), **settings: str
    ) -> None:
        """`namespace` holds the Lease; `watch`: namespaces that are reconciled (none: all); `settings` in capitals."""
        self._server = server
        self.log = folder / f"operator-{len(list(folder.glob('operator-*.log')))}.log"
        self.metrics_port, self.report_port = free_ports(2)
        self.environment = {
            **FAST,
            "NAMESPACE": namespace,
            "WATCH_NAMESPACES": ",".join(watch),
            "METRICS_PORT": str(self.metrics_port),
            "REPORT_PORT": str(self.report_port),
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "OperatorProcess":
        """Start; does not wait."""
        variables = {f"FOVEA_OPERATOR_{name}": value for name, value in self.environment.items()}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fovea_operator.main", "run"],
                env={**os.environ, **variables, "KUBECONFIG": str(self._server.kubeconfig)},
                stdout=log,
                stderr=log,
            )
        return self

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None
        return self._process.pid

    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def is_ready(self) -> bool:
        """Whether it leads and works."""
        return self.probe("/readyz") == 200

    def probe(self, path: str) -> int:
        """Status of one of its endpoints; 0 while no process listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def metrics(self) -> str:
        """What /metrics says."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def wait_ready(self, seconds: float = 60) -> "OperatorProcess":
        """Wait until it leads and works; fails with its log when it ended."""

        def probe() -> bool:
            assert self.is_running(), f"the operator ended:\n{self.log.read_text()}"
            return self.is_ready()

        until(probe, seconds=seconds, what=f"operator ready (log {self.log})", every=0.1)
        return self

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: the process stands still, its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self, seconds: float = 30) -> int:
        """SIGTERM and wait; the exit code."""
        return self._end(signal.SIGTERM, seconds)

    def _end(self, number: int, seconds: float = 30) -> int:
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the operator did not end within {seconds} s:\n{self.log.read_text()}") from None
