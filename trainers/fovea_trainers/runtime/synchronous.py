"""Parameter servers, synchronous: the workers share each batch, and its update is made once, with the gradients of all.

So the weights are those of a single process, but for rounding. A step waits for the slowest worker, and for one that
has died until it is back. Gradients go through the chief: a model whose weights are large for its network is trained
faster by MultiWorkerMirrored.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from fovea_api.contract.cluster_spec import ClusterSpec

from fovea_trainers.errors import TrainerError
from fovea_trainers.runtime import remote, server
from fovea_trainers.runtime.exchange import exchanging
from fovea_trainers.runtime.graph import traced
from fovea_trainers.runtime.optimizers import Optimizer
from fovea_trainers.runtime.parameter_server import ParameterServer
from fovea_trainers.runtime.strategy import Step, Update
from fovea_trainers.runtime.totals import Total, Totals

_MEETING = "/job:ps/replica:0/task:0/device:CPU:0"
"""Where the workers add up the counts of a step."""


class Synchronous(ParameterServer):
    """The chief's side; the other one is server.py."""

    def __init__(self, spec: ClusterSpec, peer_seconds: float) -> None:
        """As ParameterServer. Raises TrainerError for workers with several GPUs."""
        super().__init__(spec, peer_seconds, patient=False)
        if self._strategy.num_replicas_in_sync > 1:
            raise TrainerError(
                "synchronous parameter servers take workers with one GPU: use distribution MultiWorkerMirrored, or one GPU each"
            )
        self._workers = len(spec.cluster["worker"])

    def build(self, update: Update, totals: Totals, signature: Sequence[tf.TensorSpec]) -> Step:
        """An update as one step on each worker, which gives the gradients of its share, and one here with their sum."""
        meeting = _Meeting(self._workers)

        def share(*batch: tf.Tensor) -> tuple[dict[str, Total], list[list[tf.Tensor]]]:
            return dict(update(*batch)), meeting.gradients

        @traced(tf.TensorSpec([4], tf.int64), of=update)
        def part(numbers: tf.Tensor) -> Any:
            epoch, place, step, index = tf.unstack(numbers)
            tensors, unreadable = self._read(signature, epoch, place, index)
            with exchanging(meeting.begin(step, index)):
                found, gradients = self._strategy.run(share, args=(*tensors, step))
            return found, gradients, unreadable

        @tf.function(autograph=False)  # type: ignore[untyped-decorator]
        def apply(gradients: list[list[tf.Tensor]], step: tf.Tensor) -> None:
            for optimizer, mine in zip(meeting.optimizers, gradients, strict=True):
                optimizer.apply(mine, step)

        def schedule(epoch: int, place: int, step: int) -> None:
            for index in range(self._workers):
                self._hand_out(index, part, epoch, place, step, index)
            found, gradients = self._sum_of_parts()
            now = tf.constant(step, tf.int64)
            apply(gradients, now)
            totals.add(found, now)

        return schedule

    def _sum_of_parts(self) -> tuple[Mapping[str, Total], list[list[tf.Tensor]]]:
        ended = dict(self._next() for _ in range(self._workers))
        parts = [ended[index] for index in range(self._workers)]  # sums are rounded in one order
        for _, _, unreadable in parts:
            self._unreadable.update(unreadable.tolist())
        found = {
            name: (tf.add_n([of[name][0] for of, _, _ in parts]), tf.add_n([of[name][1] for of, _, _ in parts]))
            for name in parts[0][0]
        }
        gradients = [
            [tf.add_n(list(same)) for same in zip(*of_all, strict=True)]
            for of_all in zip(*(gradients for _, gradients, _ in parts), strict=True)
        ]
        return found, gradients

    def _give_up(self) -> None:
        """The other workers wait for the part that has failed, and the coordinator for them."""
        threading.Thread(target=_tell, daemon=True, name="give up").start()


def _tell() -> None:
    try:
        remote.ask(_MEETING, server.GIVE_UP, [tf.bool])
    except tf.errors.OpError as error:
        del error  # the server has ended: then nobody waits in it


class _Meeting:
    """The exchange of an update: sums by a function of the first parameter server, which waits for all shares."""

    def __init__(self, workers: int) -> None:
        self.count = workers
        self.index: tf.Tensor
        self._step: tf.Tensor
        self._place = 0
        self.optimizers: list[Optimizer] = []
        self.gradients: list[list[tf.Tensor]] = []

    def begin(self, step: tf.Tensor, index: tf.Tensor) -> "_Meeting":
        """A graph is traced, with these tensors."""
        self.index, self._step, self._place = index, step, 0
        self.optimizers, self.gradients = [], []
        return self

    def sums(self, shares: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """One number for each place of the graph that asks tells the server which sums belong together."""
        self._place += 1
        with tf.device(_MEETING):
            wide = tf.concat([tf.reshape(tf.cast(share, tf.float64), [-1]) for share in shares], axis=0)
            key = tf.stack([self._step, tf.constant(self._place, tf.int64), self.index])
            (summed,) = remote.call(server.SUM, [key, tf.constant(self.count, tf.int64), wide], [tf.float64])
        parts = tf.split(summed, [tf.size(share) for share in shares])
        return [
            tf.ensure_shape(tf.reshape(tf.cast(part, share.dtype), tf.shape(share)), share.shape)
            for part, share in zip(parts, shares, strict=True)
        ]

    def apply(self, optimizer: Optimizer, gradients: Sequence[tf.Tensor]) -> None:
        """Given to the chief, in the order of the update. Gradients of single rows become whole."""
        self.optimizers.append(optimizer)
        self.gradients.append([tf.convert_to_tensor(gradient) for gradient in gradients])
