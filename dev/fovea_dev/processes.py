"""Start, find, heal and stop the cluster's own processes by pid files that a recycled pid can never match."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fovea_dev.progress import StepFailed

# The pid file is written by the very process that then becomes the program: there is no moment in which the program
# runs without one. Start time (clock ticks since boot) and boot id make it unmistakable.
_LAUNCHER = """
set -e
stat=$(cat /proc/$$/stat)
rest=${stat##*) }
start=$(echo "$rest" | cut -d' ' -f20)
file=$1; digest=$2; shift 2
echo "$$ $start $(cat /proc/sys/kernel/random/boot_id) $digest" > "$file.new"
mv "$file.new" "$file"
exec "$@"
"""


@dataclass(frozen=True)
class Identity:
    """What a pid file says: one process, and no other one before or after a reboot."""

    pid: int
    start: int
    boot: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Identity | None:
        """Read a pid file's text; None if it is not complete."""
        words = text.split()
        if len(words) != 4 or not words[0].isdecimal() or not words[1].isdecimal():
            return None
        return cls(int(words[0]), int(words[1]), words[2], words[3])

    def is_running(self) -> bool:
        """Whether exactly this process runs now (a zombie does not)."""
        return self.boot == boot_id() and start_time(self.pid) == self.start


@dataclass(frozen=True)
class Program:
    """A process of the cluster: its name (of pid file and log), its command and its environment."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] | None = None

    def digest(self) -> str:
        """Changes when the command, its environment or the program file itself changes."""
        real = Path(shutil.which(self.command[0]) or self.command[0]).resolve()
        size = real.stat().st_size if real.exists() else 0
        parts = [str(real), str(size), *self.command, *sorted(f"{k}={v}" for k, v in (self.environment or {}).items())]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class Processes:
    """The processes of one cluster; their pid files live in one folder, their logs in another."""

    def __init__(self, pids: Path, logs: Path) -> None:
        self._pids = pids
        self._logs = logs

    def log(self, name: str) -> Path:
        """Log file of a process."""
        return self._logs / f"{name}.log"

    def identity(self, name: str) -> Identity | None:
        """The process of that name if it runs now."""
        try:
            identity = Identity.parse(self._pid_file(name).read_text())
        except FileNotFoundError:
            return None
        return identity if identity is not None and identity.is_running() else None

    def started(self, name: str) -> datetime | None:
        """When the process of that name was started, by the wall clock; None if it does not run."""
        if self.identity(name) is None:
            return None
        return datetime.fromtimestamp(self._pid_file(name).stat().st_mtime, UTC)

    def names(self) -> list[str]:
        """Names that have a pid file, running or not."""
        return sorted(path.stem for path in self._pids.glob("*.pid"))

    def ensure(self, program: Program, *, configuration: str = "") -> bool:
        """Make a program run with this command and configuration. Returns whether it was (re)started."""
        digest = hashlib.sha256((program.digest() + configuration).encode()).hexdigest()[:16]
        running = self.identity(program.name)
        if running is not None:
            if running.digest == digest:
                return False
            self.stop(program.name)
        self._start(program, digest)
        return True

    def stop(self, name: str, grace: float = 10.0) -> None:
        """End a process by its pid: SIGTERM, then SIGKILL after `grace` seconds."""
        identity = self.identity(name)
        if identity is not None:
            end([identity.pid], grace=grace)
        self._pid_file(name).unlink(missing_ok=True)

    def wait(
        self,
        name: str,
        ready: Callable[[], bool],
        seconds: float,
        what: str,
        *,
        needs: Sequence[str] = (),
        diagnosis: Callable[[], str] = str,
    ) -> None:
        """Wait until `ready()` while the process and those it `needs` live.

        Raises StepFailed with the log of the one that ended, or, when the time is over, of the process itself and with
        the `diagnosis` of that moment.
        """
        deadline = time.monotonic() + seconds
        while True:
            answered = ready()
            # Asked also after an answer: it may have been somebody else's.
            for each in (*needs, name):
                if self.identity(each) is None:
                    raise StepFailed(f"{each} ended while waiting for {what}", self.log(each))
            if answered:
                return
            if time.monotonic() > deadline:
                raise StepFailed(f"{name}: {what} did not happen within {seconds:.0f} s", self.log(name), diagnosis())
            time.sleep(0.1)

    def _pid_file(self, name: str) -> Path:
        return self._pids / f"{name}.pid"

    def _start(self, program: Program, digest: str) -> None:
        self._pids.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        file = self._pid_file(program.name)
        file.unlink(missing_ok=True)
        environment = {**os.environ, **(program.environment or {})}
        with self.log(program.name).open("ab") as log:
            launched = subprocess.Popen(
                ["sh", "-c", _LAUNCHER, "sh", str(file), digest, *program.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while True:
            # Looked at in this order: a short program may have written the file and ended between two looks.
            over = launched.poll() is not None or time.monotonic() > deadline
            if file.exists():
                break
            if over:
                raise StepFailed(f"{program.name} could not be started", self.log(program.name))
            time.sleep(0.01)
        _reap_later(launched)


_children: list[subprocess.Popen[bytes]] = []


def _reap_later(child: subprocess.Popen[bytes]) -> None:
    # Kept, so that a process that ends early is reaped by poll() and not taken for a running one.
    _children.append(child)


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None if there is none or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def end(pids: Iterable[int], grace: float = 10.0) -> None:
    """End processes by pid: SIGTERM, SIGKILL to what is left after `grace` seconds; returns when all are gone."""
    started = {pid: begin for pid in pids if (begin := start_time(pid)) is not None}
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        if number == signal.SIGTERM and grace <= 0:
            continue
        for pid in _left(started):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + seconds
        while _left(started) and time.monotonic() < deadline:
            time.sleep(0.02)
        if not _left(started):
            return
    left = _left(started)
    if left:
        raise StepFailed(f"processes {left} did not end after SIGKILL (state D in `ps` means: waiting for a device)")


def _left(started: Mapping[int, int]) -> list[int]:
    for child in _children:
        child.poll()
    return [pid for pid, begin in started.items() if start_time(pid) == begin]
