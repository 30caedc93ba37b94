"""Several GPUs of one machine: every one holds all weights, and takes its share of each batch.

An update sees the whole batch: gradients and sums are added over the GPUs, so that what is learned does not depend on
their number, but for the rounding of sums and for dropout, whose masks are drawn for each share.
Layers that use statistics of the batch (BatchNormalization) see those of their GPU's share, and the example of zeros
that a GPU gets whose share is empty.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from fovea_trainers.runtime.strategy import Batches, Dataset, Shard, Step, Update
from fovea_trainers.runtime.totals import Totals
from fovea_trainers.runtime.weights import weighted


class Mirrored:
    """One process, several devices of it; `devices` as TensorFlow names them, or None for all GPUs."""

    def __init__(self, devices: Sequence[str] | None = None) -> None:
        self._strategy = tf.distribute.MirroredStrategy(devices)
        self.replicas: int = self._strategy.num_replicas_in_sync

    def scope(self) -> AbstractContextManager[Any]:
        """Variables made in here exist once on every device."""
        scope: AbstractContextManager[Any] = self._strategy.scope()
        return scope

    def batches(self, dataset: Dataset, epoch: int, first: int) -> Batches:
        """All of them: a step divides its batch."""
        return dataset(epoch, first, Shard())

    def build(self, update: Update, totals: Totals, _signature: Sequence[tf.TensorSpec]) -> Step:
        """An update as a step that divides the batch among the devices."""
        strategy = self._strategy

        def share(*tensors: tf.Tensor) -> None:
            totals.add(update(*tensors), tensors[-1])

        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
        def everywhere(*shares: Any) -> None:
            strategy.run(share, args=shares)

        def step(*batch: Any) -> None:
            *tensors, number = batch
            shares = [weighted(*parts) for parts in zip(*map(self._parts, tensors), strict=True)]
            everywhere(*(self._on_devices(parts) for parts in zip(*shares, strict=True)), tf.constant(number, tf.int64))

        return step

    def schedule(self, step: Step, batch: tuple[Any, ...], number: int) -> None:
        """Run the step now."""
        step(*batch, number)

    def join(self) -> None:
        """Every step was applied when `schedule` returned."""

    def _parts(self, tensor: tf.Tensor) -> list[tf.Tensor]:
        """A tensor [n, …] in parts as equal as can be, one a device; a part may be empty."""
        whole, more = divmod(int(tensor.shape[0]), self.replicas)
        return list(tf.split(tensor, [whole + (i < more) for i in range(self.replicas)]))

    def _on_devices(self, parts: Sequence[tf.Tensor]) -> Any:
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )
