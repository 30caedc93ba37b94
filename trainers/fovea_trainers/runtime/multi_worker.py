"""Several machines that hold all weights each, and take their share of each batch: what Mirrored is on one machine.

Every process runs the recipe and the loop, at the same step. What a process alone may decide, the chief decides for all:
where a run is resumed, what validation has found. A stop is agreed on with the sums of a step. Only the chief evaluates,
saves, reports and exports.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np
import tensorflow as tf
from fovea_api.contract.cluster_spec import ClusterSpec
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.eager import context

from fovea_trainers.errors import Interrupted, Released
from fovea_trainers.runtime import rendezvous
from fovea_trainers.runtime.graph import traced
from fovea_trainers.runtime.replicas import on_replicas
from fovea_trainers.runtime.strategy import Batches, Dataset, Shard, Single, Step, Update
from fovea_trainers.runtime.totals import Totals, over_devices
from fovea_trainers.runtime.watchdog import Watchdog
from fovea_trainers.runtime.weights import weighted

Array = np.ndarray[Any, Any]
_LATER_SECONDS = 60
"""The watchdog needs some seconds more than its limit: TensorFlow's own end of the process, which names nobody, comes after it."""
LAG = 1
"""A stop is read from the sums of the step before the last one: reading those of the last would wait for it."""


class MultiWorker(Single):
    """One of the processes; each may have several GPUs."""

    def __init__(self, spec: ClusterSpec, peer_seconds: float, gpus: int) -> None:
        """Waits for all others; `peer_seconds`: for so long one may not answer before the rest give up."""
        members = [(role, index) for role in ("chief", "worker") for index in range(len(spec.cluster.get(role, ())))]
        self._shard = Shard(index=members.index((spec.role, spec.index)), count=len(members))
        self._leads = self._shard.index == 0
        self._replicas = max(1, gpus)
        self._here = False
        self._stops: deque[tf.Tensor] = deque()
        self._watch_each_other(spec, peer_seconds)
        rendezvous.meet(spec)
        resolver = _resolver(spec, gpus)
        self._strategy = rendezvous.connected(lambda: tf.distribute.MultiWorkerMirroredStrategy(resolver), peer_seconds)
        # Sums with one that was killed raise an error; those with one that left in good order, by an error of its own, wait.
        Watchdog(rendezvous.others(spec), peer_seconds, patient=False, guards_ends=True)
        self._sums: dict[tuple[Any, int], Callable[[tf.Tensor], tf.Tensor]] = {}

    def scope(self) -> AbstractContextManager[Any]:
        """Variables made in here exist in every process, and begin with the chief's values."""
        scope: AbstractContextManager[Any] = self._strategy.scope()
        return scope

    def batches(self, dataset: Dataset, epoch: int, first: int) -> Batches:
        """This process's share of each batch; it may be empty."""
        return dataset(epoch, first, self._shard)

    def build(self, update: Update, totals: Totals, signature: Sequence[tf.TensorSpec]) -> Step:
        """An update of all processes together."""

        def share(*tensors: tf.Tensor) -> tf.Tensor:
            *batch, asked, number = tensors
            totals.add(update(*batch, number), number)
            return over_devices(asked[0])[0]

        flag, step = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int64)

        @traced(*signature, tf.TensorSpec([None], tf.float32), flag, step, of=update)
        def everywhere(*tensors: tf.Tensor) -> tf.Tensor:
            asked = on_replicas(self._strategy, share, self._replicas, tensors[:-1], tensors[-1])
            return self._strategy.experimental_local_results(asked)[0]

        def schedule(*batch: Any) -> None:
            *tensors, number = batch
            asked = tf.constant([int(self._here)] + [0] * (self._replicas - 1), tf.int32)
            self._stops.append(everywhere(*weighted(*tensors), asked, number))

        return schedule

    def asked_to_stop(self, here: bool) -> bool:
        """Two steps after any of the processes was asked; all see it at the same step."""
        self._here = here
        return len(self._stops) > LAG and bool(self._stops.popleft())

    def from_chief(self, decide: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """By two sums, to which only the chief adds: of the answer's length, and of its bytes. All raise its Interrupted."""
        text = b""
        if self._leads:
            with suppress(Interrupted):
                text = json.dumps(decide()).encode()
        (size,) = self._sum(np.array([len(text)], np.int32))
        if not size:
            raise Interrupted("the chief was asked to stop")
        answer = self._sum(np.frombuffer(text, np.uint8).astype(np.int32) if self._leads else np.zeros(size, np.int32))
        found: dict[str, Any] = json.loads(answer.astype(np.uint8).tobytes())
        return found

    def take_from_chief(self, variables: Iterable[tf.Variable]) -> None:
        """Bit by bit: sums of whole numbers are exact."""
        for variable in variables:
            value = variable.read_value().numpy()
            bits = np.ascontiguousarray(value).reshape(-1).view(_whole(value.dtype))
            wide = bits.astype(np.int32) if bits.itemsize < 4 else bits
            sent = self._sum(wide if self._leads else np.zeros_like(wide)).astype(bits.dtype)
            if not self._leads:
                variable.assign(sent.view(value.dtype).reshape(value.shape))

    def all_unreadable(self, here: set[int]) -> set[int]:
        """Each process adds its own, in a place of its own."""
        index, count = self._shard.index, self._shard.count
        sizes = self._sum(np.array([len(here) * (place == index) for place in range(count)], np.int32))
        if not sizes.any():
            return here
        everything = np.zeros(sizes.sum(), np.int64)
        begin = sizes[:index].sum()
        everything[begin : begin + len(here)] = sorted(here)
        return set(self._sum(everything).tolist())

    def leave_to_chief(self) -> None:
        """The others wait until the chief has finished: its evaluation and export need them no more, but TensorFlow does."""
        if not self._leads:
            self.finish()
            raise Released("the chief is done")

    def finish(self) -> None:
        """All processes get here, or one has failed."""
        self._sum(np.zeros(1, np.int32))

    def _sum(self, mine: Array) -> Array:
        room = 1 << max(6, (len(mine) - 1).bit_length())  # few sizes: each has a graph of its own
        added = self._sums.setdefault((mine.dtype, room), tf.function(self._sum_everywhere, autograph=False))
        summed: Array = added(tf.constant(np.pad(mine, (0, room - len(mine))))).numpy()
        return summed[: len(mine)]

    def _sum_everywhere(self, mine: tf.Tensor) -> tf.Tensor:
        def share() -> tf.Tensor:
            place = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
            own = tf.identity(mine) if place % self._replicas == 0 else tf.zeros_like(mine)  # on this device
            return over_devices(own)[0]

        return self._strategy.experimental_local_results(self._strategy.run(share))[0]

    @staticmethod
    def _watch_each_other(spec: ClusterSpec, peer_seconds: float) -> None:
        """TensorFlow's coordination service does, too; the watchdog comes before it, and names the silent one."""
        jobs = [
            coordination_config_pb2.CoordinatedJob(name=role, num_tasks=len(addresses))
            for role, addresses in spec.cluster.items()
        ]
        leader = "chief" if "chief" in spec.cluster else "worker"
        context.context().configure_coordination_service(
            service_type="standalone",
            service_leader=f"/job:{leader}/replica:0/task:0",
            heartbeat_timeout_in_ms=round(1000 * (2 * peer_seconds + _LATER_SECONDS)),
            shutdown_barrier_timeout_in_ms=1000,
            coordinated_jobs=jobs,
        )


def _resolver(spec: ClusterSpec, gpus: int) -> Any:
    cluster = tf.train.ClusterSpec({role: list(addresses) for role, addresses in spec.cluster.items()})
    accelerators = {"GPU": gpus} if gpus else None
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, task_type=spec.role, task_id=spec.index, rpc_layer="grpc", num_accelerators=accelerators
    )


def _whole(dtype: Any) -> Any:
    return {4: np.int32, 8: np.int64}.get(dtype.itemsize, np.uint8)
