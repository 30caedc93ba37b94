"""Weights on parameter servers: the chief hands out steps, workers run them, each on a batch of its own.

Steps are asynchronous: an update is computed with weights that others change meanwhile. Every batch of an epoch is
trained once, by whichever worker is free; its totals are added up here, when its step has ended, so they are exact.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import count
from typing import Any

import numpy as np
import tensorflow as tf
from fovea_api.contract.cluster_spec import ClusterSpec
from keras.src.backend.tensorflow.core import Variable

from fovea_trainers.errors import TrainerError
from fovea_trainers.runtime import remote, rendezvous, server
from fovea_trainers.runtime.graph import traced
from fovea_trainers.runtime.replicas import on_replicas
from fovea_trainers.runtime.strategy import Batches, Dataset, Single, Step, Update
from fovea_trainers.runtime.totals import Kind, Totals, over_devices
from fovea_trainers.runtime.watchdog import Watchdog

AHEAD = 2
"""Steps per worker that are handed out before the first of them has ended: one that runs, and one that follows at once."""
ALL = -1
"""In the place of the number of a part: the whole batch."""
_RELEASE_SECONDS = 5.0
_ASK_SECONDS = 1.0
_LOST_SECONDS = 0.2
"""Between two looks for the result of a step whose worker has died with the first one."""


class ParameterServer(Single):
    """The chief's side; the other one is server.py."""

    def __init__(self, spec: ClusterSpec, peer_seconds: float, *, patient: bool = True) -> None:
        """Waits until all workers and servers listen; `peer_seconds`: for so long they may not answer afterwards.

        `patient`: a worker that has died is waited for without end, as long as there is another one.
        """
        _require(spec)
        rendezvous.wait_for(rendezvous.others(spec))
        _count_exactly()
        cluster = tf.train.ClusterSpec({role: list(addresses) for role, addresses in spec.cluster.items()})
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            cluster, task_type="chief", task_id=0, rpc_layer="grpc"
        )
        self._strategy = rendezvous.connected(lambda: tf.distribute.ParameterServerStrategy(resolver), peer_seconds)
        self._coordinator = tf.distribute.coordinator.ClusterCoordinator(self._strategy)
        self._devices = [
            f"/job:{role}/replica:0/task:{index}/device:CPU:0"
            for role in ("worker", "ps")
            for index in range(len(spec.cluster[role]))
        ]
        self._watchdog = Watchdog(rendezvous.others(spec), peer_seconds, patient=patient)
        self._leaving = _Leaving(self._devices)
        self._ahead = AHEAD * len(spec.cluster["worker"])
        self._under_way = 0
        self._unreadable: set[int] = set()
        self._take: Callable[[int, Any], None]
        self._scheduled: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        for _ in range(self._ahead):
            threading.Thread(target=self._fetch, daemon=True, name="result of a step").start()

    def scope(self) -> AbstractContextManager[Any]:
        """Variables made in here live on the parameter servers."""
        scope: AbstractContextManager[Any] = self._strategy.scope()
        return scope

    def totals(self, kinds: Mapping[str, Kind]) -> Totals:
        """On the chief, which alone changes them."""
        return Totals(kinds)

    def batches(self, _dataset: Dataset, epoch: int, first: int) -> Batches:
        """Their numbers: the worker that runs a step reads its batch."""
        return ((epoch, number) for number in count(first))

    def build(self, update: Update, totals: Totals, signature: Sequence[tf.TensorSpec]) -> Step:
        """An update as a step that any worker may run; it answers with the totals of its batch."""
        replicas = self._strategy.num_replicas_in_sync

        def share(*batch: tf.Tensor) -> dict[str, list[tf.Tensor]]:
            return {name: over_devices(*pair) for name, pair in update(*batch).items()}

        # One tensor each way: TensorFlow sends every tensor by a call of its own.
        @traced(tf.TensorSpec([3], tf.int64), of=update)
        def whole(numbers: tf.Tensor) -> tf.Tensor:
            epoch, place, step = tf.unstack(numbers)
            tensors, unreadable = self._read(signature, epoch, place, tf.constant(ALL, tf.int64))
            found = on_replicas(self._strategy, share, replicas, tensors, step)
            packed = totals.packed(self._strategy.experimental_local_results(found)[0])
            return tf.concat([packed, tf.cast(unreadable, packed.dtype)], axis=0)

        @traced(tf.TensorSpec([totals.size], tf.float64), tf.TensorSpec([], tf.int64))
        def add(packed: tf.Tensor, step: tf.Tensor) -> None:
            totals.add(totals.unpacked(packed), step)

        def take(step: int, result: Any) -> None:
            self._unreadable.update(result[totals.size :].astype(np.int64).tolist())
            add(result[: totals.size], step)

        def schedule(epoch: int, place: int, step: int) -> None:
            self._collect(self._ahead - 1)
            self._hand_out(step, whole, epoch, place, step)

        self._take = take
        return schedule

    def join(self) -> None:
        """Every step has ended, and its totals are added up."""
        self._collect(0)

    def asked_to_stop(self, here: bool) -> bool:
        """Also when a process that holds weights was asked to: they must be saved before it ends."""
        return here or self._leaving.any()

    def all_unreadable(self, here: set[int]) -> set[int]:
        """Those that the workers have found, too."""
        return here | self._unreadable

    def finish(self) -> None:
        """Let workers and servers end; the machine of one that does not hear it is not waited for."""
        threads = [threading.Thread(target=_release, args=(device,), daemon=True) for device in self._devices]
        for thread in threads:
            thread.start()
        until = time.monotonic() + _RELEASE_SECONDS
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _read(
        self, signature: Sequence[tf.TensorSpec], epoch: tf.Tensor, place: tf.Tensor, part: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Within a graph that a worker runs: a batch or a part of it, as `weighted` has it; and what was unreadable."""
        specs = [*signature, tf.TensorSpec([None], tf.float32), tf.TensorSpec([None], tf.int64)]
        tensors = remote.call(server.BATCH, [epoch, place, part], [spec.dtype for spec in specs])
        for tensor, spec in zip(tensors, specs, strict=True):
            tensor.set_shape(spec.shape)
        return tensors[:-1], tensors[-1]

    def _hand_out(self, label: int, function: Any, *numbers: int) -> None:
        self._scheduled.put((label, self._coordinator.schedule(function, args=(tf.constant(numbers, tf.int64),))))
        self._under_way += 1

    def _collect(self, most: int) -> None:
        """Wait until at most `most` steps are under way."""
        while self._under_way > most:
            self._take(*self._next())

    def _next(self) -> tuple[int, Any]:
        """The next result to be there, and its label. Raises what its step has raised, PeerLost for one that hangs."""
        while True:
            try:
                label, result = self._ended.get(timeout=1)
            except queue.Empty:
                self._watchdog.check()
                continue
            self._under_way -= 1
            if isinstance(result, Exception):
                self._give_up()
                raise self._first(result)
            return label, result

    def _first(self, error: Exception) -> Exception:
        """The error of which this one may be a consequence: what a worker says of its data, else the coordinator's first one."""
        try:
            self._coordinator.join()
        except Exception as first:  # noqa: BLE001 - the caller raises it
            return remote.refusal(first) or remote.refusal(error) or first
        return remote.refusal(error) or error

    def _give_up(self) -> None:
        """A step has failed: end what waits for it elsewhere. Here no step waits for another."""

    def _fetch(self) -> None:
        """In a thread: only there it is possible to wait for a result while others look at the clock.

        One for each: a step that has failed is seen at once, also while an older one waits for it.
        """
        while True:
            label, ended = self._scheduled.get()
            try:
                self._ended.put((label, bring(self._coordinator.fetch, ended)))
            except Exception as error:  # noqa: BLE001 - the loop raises it
                self._ended.put((label, error))


def bring(fetch: Callable[[Any], Any], ended: Any) -> Any:
    """The result of a step (a RemoteValue), here. Raises what the coordinator says of a step that has failed.

    A result is still on its worker when the step has ended, and may be lost with it. The coordinator sees that, too, and
    hands the step out once more: what comes of that is the result.
    """
    while True:
        try:
            return fetch(ended)
        except tf.errors.OpError:
            if ended._get_error() is not None:  # noqa: SLF001 - held by a test with TensorFlow's class
                raise
        time.sleep(_LOST_SECONDS)


def _release(device: str) -> None:
    try:
        remote.ask(device, server.RELEASE, [tf.bool])
    except tf.errors.OpError as error:
        # It may end before its answer is sent; one that has not heard it ends when this process does.
        del error


class _Leaving:
    """Processes that were asked to stop, and that need the chief to save first: each is asked by a thread."""

    def __init__(self, devices: Sequence[str]) -> None:
        self._found: dict[str, bool] = dict.fromkeys(devices, False)
        for device in devices:
            threading.Thread(target=self._ask, args=(device,), daemon=True, name=f"ask {device}").start()

    def any(self) -> bool:
        """Whether there is one."""
        return any(self._found.values())

    def _ask(self, device: str) -> None:
        while True:
            try:
                self._found[device] = bool(remote.ask(device, server.STOPS, [tf.bool])[0])
            except tf.errors.OpError:
                self._found[device] = False  # it has ended, or begins
            time.sleep(_ASK_SECONDS)


def _require(spec: ClusterSpec) -> None:
    """Raises TrainerError for a cluster that TensorFlow's strategy does not take."""
    for role in ("chief", "worker", "ps"):
        if not spec.cluster.get(role):
            raise TrainerError(
                f"TF_CONFIG: a cluster with parameter servers needs a {role}; add its address to cluster"
            )
    if len(spec.cluster["chief"]) > 1:
        raise TrainerError(f"TF_CONFIG: cluster.chief has {len(spec.cluster['chief'])} addresses, one is possible")


def _count_exactly() -> None:
    """Keras adds to a variable by reading and assigning it: between the two, another worker's addition is lost.

    `optimizer.iterations` counts so, which Adam's correction reads.
    """

    def assign_add(self: Variable, value: Any) -> Any:
        return self._value.assign_add(tf.cast(value, self._value.dtype))

    def assign_sub(self: Variable, value: Any) -> Any:
        return self._value.assign_sub(tf.cast(value, self._value.dtype))

    Variable.assign_add, Variable.assign_sub = assign_add, assign_sub
