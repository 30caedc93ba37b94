"""Says how far a run is: JSON lines for the platform, a bar on a terminal, plain lines in a log."""

import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from fovea_api.contract.progress import Progress

from fovea_trainers.runtime.position import Position

FILE_SECONDS = 1.0
"""Least time between two lines of the progress file, the last line excepted."""
BAR_SECONDS = 0.1
LINE_SECONDS = 10.0


def say(text: str, stream: TextIO | None = None) -> None:
    """One line of plain text, at once: standard error is what a pod's log and a terminal show in order."""
    print(text, file=sys.stderr if stream is None else stream, flush=True)


@dataclass(frozen=True)
class Plan:
    """How much a run has before it, for the bar and the rate."""

    steps: int
    steps_per_epoch: int
    epochs: int
    batch_size: int
    unit: str = "examples"
    """What a batch consists of."""


class Reporter:
    """Writes progress at a bounded rate; metrics are read only when something is written."""

    def __init__(
        self, path: Path, *, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._plan = Plan(0, 0, 0, 0)
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._line_open = False
        self._clock = clock
        self._file_due = self._shown_due = clock()
        self._rate_from = (clock(), 0)
        self._validation: dict[str, float] = {}
        path.parent.mkdir(parents=True, exist_ok=True)

    def prepare(self, what: str, done: int, total: int) -> None:
        """Long work before the first step: a share of it as a metric of that name, and a line in the log."""
        now = self._clock()
        if now >= self._file_due or done == total:
            self._append(Progress(0, metrics={what: done / total}))
        if now >= self._shown_due or done == total:
            since, before = self._rate_from
            rate = (done - before) / (now - since) if done > before and now > since else 0.0
            say(f"{what} {done}/{total} {rate:.0f}/s", self._stream)
            self._rate_from = (now, done)
            self._shown_due = now + LINE_SECONDS

    def begin(self, position: Position, plan: Plan) -> None:
        """The run starts, or resumes, here; before, there is nothing to report."""
        self._plan = plan
        self._rate_from = (self._clock(), position.step)
        self._remember(position.last_metrics())
        self._write(position, self._validation)

    def step(self, position: Position, metrics: Callable[[], dict[str, float]]) -> None:
        """A step inside an epoch."""
        now = self._clock()
        if now < self._file_due and now < self._shown_due:
            return
        values = metrics() | self._validation
        if now >= self._file_due:
            self._write(position, values)
        if now >= self._shown_due:
            self._show(position, values, position.epoch + 1, position.batch)

    def epoch(self, position: Position, metrics: dict[str, float]) -> None:
        """An epoch has ended; always shown, written unless the file had a line just now."""
        self._remember(metrics)
        if self._clock() >= self._file_due:
            self._write(position, metrics)
        self._show(position, metrics, position.epoch, self._plan.steps_per_epoch)
        self.close()

    def close(self) -> None:
        """End the bar's line if it is open: the next output stands on a line of its own."""
        if self._line_open:
            self._stream.write("\n")
            self._stream.flush()
            self._line_open = False

    def measured(self, step: int, metrics: dict[str, float]) -> None:
        """The evaluator has measured a checkpoint: always written and shown."""
        self._append(Progress(step, metrics=metrics))
        say(f"checkpoint {step}: {_numbers(metrics)}", self._stream)

    def warn(self, text: str) -> None:
        """A line that is no number."""
        say(text, self._stream)

    def end(self, position: Position, metrics: dict[str, float]) -> None:
        """The last line, whatever the rate."""
        self.close()
        self._write(position, metrics)
        say("done: " + _numbers(metrics), self._stream)

    def _remember(self, metrics: dict[str, float]) -> None:
        self._validation = {name: value for name, value in metrics.items() if name.startswith("val_")}

    def _write(self, position: Position, metrics: dict[str, float]) -> None:
        self._append(Progress(position.done, self._plan.steps, position.epoch, self._plan.epochs, metrics))

    def _append(self, progress: Progress) -> None:
        with self._path.open("a", encoding="utf-8") as file:  # one write per line: a reader never sees half of one
            file.write(progress.to_json() + "\n")
        self._file_due = self._clock() + FILE_SECONDS

    def _show(self, position: Position, metrics: dict[str, float], epoch: int, batch: int) -> None:
        now = self._clock()
        since, step = self._rate_from
        rate = (position.step - step) * self._plan.batch_size / (now - since) if now > since else 0.0
        self._rate_from = (now, position.step)
        where = f"epoch {epoch}/{self._plan.epochs} step {batch}/{self._plan.steps_per_epoch}"
        text = f"{where} {_numbers(metrics)} {rate:.0f} {self._plan.unit}/s"
        self._shown_due = now + (BAR_SECONDS if self._terminal else LINE_SECONDS)
        if not self._terminal:
            say(text, self._stream)
            return
        width = shutil.get_terminal_size().columns
        filled = round(24 * batch / self._plan.steps_per_epoch)
        self._stream.write("\r\x1b[K" + f"{'█' * filled}{'░' * (24 - filled)} {text}"[: width - 1])
        self._stream.flush()
        self._line_open = True


class OwnSteps:
    """Steps that a worker has run, where only the chief knows how far the run is: a line at a bounded rate.

    Without a path nothing is written: outside a pod, the file of all processes is the chief's.
    """

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._due = clock()
        self._steps = 0
        self._lock = threading.Lock()

    def one_more(self) -> None:
        """Another step was run here."""
        with self._lock:
            self._steps += 1
            if self._path is None or self._clock() < self._due:
                return
            with self._path.open("a", encoding="utf-8") as file:
                file.write(Progress(self._steps).to_json() + "\n")
            self._due = self._clock() + FILE_SECONDS


def _numbers(metrics: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.4f}" for name, value in metrics.items())
