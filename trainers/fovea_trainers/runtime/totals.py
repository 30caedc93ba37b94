"""Named totals: name -> (sum, count). A metric is their ratio; they add up over batches, devices and processes.

An update or an evaluation returns them for its batch; the caller adds them up. No Keras metric: under a parameter
server those lose updates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from fovea_trainers.errors import NonFiniteLoss, TrainerError
from fovea_trainers.runtime.exchange import current

Array = np.ndarray[Any, Any]
LOSS = "loss"
"""The total that each update and each evaluation has: divergence and early stopping are read from it."""

Total = tuple[tf.Tensor, tf.Tensor]
"""A sum and a count, a scalar. A sum of another shape (a confusion matrix) is no metric by itself."""
Kind: TypeAlias = tf.DType | tf.TensorSpec
"""Of a sum: the dtype of a scalar, or shape and dtype. tf.int64 counts whole numbers exactly."""


@dataclass(frozen=True)
class Sums:
    """Totals of many batches by name: sums of any shape, and how much was counted."""

    sums: Mapping[str, Array]
    counts: Mapping[str, float]

    def ratios(self) -> dict[str, float]:
        """Each scalar sum by its count."""
        return {name: ratio(value, self.counts[name]) for name, value in self.sums.items() if value.ndim == 0}


def total(values: tf.Tensor, weights: tf.Tensor | None = None) -> Total:
    """Sum and count of one value per example [n]; with `weights` [n], of the weighted values and of the weights.

    Values per word or pixel [n, …] have weights of that shape: the example's weight by the mask.
    """
    if weights is None:
        return tf.reduce_sum(values), tf.size(values)
    return tf.reduce_sum(weights * values), tf.reduce_sum(weights)


def mean(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """This device's part of the weighted mean over the whole batch: what an update takes the gradient of.

    `values` and `weights` have one shape, [n] or more (see `total`). The gradients of all devices' parts add up to the gradient of the mean.
    0 where the weights add up to 0. Raises TrainerError for values that are not float32.
    """
    if values.dtype != weights.dtype:
        raise TrainerError(
            f"the values of a loss are {values.dtype.name}, and must be {weights.dtype.name}: with --mixed-precision give the "
            "last layer of the network the argument dtype='float32'"
        )
    (count,) = over_devices(tf.reduce_sum(weights))
    return tf.math.divide_no_nan(tf.reduce_sum(weights * values), count)


class Totals:
    """The totals of the current epoch, kept in TensorFlow variables: no step waits for a number.

    The variables belong to the checkpoint, so a resumed epoch reports what an undisturbed one would.
    """

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        """What each sum is, by name. Raises ValueError without a loss."""
        if LOSS not in kinds:
            raise ValueError(f"totals are {', '.join(kinds) or 'empty'}: a recipe's totals must have the name {LOSS!r}")
        alike = tf.VariableAggregation.ONLY_FIRST_REPLICA  # every device assigns the sum over all of them
        self._sums = {
            name: tf.Variable(
                tf.zeros(getattr(kind, "shape", []), getattr(kind, "dtype", kind)),
                name=f"{name}_sum",
                aggregation=alike,
            )
            for name, kind in kinds.items()
        }
        self._counts = {
            name: tf.Variable(tf.zeros([], tf.float64), name=f"{name}_count", aggregation=alike) for name in kinds
        }
        self._bad = tf.Variable(-1, dtype=tf.int64, name="first_bad_step", aggregation=alike)
        self.variables = [*self._sums.values(), *self._counts.values(), self._bad]

    def add(self, totals: Mapping[str, Total], step: tf.Tensor) -> None:
        """Take in the totals of one batch, inside the graph of update number `step`.

        On several devices each one calls it with those of its share of the batch. Raises ValueError for other names.
        """
        self._require_names(totals)
        sums = over_devices(*(tf.cast(totals[name][0], kept.dtype) for name, kept in self._sums.items()))
        counts = over_devices(*(tf.cast(totals[name][1], kept.dtype) for name, kept in self._counts.items()))
        added = dict(zip(self._sums, zip(sums, counts, strict=True), strict=True))
        finite = tf.math.is_finite(tf.cast(added[LOSS][0], tf.float64))
        first_bad = tf.logical_and(self._bad < 0, tf.logical_not(finite))
        self._bad.assign(tf.where(first_bad, step, self._bad))
        for name, (values, count) in added.items():
            self._sums[name].assign_add(values)
            self._counts[name].assign_add(count)

    @property
    def size(self) -> int:
        """Of the vector that `packed` makes."""
        return sum(int(kept.shape.num_elements()) + 1 for kept in self._sums.values())

    def packed(self, totals: Mapping[str, Total]) -> tf.Tensor:
        """The totals of a batch as one vector, float64 [size]; whole numbers below 2^53 stay exact."""
        self._require_names(totals)
        parts = [
            (tf.reshape(values, [-1]), tf.reshape(count, [1])) for values, count in map(totals.__getitem__, self._sums)
        ]
        return tf.concat([tf.cast(part, tf.float64) for pair in parts for part in pair], axis=0)

    def unpacked(self, packed: tf.Tensor) -> dict[str, Total]:
        """What `packed` has been made of, in the types in which it is kept."""
        sizes = [size for kept in self._sums.values() for size in (int(kept.shape.num_elements()), 1)]
        parts = iter(tf.split(packed, sizes))
        return {
            name: (tf.cast(tf.reshape(next(parts), kept.shape), kept.dtype), tf.reshape(next(parts), []))
            for name, kept in self._sums.items()
        }

    def sums(self) -> Sums:
        """Of the epoch so far; raises NonFiniteLoss with the first step at which the loss was not a number."""
        if (bad := int(self._bad.read_value())) >= 0:
            raise NonFiniteLoss("the loss", bad)
        sums = {name: kept.read_value().numpy() for name, kept in self._sums.items()}
        return Sums(sums, {name: float(kept.read_value()) for name, kept in self._counts.items()})

    def read(self) -> dict[str, float]:
        """Each scalar sum by its count; raises as `sums`."""
        return self.sums().ratios()

    def _require_names(self, totals: Mapping[str, Total]) -> None:
        if totals.keys() != self._sums.keys():
            raise ValueError(
                f"the update returned the totals {', '.join(totals)}, declared are {', '.join(self._sums)}"
            )

    def reset(self) -> None:
        """A new epoch begins."""
        for variable in self.variables[:-1]:
            variable.assign(tf.zeros_like(variable))


def ratio(values: Any, count: float) -> float:
    """A metric: sum by count, 0 where nothing was counted."""
    return float(values) / float(count) if float(count) else 0.0


def over_devices(*shares: tf.Tensor) -> list[tf.Tensor]:
    """Sums over the devices of a strategy, of tensors that each has of its own; without one, the tensors."""
    exchange = current()
    if exchange is not None:
        return exchange.sums(shares)
    if not tf.distribute.has_strategy():
        return list(shares)
    context = tf.distribute.get_replica_context()
    summed: dict[int, tf.Tensor] = {}
    for dtype in dict.fromkeys(share.dtype for share in shares):  # NCCL packs what it adds up: one dtype at a time
        places = [place for place, share in enumerate(shares) if share.dtype == dtype]
        parts = context.all_reduce(tf.distribute.ReduceOp.SUM, [shares[place] for place in places])
        summed |= dict(zip(places, parts, strict=True))
    return [summed[place] for place in range(len(shares))]
