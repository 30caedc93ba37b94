"""What a recipe hands to the loop, and what it gets back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import keras
import tensorflow as tf

from fovea_trainers.common_flags import EarlyStoppingFlags, TrainingFlags
from fovea_trainers.errors import TrainerError
from fovea_trainers.runtime.evaluation import Evaluation
from fovea_trainers.runtime.optimizers import Optimizer
from fovea_trainers.runtime.position import Position
from fovea_trainers.runtime.strategy import Batches, Dataset, Update
from fovea_trainers.runtime.totals import Kind, Sums, Total

VALIDATION = "val"
"""The set after each epoch: what early stopping looks at, and the prefix of its metrics."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """A recipe's own: what it trains, by which update, on which data. All functions are plain ones.

    Variables are made in the strategy's scope before.
    """

    weights: Sequence[tf.Variable]
    """All that a checkpoint needs of the networks: `variables_of(model)`."""
    optimizers: Sequence[Optimizer]
    signature: Sequence[tf.TensorSpec]
    """Of the tensors of a batch, each [n, …] with n = None."""
    update: Update
    """(*tensors, weights float32 [n], step) -> totals: loss, gradients and update of one batch, written for one device."""
    totals: Mapping[str, Kind]
    """Of each sum that `update` returns, by name: its dtype, or a TensorSpec if it is no scalar. One is `loss`, a scalar."""
    step_metrics: Callable[[Sums], Mapping[str, float]] = Sums.ratios
    """Metrics of an epoch's steps from the sums of their totals; by default each scalar sum by its count."""
    evaluate: Callable[..., Mapping[str, Total]]
    """(*tensors) -> totals of one batch, without an update."""
    metrics: Callable[[Sums], Mapping[str, float]] = Sums.ratios
    """Metrics of a whole set from its totals, `loss` among them; by default each scalar sum by its count."""
    dataset: Dataset
    """(epoch, first batch, shard) -> batches of the training set."""
    steps_per_epoch: int
    """Batches that `dataset` has in each epoch, at least 1: fewer end the run with an error, more are left out."""
    sets: Mapping[str, Callable[[], Batches]] = field(default_factory=dict)
    """Sets to evaluate by the prefix of their metrics: `val` after each epoch, all of them at the end; empty ones left out."""
    identity: Mapping[str, Any] = field(default_factory=dict)
    """What else must be equal, beside job, seed and batch size, for one process to go on where another stopped (JSON)."""
    shape: Mapping[str, Any] = field(default_factory=dict)
    """What must be equal for a checkpoint's weights to fit, beside the recipe's name (JSON)."""
    unreadable: set[int] = field(default_factory=set)
    """Numbers of examples that were found to be unreadable: filled by `dataset`, and saved with the position."""
    main: str = ""
    """The metric by which the evaluator finds the best checkpoint, by its name without a set's prefix; empty: accuracy, else loss."""
    unit: str = "examples"
    """What a batch consists of, for the rate in the log."""
    unvalidated: str = "there is no validation set"
    """Why early stopping is off, where `sets` has no `val`."""


def variables_of(*models: keras.Model) -> list[tf.Variable]:
    """All variables of networks, the seeds of dropout and the statistics of normalisation among them.

    TensorFlow's own tracking of a Keras model would miss the seeds.
    """
    return [variable.value for model in models for variable in model.variables]


@dataclass(frozen=True)
class Trained:
    """The end of a run. The weights are those that are to be exported."""

    position: Position
    metrics: Mapping[str, float]
    """What training last saw."""
    evaluations: Mapping[str, Evaluation]
    """Of the exported weights, by the names of `Training.sets`."""
    stopped_early: bool

    @property
    def exported_epoch(self) -> int | None:
        """The epoch whose weights these are; None: those of the last step, within an epoch."""
        last = self.position.epoch if self.position.batch == 0 else None
        return last if self.position.kept is None else self.position.kept

    @property
    def exported_step(self) -> int:
        """How many updates these weights have seen in this run."""
        kept = self.position.kept
        step = self.position.step if kept is None else int(self.position.history[kept - 1]["step"])
        return step - self.position.start

    def adding(self, metrics: Mapping[str, Mapping[str, float]]) -> Self:
        """With metrics that were measured after the training, by the names of the sets."""
        more = {
            name: replace(each, metrics={**each.metrics, **metrics[name]}) for name, each in self.evaluations.items()
        }
        return replace(self, evaluations=more)

    def evaluated(self) -> dict[str, float]:
        """Metrics of each set by name: val_loss, …, test_accuracy."""
        metrics: dict[str, float] = {}
        for name, evaluation in self.evaluations.items():
            metrics |= evaluation.prefixed(f"{name}_")
        return metrics

    def headline(self) -> dict[str, float]:
        """What a ModelVersion records: metrics of each set, and without a prefix those of the last set there is.

        That is the test set, else the validation set, else what training last saw.
        """
        last = next((evaluation.metrics for evaluation in reversed(list(self.evaluations.values()))), self.metrics)
        return self.evaluated() | dict(last)


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
    keep_best: bool = False
    """Whether the weights with the lowest validation loss are kept and exported."""

    @classmethod
    def of(cls, config: TrainingFlags, training: Training, every: int | None) -> Self:
        """As the flags say; `every` is the number of steps between checkpoints that the job says.

        Raises TrainerError for epochs without a step.
        """
        steps = training.steps_per_epoch
        if steps < 1:
            raise TrainerError(
                f"steps_per_epoch is {steps}: an epoch needs at least 1 batch; check that the training data is not empty, "
                "and round up when dividing by the batch size"
            )
        early = config if isinstance(config, EarlyStoppingFlags) and config.early_stopping else None
        if VALIDATION not in training.sets:
            early = None
        return cls(
            epochs=config.epochs,
            steps_per_epoch=steps,
            checkpoint_every_steps=config.checkpoint_every_steps or every or steps,
            max_steps=config.max_steps,
            patience=early.patience if early else None,
            min_delta=early.min_delta if early else 0.0,
            keep_best=early.restore_best if early else False,
        )

    @property
    def steps(self) -> int:
        """Most steps this run takes."""
        steps = self.epochs * self.steps_per_epoch
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def finished(self, position: Position) -> bool:
        """Whether there is nothing left to train."""
        return position.gives_up(self.patience) or position.done >= self.steps
