"""What a worker and a ps of a parameter-server job do: TensorFlow's server runs what the chief sends, until the chief ends.

A ps does nothing else: it reads no data. A worker has run the recipe up to its training, and gives the steps that
run here their batches.
"""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf
from fovea_api.contract.cluster_spec import ClusterSpec

from fovea_trainers.errors import Interrupted, PeerLost, Released, TrainerError
from fovea_trainers.runtime import remote
from fovea_trainers.runtime.interruption import Interruption
from fovea_trainers.runtime.lifeline import Lifeline
from fovea_trainers.runtime.progress import OwnSteps, say
from fovea_trainers.runtime.strategy import Dataset, Shard, Single
from fovea_trainers.runtime.weights import weighted

BATCH, STOPS, RELEASE, SUM, GIVE_UP = "fovea-batch", "fovea-stops", "fovea-release", "fovea-sum", "fovea-give-up"
"""Names of the functions that the chief calls, or a step."""
LEAVING_SECONDS = 20.0
"""A worker that is asked to stop waits so long for the chief, which may have been asked, too, and saves."""
_THREADS = 16
"""Beside those in which steps wait for a batch or for each other: these waits need threads to end."""


class Server(Single):
    """The strategy of such a process: its variables stay its own, and its loop waits."""

    def __init__(
        self,
        spec: ClusterSpec,
        interruption: Interruption,
        peer_seconds: float,
        *,
        leaves_alone: bool,
        progress: Path | None = None,
    ) -> None:
        """`peer_seconds`: for so long this process may not answer before the chief gives up.

        `leaves_alone`: the job goes on when this process is asked to stop, so the chief need not save before. `progress`: this
        process's own file of progress, where it has one.
        """
        self._interruption = interruption
        self._leaves_alone = leaves_alone
        self._released = threading.Event()
        self._ready = threading.Event()
        self._batches: _Batches | None = None
        self._steps = OwnSteps(progress)
        self._name = f"{spec.role} {spec.index}"
        self._lifeline = Lifeline(spec.cluster["chief"][0], 2 * peer_seconds)
        remote.offer(BATCH, self._batch)
        remote.offer(STOPS, self._stops)
        remote.offer(RELEASE, self._release)
        sums = Sums()
        remote.offer(SUM, sums.add)
        remote.offer(GIVE_UP, sums.give_up)
        self._workers = len(spec.cluster.get("worker", ()))
        threads = _THREADS + 2 * self._workers
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        self._server = tf.distribute.Server(
            tf.train.ClusterSpec({role: list(addresses) for role, addresses in spec.cluster.items()}),
            job_name=spec.role,
            task_index=spec.index,
            protocol="grpc",
            config=tf.compat.v1.ConfigProto(inter_op_parallelism_threads=threads),
        )

    def supply(self, dataset: Dataset, unreadable: set[int]) -> None:
        """Give batches until the chief ends."""
        self._batches = _Batches(dataset, unreadable, self._workers)
        self._ready.set()
        self.serve()

    def leave_to_chief(self) -> None:
        """Nothing is trained here: wait until the chief is done."""
        self.serve()

    def serve(self) -> NoReturn:
        """Raise Released once the chief is done, PeerLost when it has died, Interrupted when asked to leave."""
        say(f"{self._name} serves the chief")
        self._interruption.saves = True
        leaves: float | None = None
        while not self._released.is_set():
            if self._lifeline.lost():
                raise PeerLost(
                    f"{self._name}: the chief has ended without a word; training goes on when all start again"
                )
            if self._lifeline.replaced():
                raise PeerLost(f"{self._name}: the chief that is there does not ask for it: a newer attempt has begun")
            if self._interruption.requested and self._leaves_alone:
                leaves = leaves or time.monotonic() + LEAVING_SECONDS
                if time.monotonic() > leaves:
                    raise Interrupted(f"{self._name} was asked to stop; the others go on without it")
        raise Released(f"{self._name}: the chief is done")

    def _batch(self, *asked: Any) -> list[Any]:
        self._ready.wait()
        if self._batches is None:
            raise TrainerError(f"{self._name} has no batches to give")
        with remote.refusing(self._name):
            taken = self._batches.take(*map(int, asked))
        self._steps.one_more()
        return taken

    def _stops(self) -> list[Any]:
        self._lifeline.asked()
        return [np.bool_(self._interruption.requested and not self._leaves_alone)]

    def _release(self) -> list[Any]:
        self._released.set()
        return [np.bool_(True)]


class _Batches:
    """Batches by their numbers, read ahead as if this worker got every `workers`th."""

    def __init__(self, dataset: Dataset, unreadable: set[int], workers: int) -> None:
        self._dataset = dataset
        self._unreadable = unreadable
        self._said: set[int] = set()
        self._workers = workers
        self._lock = threading.Lock()
        self._expected: tuple[int, int, Shard] | None = None
        self._stream: Iterator[tuple[Any, ...]] = iter(())

    def take(self, epoch: int, number: int, part: int) -> list[Any]:
        """The tensors of a batch and its weights, as `weighted` has them; then what was newly found to be unreadable.

        Of all workers' parts of a batch the one with a number; a negative one: the whole batch.
        """
        shard = Shard(every=self._workers) if part < 0 else Shard(index=part, count=self._workers)
        with self._lock:
            if self._expected != (epoch, number, shard):
                self._stream = iter(self._dataset(epoch, number, shard))
            self._expected = None
            try:
                tensors = next(self._stream)
            except StopIteration:
                raise TrainerError(
                    f"epoch {epoch + 1} has no batch {number + 1}, but steps_per_epoch is more: give Training the number "
                    "of batches that `dataset` yields in every epoch, or let `dataset` yield as many"
                ) from None
            self._expected = epoch, number + shard.every, shard
            found = sorted(self._unreadable - self._said)
            self._said.update(found)
        return [*(tensor.numpy() for tensor in weighted(*tensors)), np.array(found, np.int64)]


class Sums:
    """Where the workers' steps wait for each other: each gives its part of some sums, and gets them when all are there."""

    def __init__(self) -> None:
        self._parts: dict[tuple[int, int], dict[int, Any]] = {}
        self._changed = threading.Condition()
        self._given_up = False

    def add(self, key: Any, parts: Any, values: Any) -> list[Any]:
        """`key` is the step, the place in its graph, and the number of the part, of as many as `parts` says.

        A part that comes once more, since its worker has died, takes the place of the first one: it is not added twice.
        """
        step, place, part = map(int, key)
        with self._changed:
            for old in [one for one in self._parts if one[0] < step - 1]:
                del self._parts[old]
            mine = self._parts.setdefault((step, place), {})
            mine[part] = values
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(mine) == int(parts) or self._given_up)
            if len(mine) < int(parts):
                raise TrainerError(f"step {step}: another worker's part has failed")
            return [np.sum([mine[number] for number in sorted(mine)], axis=0)]

    def give_up(self) -> list[Any]:
        """A part has failed, for good: let those that wait for it fail, too."""
        with self._changed:
            self._given_up = True
            self._changed.notify_all()
        return [np.bool_(True)]
