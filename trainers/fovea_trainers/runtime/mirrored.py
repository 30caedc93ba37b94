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

from fovea_trainers.runtime.graph import traced
from fovea_trainers.runtime.replicas import on_replicas
from fovea_trainers.runtime.strategy import Single, Step, Update
from fovea_trainers.runtime.totals import Totals
from fovea_trainers.runtime.weights import weighted


class Mirrored(Single):
    """One process, several devices of it; `devices` as TensorFlow names them, or None for all GPUs."""

    def __init__(self, devices: Sequence[str] | None = None) -> None:
        self._strategy = tf.distribute.MirroredStrategy(devices)
        self.replicas: int = self._strategy.num_replicas_in_sync

    def scope(self) -> AbstractContextManager[Any]:
        """Variables made in here exist once on every device."""
        scope: AbstractContextManager[Any] = self._strategy.scope()
        return scope

    def build(self, update: Update, totals: Totals, signature: Sequence[tf.TensorSpec]) -> Step:
        """An update as a step that divides the batch among the devices: one graph for batches of any size."""

        def share(*tensors: tf.Tensor) -> None:
            totals.add(update(*tensors), tensors[-1])

        @traced(*signature, tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int64), of=update)
        def everywhere(*tensors: tf.Tensor) -> None:
            on_replicas(self._strategy, share, self.replicas, tensors[:-1], tensors[-1])

        def step(*batch: Any) -> None:
            *tensors, number = batch
            everywhere(*weighted(*tensors), number)

        return step
