"""Whether what was trained are numbers. A loss does not tell: units that have died hide what became of their weights."""

from collections.abc import Iterable

import tensorflow as tf

from fovea_trainers.errors import NonFiniteLoss
from fovea_trainers.runtime.graph import traced


class Finite:
    """Looks at weights and at what optimizers keep: at the end of each epoch and before each checkpoint.

    An infinite moment of an optimizer counts as well: it makes every later update of its weight 0, so that the weight stays
    a number and learns nothing any more.
    """

    def __init__(self, variables: Iterable[tf.Variable], step: int) -> None:
        """After `step` all are numbers, as far as anybody knows."""
        self._variables = [variable for variable in variables if variable.dtype.is_floating]
        self._step = step

        @traced()  # one call: else each variable of another process takes several
        def look() -> tf.Tensor:
            return tf.stack([_is_finite(variable) for variable in self._variables] or [True])

        self._look = look

    def require(self, step: int) -> None:
        """Raise NonFiniteLoss unless all are numbers after `step`; it names the first variable and the steps in question.

        The devices that hold the variables look; one answer for each variable comes here.
        """
        if step == self._step:  # an epoch has ended here, and its checkpoint follows
            return
        answers = self._look().numpy()
        if not answers.all():
            name = self._variables[int(answers.argmin())].name.removesuffix(":0")
            raise NonFiniteLoss(f"variable {name}", step, first=self._step + 1)
        self._step = step


def _is_finite(variable: tf.Variable) -> tf.Tensor:
    with tf.device(variable.device):
        return tf.reduce_all(tf.math.is_finite(variable.read_value()))
