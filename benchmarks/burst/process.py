"""Programs of a run: started with a log, waited for, what they cost by /proc, ended."""

import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Command:
    """Words and environment of a program."""

    words: list[str]
    environment: dict[str, str]


def python(*arguments: str) -> Command:
    """This Python with what this process can import."""
    return Command([sys.executable, "-P", *arguments], {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


def start(command: Command, log: Path) -> "subprocess.Popen[bytes]":
    """Start a program; what it says goes to `log`."""
    with log.open("wb") as file:
        return subprocess.Popen(command.words, env=command.environment, stdout=file, stderr=file)


def end(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, and SIGKILL for one that does not end of it."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_ready(process: "subprocess.Popen[bytes]", url: str, log: Path, seconds: float = 60) -> None:
    """Wait until a program answers with success; raises with the end of its log when it ends or takes longer."""
    deadline = time.monotonic() + seconds
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"not ready: {process.args!r}\n{log.read_text()[-2000:]}")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:  # urllib's errors are such
        return False


@dataclass(frozen=True)
class Cost:
    """CPU seconds used so far, and memory in MiB, of a process."""

    cpu: float
    rss: int
    peak: int

    @classmethod
    def of(cls, pid: int) -> "Cost":
        """Read from /proc."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines if ":" in line)
        memory = {name: int(status[name].split()[0]) // 1024 for name in ("VmRSS", "VmHWM")}
        return cls((int(fields[11]) + int(fields[12])) / TICKS, memory["VmRSS"], memory["VmHWM"])


def wait_idle(pid: int, *, share: float = 0.1, seconds: float = 60) -> None:
    """Wait until a process hardly uses the CPU for a second: what it still has to do is not part of the run."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = Cost.of(pid).cpu
        time.sleep(1)
        if Cost.of(pid).cpu - before <= share:
            return
    print(f"process {pid} is still busy after {seconds:.0f} s; measuring all the same", file=sys.stderr)
