"""A model server in a process of its own, and where its processor time goes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fovea_dev.ports import free_ports

from served import clocks, model

START_SECONDS = 120
GRPC_THREADS = ("event_engine", "grpc_", "lifeguard")


@dataclass(frozen=True)
class Spent:
    """Processor seconds: in the runtime, on the event loop, and on all other threads."""

    runtime: float
    loop: float
    others: float

    def __sub__(self, before: "Spent") -> "Spent":
        return Spent(self.runtime - before.runtime, self.loop - before.loop, self.others - before.others)


@dataclass(frozen=True)
class Server:
    """A running server process."""

    address: str
    pid: int
    tally: Path

    def spent(self) -> Spent:
        """What it has used so far, by thread."""
        loop, python, runtime = 0.0, 0.0, 0.0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
                name, seconds = (task / "comm").read_text().strip(), _seconds(task)
                if int(task.name) == self.pid:
                    loop = seconds
                elif name == task.name or name.startswith(GRPC_THREADS):
                    python += seconds
                else:
                    runtime += seconds
        runs = clocks.runtime_seconds(self.tally)
        return Spent(runtime + runs, loop, python - runs)


def _seconds(folder: Path) -> float:
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    """A server of the model in `folder/cnn3`; its log lies there too."""
    (port,) = free_ports(1)
    log, tally = folder / "server.log", folder / "tally"
    flags = [f"--port={port}", f"--model_name={model.NAME}", f"--model_base_path={folder / model.NAME}"]
    command = [sys.executable, clocks.__file__, str(tally), *flags]
    with log.open("wb") as target:
        process = subprocess.Popen(command, stdout=target, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_SECONDS
        while "Running ModelServer" not in log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.2)
        yield Server(f"127.0.0.1:{port}", process.pid, tally)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
