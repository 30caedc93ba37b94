"""Where steps run and where batches are read. The loop schedules steps and joins before it saves.

`Single` runs a step where the loop runs, `Mirrored` (mirrored.py) on every GPU of the machine. A parameter-server strategy
hands it to a coordinator's workers instead: a batch is then what a worker's own data set yields, `schedule` returns at
once, and `join` waits until every scheduled step is applied and its totals are added up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fovea_api.contract.cluster_spec import ClusterSpec

from fovea_trainers.errors import TrainerError

if TYPE_CHECKING:
    import tensorflow as tf

    from fovea_trainers.runtime.totals import Total, Totals


@dataclass(frozen=True)
class Shard:
    """The batches of an epoch that a process reads: of those with the numbers first, first + 1, … every `count`th."""

    index: int = 0
    count: int = 1


Batches = Iterable[tuple[Any, ...]]
"""Batches as tuples of tensors [n, …]; n may differ from batch to batch, and be 0."""
Dataset = Callable[[int, int, Shard], Batches]
"""(epoch, first batch, shard) -> the epoch's batches from there on, in an order that depends on nothing else."""
Update = Callable[..., Mapping[str, "Total"]]
"""(*tensors of a batch, weights float32 [n], number of the step) -> the totals of the batch, after one update."""
Step = Callable[..., None]
"""(*tensors of a batch, number of the step)."""


class Strategy(Protocol):
    """Places variables, reads batches and runs steps."""

    def scope(self) -> AbstractContextManager[Any]:
        """Variables are made in here."""

    def batches(self, dataset: Dataset, epoch: int, first: int) -> Batches:
        """What `schedule` takes, one a step, from batch `first` of an epoch on."""

    def build(self, update: Update, totals: Totals, signature: Sequence[tf.TensorSpec]) -> Step:
        """An update, written for one device, as a step that adds up its totals.

        `signature` describes the tensors of a batch [n, …]. The n that an update sees is never 0: where a device has no
        example, it gets one of zeros, with weight 0 instead of 1.
        """

    def schedule(self, step: Step, batch: tuple[Any, ...], number: int) -> None:
        """Run step `number` on a batch, now or soon."""

    def join(self) -> None:
        """Return when every scheduled step is applied."""


class Single:
    """One process, its own devices."""

    def scope(self) -> AbstractContextManager[Any]:
        """No placement of its own."""
        return nullcontext()

    def batches(self, dataset: Dataset, epoch: int, first: int) -> Batches:
        """All of them."""
        return dataset(epoch, first, Shard())

    def build(self, update: Update, totals: Totals, signature: Sequence[tf.TensorSpec]) -> Step:
        """One graph for batches of any size."""
        import tensorflow as tf

        from fovea_trainers.runtime.graph import traced
        from fovea_trainers.runtime.weights import weighted

        @traced(*signature, tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int64))
        def whole(*tensors: tf.Tensor) -> None:
            totals.add(update(*tensors), tensors[-1])

        def step(*batch: Any) -> None:
            *tensors, number = batch
            whole(*weighted(*tensors), number)

        return step

    def schedule(self, step: Step, batch: tuple[Any, ...], number: int) -> None:
        """Run the step now."""
        step(*batch, number)

    def join(self) -> None:
        """Every step was applied when `schedule` returned."""


def select(spec: ClusterSpec | None, gpus: int = 0) -> Strategy:
    """The strategy for a cluster and the number of GPUs that TensorFlow sees.

    Raises TrainerError for a cluster of several tasks: recipes train in one process.
    """
    if spec is not None and spec.tasks > 1:
        raise TrainerError(
            f"TF_CONFIG names {spec.tasks} tasks, but recipes train in one process: set distribution: Single"
        )
    if gpus > 1:
        from fovea_trainers.runtime.mirrored import Mirrored

        return Mirrored()
    return Single()
