"""The training loop of every recipe: steps, validation, early stopping, checkpoints, progress, as they happen."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn

import tensorflow as tf

from fovea_trainers.common_flags import EarlyStoppingFlags, TrainingFlags
from fovea_trainers.errors import CheckpointError, Interrupted, NonFiniteLoss, TrainerError
from fovea_trainers.runtime.best import Best
from fovea_trainers.runtime.checkpoints import Run, Variables
from fovea_trainers.runtime.evaluation import Evaluation, Evaluator, Sums
from fovea_trainers.runtime.finite import Finite
from fovea_trainers.runtime.following import Following
from fovea_trainers.runtime.position import Position
from fovea_trainers.runtime.precision import halved
from fovea_trainers.runtime.progress import Plan, say
from fovea_trainers.runtime.roles import Role
from fovea_trainers.runtime.session import Session
from fovea_trainers.runtime.strategy import Batches
from fovea_trainers.runtime.summaries import Summaries
from fovea_trainers.runtime.totals import LOSS, Total, Totals
from fovea_trainers.runtime.training import VALIDATION, Schedule, Trained, Training


def train(training: Training, config: TrainingFlags, session: Session) -> Trained:
    """Train from the newest checkpoint, or from scratch, to the end, and evaluate the weights that are to be exported.

    When asked to stop, save and raise Interrupted. Raises NonFiniteLoss for a run that diverged, TrainerError for epochs
    that have no step or too few batches.
    """
    loop = _loop(training, config, session)
    if session.role is Role.EVALUATOR:
        loop.follow()
    position = loop.resume(config)
    loop.train(position)
    session.strategy.leave_to_chief()
    return loop.conclude(position)


def evaluated(training: Training, config: TrainingFlags, session: Session) -> Trained:
    """The newest checkpoint as it is, evaluated, without a step. Raises CheckpointError where there is none."""
    loop = _loop(training, config, session)
    position = loop.resume(config)
    if not position.step:
        raise CheckpointError(
            f"there is no checkpoint in {session.checkpoints.directory}: train first, or name a job in spec.checkpoint.from"
        )
    session.strategy.leave_to_chief()
    return loop.conclude(position)


def _loop(training: Training, config: TrainingFlags, session: Session) -> "_Loop":
    session.strategy.supply(training.dataset, training.unreadable)
    if config.mixed_precision:
        training = replace(training, update=halved(training.update))
    schedule = Schedule.of(config, training, session.workspace.checkpoint_every_steps)
    if isinstance(config, EarlyStoppingFlags) and config.early_stopping and schedule.patience is None:
        say(f"early stopping is off: {training.unvalidated}")
    totals = session.strategy.totals(training.totals)
    with session.strategy.scope():
        best = Best(training.weights) if schedule.keep_best else None
    run = Run(
        identity={"job": session.workspace.job, "seed": config.seed, "batch_size": config.batch_size}
        | dict(training.identity),
        shape={"recipe": session.recipe} | dict(training.shape),
        optimizer=" and ".join(optimizer.state for optimizer in training.optimizers),
    )
    evaluator = Evaluator(training.evaluate, training.signature, training.metrics)
    return _Loop(training, schedule, session, run, totals, best, evaluator)


def measure(
    session: Session,
    *,
    signature: Sequence[tf.TensorSpec],
    evaluate: Callable[..., Mapping[str, Total]],
    sets: Mapping[str, Callable[[], Batches]],
    metrics: Callable[[Sums], Mapping[str, float]] = Sums.ratios,
) -> Trained:
    """Evaluate the weights as they are, without training or a checkpoint; parameters are those of Training.

    Only the chief does. Raises NonFiniteLoss.
    """
    session.strategy.leave_to_chief()
    position = Position()
    session.reporter.begin(position, Plan(0, 0, 0, 0))
    evaluator = Evaluator(evaluate, signature, metrics)
    evaluations = {name: evaluator(batches(), session.interruption.check) for name, batches in sets.items()}
    _require_finite(evaluations, position.step)
    return Trained(position, {}, evaluations, stopped_early=False)


@dataclass(frozen=True)
class _Loop:
    """The parts of one run; the position is what changes."""

    training: Training
    schedule: Schedule
    session: Session
    run: Run
    totals: Totals
    best: Best | None
    evaluator: Evaluator

    def resume(self, config: TrainingFlags) -> Position:
        schedule, variables = self.schedule, self._variables()

        def restore() -> dict[str, Any]:
            resumed = self.session.checkpoints.resume(self.run, variables, from_scratch=config.train_from_scratch)
            say(resumed.message)
            return resumed.position.to_json()

        position = Position.from_json(self.session.strategy.from_chief(restore))
        if position.step:
            self.session.strategy.take_from_chief(variable for part in variables.values() for variable in part)
        self.training.unreadable.update(position.unreadable)
        if schedule.finished(position):
            why = "early stopping has given up" if position.gives_up(schedule.patience) else "every step is done"
            say(f"nothing left to train: {why}; evaluating and exporting once more")
        plan = Plan(schedule.steps, schedule.steps_per_epoch, config.epochs, config.batch_size, self.training.unit)
        self.session.reporter.begin(position, plan)
        return position

    def train(self, position: Position) -> None:
        training, schedule, strategy = self.training, self.schedule, self.session.strategy
        reporter, interruption = self.session.reporter, self.session.interruption
        step = strategy.build(training.update, self.totals, training.signature)
        started = time.monotonic() - position.seconds
        variables = self._variables()
        finite = Finite([*variables["model"], *variables["optimizer"]], position.step)

        def require_finite() -> None:
            strategy.join()
            self.totals.sums()  # names the step
            finite.require(position.step)

        def save() -> None:
            require_finite()  # never a checkpoint of a diverged run
            position.seconds = time.monotonic() - started
            training.unreadable.update(strategy.all_unreadable(training.unreadable))
            position.unreadable = sorted(training.unreadable)
            if self.session.role is Role.CHIEF:
                self.session.checkpoints.save(position, self.run, variables)

        def stop() -> NoReturn:
            save()
            strategy.from_chief(dict)  # the others stay until it is written: their end would be an error there
            raise Interrupted(f"asked to stop; checkpoint {position.step} is written, the same command resumes from it")

        with closing(reporter), Summaries(self.session.workspace.logs, position.history) as summaries:

            def close_epoch() -> None:
                require_finite()
                try:
                    metrics = self._close_epoch(position)
                except Interrupted:  # while it validated: nothing of the epoch's end has happened yet
                    stop()
                summaries.write(position.history[-1])
                reporter.epoch(position, metrics)

            if position.batch >= schedule.steps_per_epoch:  # stopped while it validated, or epochs are shorter now
                close_epoch()
            while not schedule.finished(position):
                for batch in _until(strategy.batches(training.dataset, position.epoch, position.batch), stop):
                    if strategy.asked_to_stop(interruption.requested):
                        stop()
                    position.advance()
                    strategy.schedule(step, batch, position.step)
                    interruption.saves = True
                    closes = position.batch == schedule.steps_per_epoch
                    if closes:
                        close_epoch()
                    else:
                        reporter.step(position, self._running)
                    if position.done % schedule.checkpoint_every_steps == 0 or schedule.finished(position):
                        save()
                    if closes or schedule.finished(position):
                        break  # also where there are more batches: they would count into the next epoch
                else:
                    raise _too_few(position, schedule)

    def follow(self) -> NoReturn:
        """As the evaluator: measure the checkpoints of the others as they come."""
        evaluate = partial(self._evaluate, VALIDATION) if VALIDATION in self.training.sets else None
        Following(self.session, self.run, self.training, evaluate).follow()

    def conclude(self, position: Position) -> Trained:
        """The end of training; while early stopping is on, with the weights of the best epoch."""
        if self.best is not None and position.kept is not None:
            self.best.restore()
            if position.history[position.kept - 1]["step"] != position.step:
                say(f"the weights of epoch {position.kept}, which has the lowest validation loss, are exported")
        evaluations = {name: self._evaluate(name) for name in self.training.sets}
        _require_finite(evaluations, position.step)
        metrics = self._running() if position.batch else position.last_metrics()
        return Trained(position, metrics, evaluations, position.gives_up(self.schedule.patience))

    def _close_epoch(self, position: Position) -> dict[str, float]:
        metrics = self._running()
        if VALIDATION in self.training.sets:
            metrics |= self.session.strategy.from_chief(lambda: self._evaluate(VALIDATION).prefixed(f"{VALIDATION}_"))
        # Before early stopping sees it: NaN is "not lower" than anything, and would end a diverged run as a success.
        if not math.isfinite(metrics.get("val_loss", 0.0)):
            raise NonFiniteLoss("the validation loss", position.step)
        self.totals.reset()
        position.close_epoch(metrics)
        if "val_loss" in metrics:
            position.watch(metrics["val_loss"], min_delta=self.schedule.min_delta)
        if self.best is not None and position.is_lowest():
            self.best.keep()
            position.kept = position.epoch
        return metrics

    def _running(self) -> dict[str, float]:
        return dict(self.training.step_metrics(self.totals.sums()))

    def _evaluate(self, name: str) -> Evaluation:
        return self.evaluator(self.training.sets[name](), self.session.interruption.check)

    def _variables(self) -> Variables:
        held = {
            "model": self.training.weights,
            "optimizer": [variable for optimizer in self.training.optimizers for variable in optimizer.variables],
            "running": self.totals.variables,
        }
        return held if self.best is None else {**held, "best": self.best.variables}


def _until(batches: Batches, stop: Callable[[], NoReturn]) -> Batches:
    """The batches; where one is waited for, as for a shard that is on its way, and a stop is requested: `stop`."""
    reading = iter(batches)
    while True:
        try:
            batch = next(reading)
        except StopIteration:
            return
        except Interrupted:
            stop()
        yield batch


def _require_finite(evaluations: Mapping[str, Evaluation], step: int) -> None:
    for name, evaluation in evaluations.items():
        if not math.isfinite(evaluation.metrics[LOSS]):
            raise NonFiniteLoss(f"the {name} loss", step)


def _too_few(position: Position, schedule: Schedule) -> TrainerError:
    return TrainerError(
        f"epoch {position.epoch + 1} has {position.batch} batches, but steps_per_epoch is {schedule.steps_per_epoch}: give "
        "Training the number of batches that `dataset` yields in every epoch, or let `dataset` yield as many"
    )
