"""Where steps run. The loop schedules steps and joins before it saves; it never asks where the variables live.

`Single` runs a step where the loop runs, `Mirrored` (mirrored.py) on every GPU of the machine.
A parameter-server strategy hands it to a coordinator's workers instead:
`schedule` then returns at once, and `join` waits until every scheduled step is applied.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from fovea_api.contract.cluster_spec import ClusterSpec
from fovea_trainers.errors import TrainerError

if TYPE_CHECKING:
    import tensorflow as tf

Step = Callable[..., None]


class Strategy(Protocol):
    """Places variables and runs steps."""

    def scope(self) -> AbstractContextManager[Any]:
        """Variables are made in here."""

    def build(self, update: Callable[..., None], *signature: tf.TensorSpec) -> Step:
        """An update, written for one device, as a step of (*tensors of a batch [n, …], number of the step); n may be 0.

        The update gets (*tensors, weights float32 [n], number of the step), of which `signature` describes all. Its n is
        never 0: where a device has no example, it gets one of zeros, with weight 0 instead of 1.
        """

    def schedule(self, step: Step, batch: tuple[Any, ...]) -> None:
        """Run one step on a batch, now or soon."""

    def join(self) -> None:
        """Return when every scheduled step is applied."""


class Single:
    """One process, its own devices."""

    def scope(self) -> AbstractContextManager[Any]:
        """No placement of its own."""
        return nullcontext()

    def build(self, update: Callable[..., None], *signature: tf.TensorSpec) -> Step:
        """One graph for batches of any size."""
        from fovea_trainers.runtime.graph import traced
        from fovea_trainers.runtime.weights import weighted

        traced_update = traced(*signature)(update)

        def step(*batch: Any) -> None:
            *tensors, number = batch
            traced_update(*weighted(*tensors), number)

        return step

    def schedule(self, step: Step, batch: tuple[Any, ...]) -> None:
        """Run the step now."""
        step(*batch)

    def join(self) -> None:
        """Every step was applied when `schedule` returned."""


def select(tf_config: str | None, gpus: int = 0) -> Strategy:
    """The strategy for the value of TF_CONFIG and the number of GPUs that TensorFlow sees.

    Raises TrainerError for a cluster: recipes train in one process.
    """
    try:
        spec = ClusterSpec.from_env(tf_config)
    except ValueError as error:
        raise TrainerError(f"environment variable TF_CONFIG: {error}; unset it to train in one process") from error
    tasks = sum(len(addresses) for addresses in spec.cluster.values()) if spec else 1
    if tasks > 1:
        raise TrainerError(f"TF_CONFIG names {tasks} tasks, but recipes train in one process: set distribution: Single")
    if gpus > 1:
        from fovea_trainers.runtime.mirrored import Mirrored

        return Mirrored()
    return Single()
