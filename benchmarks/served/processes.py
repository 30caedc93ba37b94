"""A server and all processes below it: started, what they have used, ended. `python processes.py PROGRAM ARGUMENT...`

Run as a program, this file starts another one and adopts what that one leaves behind: a server's helpers that cut
themselves loose stay below it, so that they are counted, and ended with the server, also when that ends by itself.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

TELL_WHEN_PARENT_ENDS, ADOPT_ORPHANS = 1, 36
"""Linux' PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER."""
END_SECONDS = 30.0
TICK = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> dict[int, int]:
    """A process and those below it that are there now: when each began, in ticks since boot, by its number."""
    below: dict[int, list[int]] = {}
    begun: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _fields(int(entry.name))):
            begun[int(entry.name)] = int(fields[19])
            below.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = {}, [pid]
    while waiting:
        one = waiting.pop()
        if one in begun:
            found[one] = begun[one]
            waiting += below.get(one, [])
    return found


def spent(pid: int) -> float:
    """Processor seconds of a process and all below it, with those that have ended."""
    # utime, stime, and both of the children that have been waited for.
    return sum(sum(map(int, fields[11:15])) for one in family(pid) if (fields := _fields(one))) / TICK


def _fields(pid: int) -> list[str]:
    """Of /proc/PID/stat, from the state on; none when the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


@contextlib.contextmanager
def running(
    words: Sequence[str], variables: Mapping[str, str], log: Path, folder: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """A server in a process of its own; at the end it and all below it are told to end, then killed."""
    with log.open("wb") as target:
        process = subprocess.Popen(
            [sys.executable, __file__, *words],
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=target,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(2 * END_SECONDS)
    except subprocess.TimeoutExpired:
        kill(family(process.pid))
        process.wait()


def kill(members: Mapping[int, int], seconds: float = END_SECONDS) -> None:
    """Kill these processes, and wait until they are gone."""
    deadline = time.monotonic() + seconds
    while left := [pid for pid, begun in members.items() if _still(pid, begun)]:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes of a server do not end: {left}")
        time.sleep(0.1)


def _still(pid: int, begun: int) -> bool:
    """Whether exactly this process still runs (a zombie does not)."""
    fields = _fields(pid)
    return bool(fields) and int(fields[19]) == begun and fields[0] not in "ZX"


def _keep(words: Sequence[str]) -> int:
    """Run a program to its end, or until we are told to end; then nothing of it is left."""
    control = ctypes.CDLL(None).prctl
    control(ADOPT_ORPHANS, 1, 0, 0, 0)
    control(TELL_WHEN_PARENT_ENDS, signal.SIGTERM, 0, 0, 0)
    process = subprocess.Popen(words)
    signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGTERM))
    process.wait()
    kill({pid: begun for pid, begun in family(os.getpid()).items() if pid != os.getpid()})
    return process.returncode


if __name__ == "__main__":
    sys.exit(_keep(sys.argv[1:]))
