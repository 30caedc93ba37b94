"""Learning rates are a function of the step that the loop counts, whatever Keras has counted."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from fovea_trainers.runtime import optimizers
from fovea_trainers.runtime.evaluation import Evaluator, Sums
from fovea_trainers.runtime.totals import Totals, mean, total
from fovea_trainers.runtime.training import variables_of


def network() -> keras.Model:
    """One weight, 0."""
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    return keras.Sequential([keras.layers.Input((1,)), layer])


def after(optimizer: optimizers.Optimizer, model: keras.Model, *steps: int) -> float:
    """The weight after updates with these numbers, each by a gradient of 1."""
    update = tf.function(lambda step: optimizer.apply([tf.ones([1, 1])], step))
    for step in steps:
        update(tf.constant(step, tf.int64))
    return float(model.trainable_variables[0].numpy().squeeze())


def test_each_update_has_the_rate_of_its_step_and_a_checkpoint_holds_none():
    model = network()
    optimizer = optimizers.make("sgd", model.trainable_variables, optimizers.inverse_time(1.0, 1.0))
    assert after(optimizer, model, 1, 2, 3) == pytest.approx(-(1 + 1 / 2 + 1 / 3))
    assert after(optimizer, model, 100) == pytest.approx(-(1 + 1 / 2 + 1 / 3 + 1 / 100)), (
        "a step that Keras did not count"
    )
    assert len(optimizer.variables) == 1, "the iterations: no variable of the rate"


def test_two_optimizers_have_rates_of_their_own():
    wide, deep = network(), network()
    ftrl = optimizers.make("ftrl", wide.trainable_variables, lambda step: tf.cast(step + 1, tf.float32))
    sgd = optimizers.make("sgd", deep.trainable_variables, lambda _step: tf.constant(0.5), momentum=0.9)
    assert after(ftrl, wide, 1) != -0.5
    assert after(sgd, deep, 1) == -0.5
    assert (ftrl.state, sgd.state) == ("ftrl", "sgd with momentum")


@pytest.mark.parametrize("name", optimizers.NAMES)
def test_every_optimizer_asks_for_the_rate(name):
    moved = []
    for rate in (0.001, 1.0):
        model = network()
        moved.append(-after(optimizers.make(name, model.trainable_variables, lambda _: tf.constant(rate)), model, 1, 2))  # noqa: B023
    assert 0 < 100 * moved[0] < moved[1]


def test_metrics_of_a_set_are_ratios_or_what_the_recipe_makes_of_the_totals():
    def evaluate(x):
        return {"loss": total(x), "right": total(tf.cast(x > 1, tf.int32)), "table": (tf.stack([x, x]), tf.size(x))}

    batches = [(tf.constant([1.0, 2.0]),), (tf.constant([6.0, 3.0]),)]
    signature = [tf.TensorSpec([2])]
    found = Evaluator(evaluate, signature, Sums.ratios)(batches)
    assert found.metrics == {"loss": 3.0, "right": 0.75}
    assert found.examples == 4
    assert np.array_equal(found.totals.sums["table"], [[7, 5], [7, 5]])
    own = Evaluator(evaluate, signature, lambda sums: {"loss": 0.0, "most": float(sums.sums["table"].max())})
    assert own(batches).prefixed("val_") == {"val_loss": 0.0, "val_most": 7.0}
    with pytest.raises(ValueError, match="an evaluation has the metrics accuracy: one must have the name 'loss'"):
        Evaluator(evaluate, signature, lambda _sums: {"accuracy": 1.0})(batches)


def test_a_mean_is_by_the_sum_of_the_weights_however_small_and_0_without_any():
    losses = tf.constant([2.0, 4.0])
    assert float(mean(losses, tf.constant([0.25, 0.25]))) == 3.0
    assert float(mean(losses, tf.zeros([2]))) == 0.0


def test_whole_numbers_are_counted_exactly_also_beyond_what_float32_holds():
    totals = Totals({"loss": tf.float32, "pixels": tf.int64})
    many = 2**24 + 1
    one = tf.constant(1, tf.int64)
    totals.add({"loss": (tf.constant(0.5), one), "pixels": (tf.constant(many, tf.int64), one)}, one)
    totals.add({"loss": (tf.constant(0.5), one), "pixels": (tf.constant(0, tf.int64), one * many)}, one)
    assert totals.read() == {"loss": 0.5, "pixels": many / (1 + many)}


def test_what_is_trained_are_all_variables_of_all_networks_seeds_included():
    dropping = keras.Sequential(
        [keras.layers.Input((1,)), keras.layers.Dropout(0.5), keras.layers.BatchNormalization()]
    )
    assert len(variables_of(network(), dropping)) == 1 + 1 + 4
