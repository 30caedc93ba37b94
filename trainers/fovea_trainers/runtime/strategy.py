"""Where steps run and where batches are read. The loop schedules steps and joins before it saves.

`Single` runs a step where the loop runs, `Mirrored` (mirrored.py) on every GPU of the machine. `ParameterServer`
(parameter_server.py) hands it to workers, which read its batch themselves; a worker has the strategy `Server`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import tensorflow as tf

    from fovea_trainers.runtime.totals import Kind, Total, Totals


@dataclass(frozen=True)
class Shard:
    """What a process reads of an epoch: every `every`th batch, and of its examples the numbers index, index + count, …"""

    index: int = 0
    count: int = 1
    every: int = 1


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

    def totals(self, kinds: Mapping[str, Kind]) -> Totals:
        """The running totals, where steps can add to them."""

    def supply(self, dataset: Dataset, unreadable: set[int]) -> None:
        """Return at once in a process in which the loop runs; others give batches to those that run the steps.

        These end by Released, PeerLost or Interrupted.
        """

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

    def asked_to_stop(self, here: bool) -> bool:
        """Whether to save and stop: `here` says whether this process was asked to. All processes get the same answer."""

    def from_chief(self, decide: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What the chief finds by `decide`, a JSON object, in all processes in which the loop runs; only the chief calls it."""

    def take_from_chief(self, variables: Iterable[tf.Variable]) -> None:
        """Give variables the values that they have in the chief."""

    def leave_to_chief(self) -> None:
        """Training is over, or there is none: return in the chief. In others wait until it is done, and raise Released."""

    def all_unreadable(self, here: set[int]) -> set[int]:
        """The unreadable examples that this process has found, and those that others have found."""

    def finish(self) -> None:
        """The recipe is done: let the other processes end."""


class Single:
    """One process, one device of it, which holds and does everything."""

    _jit = False

    def __init__(self, *, jit: bool = False) -> None:
        """`jit`: XLA compiles the step, anew for each size of a batch."""
        self._jit = jit

    def scope(self) -> AbstractContextManager[Any]:
        """No placement of its own."""
        return nullcontext()

    def totals(self, kinds: Mapping[str, Kind]) -> Totals:
        """Where the weights are."""
        from fovea_trainers.runtime.totals import Totals

        with self.scope():
            return Totals(kinds)

    def supply(self, dataset: Dataset, unreadable: set[int]) -> None:
        """The loop runs here."""

    def batches(self, dataset: Dataset, epoch: int, first: int) -> Batches:
        """All of them."""
        return dataset(epoch, first, Shard())

    def build(self, update: Update, totals: Totals, signature: Sequence[tf.TensorSpec]) -> Step:
        """One graph for batches of any size."""
        import tensorflow as tf

        from fovea_trainers.runtime.graph import traced
        from fovea_trainers.runtime.weights import weighted

        @traced(*signature, tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int64), jit=self._jit, of=update)
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

    def asked_to_stop(self, here: bool) -> bool:
        """Nobody else is asked."""
        return here

    def from_chief(self, decide: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """This is the chief."""
        return decide()

    def take_from_chief(self, variables: Iterable[tf.Variable]) -> None:
        """They have them."""

    def leave_to_chief(self) -> None:
        """This is the chief."""

    def all_unreadable(self, here: set[int]) -> set[int]:
        """Nobody else reads."""
        return here

    def finish(self) -> None:
        """Nobody waits."""
