"""What TensorFlow translates of a function before it makes a graph of it: nothing of Fovea's own, all of a user's recipe."""

import pytest
import tensorflow as tf
from fovea_trainers.runtime.graph import traced
from fovea_trainers.runtime.precision import halved
from fovea_trainers.runtime.strategy import Single
from fovea_trainers.runtime.totals import Totals, total

NUMBERS = tf.TensorSpec([None], tf.float32)


def doubled_if_positive(x):
    if tf.reduce_sum(x) > 0:
        return 2 * x
    return x


def test_an_if_on_a_tensor_may_stand_in_a_function_of_a_user_s():
    ask = traced(NUMBERS)(doubled_if_positive)
    assert ask(tf.constant([1.0, 2.0])).numpy().tolist() == [2, 4]
    assert ask(tf.constant([-1.0])).numpy().tolist() == [-1]


def test_fovea_s_own_functions_are_taken_as_they_are():
    def ours(x):
        return doubled_if_positive(x)

    ours.__module__ = "fovea_trainers.recipes.some"
    with pytest.raises(tf.errors.OperatorNotAllowedInGraphError):
        traced(NUMBERS)(ours)(tf.constant([1.0]))


@pytest.mark.parametrize("mixed", [False, True], ids=["in float32", "in bfloat16"])
def test_so_may_one_in_the_update_of_a_user_s_recipe(mixed):
    """Though functions of Fovea's call it."""

    def update(x, weights, step):
        losses = x
        for _ in tf.range(step):
            losses = doubled_if_positive(losses)
        return {"loss": total(losses, weights)}

    place, totals = Single(), Totals({"loss": tf.float32})
    step = place.build(halved(update) if mixed else update, totals, [NUMBERS])
    place.schedule(step, (tf.constant([1.0, 2.0]),), 2)
    assert totals.sums().sums["loss"] == 12
