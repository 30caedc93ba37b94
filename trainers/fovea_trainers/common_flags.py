"""Flags that recipes share, as frozen dataclasses that a recipe's config inherits: one sentence, one bound, one default.

A recipe changes a default by declaring the field once more with a plain value: `epochs: int = 15`. Every config has
`TrainingFlags`, since the loop reads them; the others are for those that want them. No TensorFlow here.
"""

from dataclasses import dataclass

from fovea_trainers.flags import flag
from fovea_trainers.runtime import optimizers


@dataclass(frozen=True)
class TrainingFlags:
    """How long the loop runs, and what makes a run repeatable."""

    epochs: int = flag(50, "Most passes over the training data.", minimum=1, maximum=100000)
    batch_size: int = flag(32, "Examples per step.", minimum=1, maximum=65536)
    max_steps: int | None = flag(None, "Stop after this many steps; none: after the epochs.", minimum=1)
    seed: int = flag(
        1, "Seed of everything random: split, weights, order, dropout, distortion.", minimum=0, maximum=2**31 - 1
    )
    checkpoint_every_steps: int | None = flag(
        None, "Steps between checkpoints; none: what the job says, else an epoch.", minimum=1
    )
    train_from_scratch: bool = flag(
        False,
        "Begin with new weights, and put checkpoints that are there aside; in a cluster, those of other jobs: an attempt "
        "goes on where the one before stopped.",
    )
    mixed_precision: bool = flag(
        False,
        "Compute updates in bfloat16, with weights and losses in float32: faster on GPUs from compute capability 8.0 on. "
        "Evaluation and the exported model stay float32.",
    )
    jit: bool = flag(False, "Let XLA compile the step; for one process with one device.")


@dataclass(frozen=True)
class OptimizerFlags:
    """One optimizer, and its learning rate as a function of the step (`optimizers.build`)."""

    optimizer: str = flag("sgd", "How weights are updated.", choices=optimizers.NAMES)
    learning_rate: float = flag(0.01, "Step size at the start; adam likes 0.001, adadelta 1.", minimum=0, maximum=100)
    momentum: float = flag(0.9, "Momentum of sgd and rmsprop.", minimum=0, maximum=1)
    decay: float | None = flag(
        None, "Learning rate at step s is rate / (1 + decay * s); none: rate / epochs.", minimum=0
    )


@dataclass(frozen=True)
class EpochDecayFlags:
    """A learning rate that falls from epoch to epoch (`optimizers.by_epoch`)."""

    epoch_decay: float = flag(
        1.0, "The learning rate of an epoch is this times that of the epoch before.", minimum=0.01, maximum=1
    )


@dataclass(frozen=True)
class EarlyStoppingFlags:
    """When training ends before its last epoch, and which weights are exported then."""

    early_stopping: bool = flag(True, "Stop when the validation loss does not fall any more.")
    patience: int = flag(2, "Epochs without a lower validation loss before early stopping.", minimum=1)
    restore_best: bool = flag(
        True,
        "With early stopping: export the weights of the epoch with the lowest validation loss, not the last ones; a "
        "checkpoint then holds the weights twice.",
    )
    min_delta: float = flag(0.0, "How much lower the validation loss must be to count.", minimum=0)


@dataclass(frozen=True)
class WeightsFlags:
    """Where the network begins (`Workspace.weights`, `pretrained.load`)."""

    weights: str = flag(
        "",
        "File of pretrained weights (.h5, .weights.h5, .keras), or a folder with one such file; empty: the input named "
        "weights, and random weights without one.",
    )
