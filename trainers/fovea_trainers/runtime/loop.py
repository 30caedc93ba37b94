"""The training loop of every recipe: steps, validation, early stopping, checkpoints, progress, as they happen."""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from fovea_trainers.errors import Interrupted, NonFiniteLoss
from fovea_trainers.runtime.checkpoints import Checkpoints
from fovea_trainers.runtime.interruption import Interruption
from fovea_trainers.runtime.metrics import Running
from fovea_trainers.runtime.position import Position
from fovea_trainers.runtime.progress import Reporter, say
from fovea_trainers.runtime.strategy import Step, Strategy
from fovea_trainers.runtime.summaries import Summaries


@dataclass(frozen=True)
class Schedule:
    """How long to train and how often to save."""

    epochs: int
    steps_per_epoch: int
    checkpoint_every_steps: int
    max_steps: int | None = None
    patience: int | None = None
    """None: no early stopping."""
    min_delta: float = 0.0

    @property
    def steps(self) -> int:
        """Most steps this run takes."""
        steps = self.epochs * self.steps_per_epoch
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def finished(self, position: Position) -> bool:
        """Whether there is nothing left to train."""
        return position.gives_up(self.patience) or position.done >= self.steps


@dataclass(frozen=True)
class Training:
    """What a recipe hands to the loop."""

    batches: Callable[[int, int], Iterable[tuple[Any, ...]]]
    """(epoch, first batch) -> the batches of that epoch from there on, in an order that depends on nothing else."""
    step: Step
    """(*batch, number of the step): one update of the weights."""
    running: Running
    validate: Callable[[], dict[str, float]]
    """Metrics with the prefix `val_`; empty when there is no validation set. May raise Interrupted."""
    keep_best: Callable[[], None] | None = None
    """Called after each epoch with the lowest validation loss so far; None: the best weights are not kept."""
    unreadable: set[int] = field(default_factory=set)
    """Numbers of examples that were found to be unreadable: filled by `batches`, and saved with the position."""


def train(
    training: Training,
    schedule: Schedule,
    *,
    strategy: Strategy,
    checkpoints: Checkpoints,
    reporter: Reporter,
    logs: Path,
    interruption: Interruption,
) -> Position:
    """Train from the newest checkpoint, or from scratch, to the end; when asked to stop, save and raise Interrupted."""
    resumed = checkpoints.resume()
    say(resumed.message)
    position = resumed.position
    training.unreadable.update(position.unreadable)
    if schedule.finished(position):
        why = "early stopping has given up" if position.gives_up(schedule.patience) else "every step is done"
        say(f"nothing left to train: {why}; evaluating and exporting once more")
    reporter.begin(position)
    started = time.monotonic() - position.seconds

    def save() -> None:
        strategy.join()
        training.running.read()  # never a checkpoint of a diverged run
        position.seconds = time.monotonic() - started
        position.unreadable = sorted(training.unreadable)
        checkpoints.save(position)

    def stop() -> NoReturn:
        save()
        raise Interrupted(f"asked to stop; checkpoint {position.step} is written, the same command resumes from it")

    with closing(reporter), Summaries(logs, position.history) as summaries:

        def close_epoch() -> None:
            strategy.join()
            try:
                metrics = _close_epoch(training, schedule, position)
            except Interrupted:  # while it validated: nothing of the epoch's end has happened yet
                stop()
            summaries.write(position.history[-1])
            reporter.epoch(position, metrics)

        if position.batch == schedule.steps_per_epoch:  # stopped while it validated
            close_epoch()
        while not schedule.finished(position):
            for batch in training.batches(position.epoch, position.batch):
                if interruption.requested:
                    stop()
                position.advance()
                strategy.schedule(training.step, (*batch, position.step))
                interruption.saves = True
                if position.batch == schedule.steps_per_epoch:
                    close_epoch()
                else:
                    reporter.step(position, training.running.read)
                if position.done % schedule.checkpoint_every_steps == 0 or schedule.finished(position):
                    save()
                if schedule.finished(position):
                    break
    return position


def _close_epoch(training: Training, schedule: Schedule, position: Position) -> dict[str, float]:
    metrics = training.running.read() | training.validate()
    # Before early stopping sees it: NaN is "not lower" than anything, and would end a diverged run as a success.
    if not math.isfinite(metrics.get("val_loss", 0.0)):
        raise NonFiniteLoss("the validation loss", position.step)
    training.running.reset()
    position.close_epoch(metrics)
    if "val_loss" in metrics:
        position.watch(metrics["val_loss"], min_delta=schedule.min_delta)
    if training.keep_best is not None and position.is_lowest():
        training.keep_best()
        position.kept = position.epoch
    return metrics
