"""Say what is going on: one line per finished step with its time, and what is still running when that takes long."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

HEARTBEAT_SECONDS = 30.0
LAST_LINES = 15


class StepFailed(Exception):
    """A step of `up` that went wrong; names the log file when there is one, and has what was seen at that moment."""

    def __init__(self, message: str, log: Path | None = None, seen: str = "") -> None:
        super().__init__(message)
        self.log = log
        self.seen = seen

    def explain(self) -> str:
        """The message, what was seen, the log file's name and its last lines."""
        text = str(self)
        if self.seen:
            text += "".join(f"\n  {line}" for line in self.seen.splitlines())
        if self.log is None:
            return text
        lines = last_lines(self.log)
        shown = "".join(f"\n    | {line}" for line in lines)
        return f"{text}\n  log: {self.log}{shown}"


def last_lines(log: Path, count: int = LAST_LINES) -> list[str]:
    """The last lines of a log file, an empty list if it does not exist."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 16384))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []


class Progress:
    """Prints `name ... note  time` per step; safe to use from several threads."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._lock = threading.Lock()
        self._running: dict[str, float] = {}
        self._started = time.monotonic()
        self._last_line = time.monotonic()

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Time a step. Append to the list that is yielded what should stand behind the step's name."""
        notes: list[str] = []
        begin = time.monotonic()
        with self._lock:
            self._running[name] = begin
        outcome = "failed"
        try:
            yield notes
            outcome = "ok"
        finally:
            with self._lock:
                del self._running[name]
            self._line(outcome, name, ", ".join(notes), time.monotonic() - begin)

    def say(self, text: str) -> None:
        """Print a line that is not a step."""
        with self._lock:
            print(text, file=self._out, flush=True)
            self._last_line = time.monotonic()

    def heartbeat(self) -> None:
        """Name the running steps if nothing has been printed for a while; to be called every second or so."""
        now = time.monotonic()
        with self._lock:
            if now - self._last_line < HEARTBEAT_SECONDS or not self._running:
                return
            names = ", ".join(f"{name} ({now - begin:.0f} s)" for name, begin in sorted(self._running.items()))
            print(f"     ... still at work: {names}", file=self._out, flush=True)
            self._last_line = now

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def _line(self, outcome: str, name: str, note: str, seconds: float) -> None:
        mark = {"ok": " ok ", "failed": "FAIL"}[outcome]
        label = f"{name}: {note}" if note else name
        self.say(f"{mark} {label:<76} {seconds:7.1f} s")
