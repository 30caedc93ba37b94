"""--mixed-precision and --jit: what is learned stays what it is without them, within a tolerance; so do checkpoints and models."""

import os
import shutil
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf
from fovea_api.contract import environment, exit_codes
from fovea_trainers.errors import TrainerError
from fovea_trainers.runtime import failures, optimizers, precision, totals
from fovea_trainers.runtime.strategy import Single
from fovea_trainers.runtime.totals import Totals
from support import training, warm_trainers
from support.recipe_cases import CASES, Runs, values

LONG = ("--epochs=4", "--no-augment", "--learning-rate=0.02", "--decay=0")
FLAGS = {"mixed": "--mixed-precision", "jit": "--jit"}
LOSS = 0.05
"""By how much a loss may differ, absolute and relative: bfloat16 has 8 bits, XLA sums in another order, and dropout draws other masks."""


TWO_GPUS = """
import sys
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras
from fovea_trainers.main import main
from fovea_trainers.runtime import devices, mirrored

begin, convolve, dtypes = mirrored.Mirrored.__init__, keras.layers.Conv2D.call, set()

def call(self, images):
    seen = convolve(self, images)
    dtypes.add(keras.backend.standardize_dtype(seen.dtype))
    return seen

mirrored.Mirrored.__init__ = lambda self: begin(self, ["CPU:0", "CPU:1"])
devices.gpus = lambda expected: [devices.Gpu("one"), devices.Gpu("two")]
keras.layers.Conv2D.call = call
code = main(sys.argv[1:])
assert dtypes == {"float32", "bfloat16"}, dtypes
sys.exit(code)
"""


def trained(process):
    """A run in a process of its own: what `--jit` does without, op determinism, is on for a whole process or off."""
    said, _ = process.communicate(timeout=300)
    assert process.returncode == exit_codes.OK, said


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training.write_pictures(tmp_path_factory.mktemp("data"), per_class=15)


@pytest.fixture(scope="module")
def plain(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("plain")
    assert training.train(root, data, *LONG) == exit_codes.OK
    return root


RESUMED = pytest.mark.parametrize(
    "way", ["mixed", pytest.param("jit", marks=pytest.mark.wide)], indirect=True, scope="module"
)


@pytest.fixture(scope="module", params=FLAGS)
def way(request):
    return request.param


@pytest.fixture(scope="module")
def run(way, tmp_path_factory, data):
    """A run with the flag that nothing stops."""
    root = tmp_path_factory.mktemp(way)
    trained(training.start(root, data, *LONG, FLAGS[way]))
    return root


@pytest.fixture(scope="module")
def stopped(way, tmp_path_factory, data):
    """One that stops within its second epoch, for tests to go on from a copy of it."""
    root = tmp_path_factory.mktemp(f"stopped-{way}")
    trained(training.start(root, data, *LONG, FLAGS[way], "--max-steps=11"))
    return root


def test_the_classifier_learns_as_without_the_flag(run, plain):
    ours, theirs = training.evaluation(run), training.evaluation(plain)
    assert theirs["metrics"]["accuracy"] == 1, "else this test compares nothing"
    assert ours["metrics"]["accuracy"] == 1
    assert ours["steps"] == theirs["steps"]
    assert ours["metrics"]["loss"] == pytest.approx(theirs["metrics"]["loss"], abs=LOSS)
    assert training.trained_bytes(run, "model") != training.trained_bytes(plain, "model"), "it is computed otherwise"


def test_so_it_does_on_two_devices_that_share_each_batch(tmp_path, data, plain):
    flags = ("image-classifier", f"--data={data}", *training.FLAGS, *LONG, "--mixed-precision")
    done = subprocess.run(
        warm_trainers.program(TWO_GPUS, *flags),
        env={**os.environ, **training.variables(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exit_codes.OK, done.stderr
    assert "each of 2 GPUs takes its share of the --batch-size=4 of a step" in done.stderr
    ours, theirs = training.evaluation(tmp_path), training.evaluation(plain)
    assert (ours["gpus"], theirs["gpus"]) == (["one", "two"], [])
    assert ours["metrics"]["accuracy"] == 1
    assert ours["metrics"]["loss"] < 0.2, (
        "a guess has 1.1; each device draws masks of its own, so it is not that of one device"
    )


def test_what_is_kept_and_served_stays_float32(run, plain):
    ours, theirs = values(run), values(plain)
    assert {name: (value.dtype, value.shape) for name, value in ours.items()} == {
        name: (value.dtype, value.shape) for name, value in theirs.items()
    }
    for signature in tf.saved_model.load(str(training.model_folder(run))).signatures.values():
        graphs = [signature.graph, *(f.graph for f in signature.graph._functions.values())]
        dtypes = {tensor.dtype for graph in graphs for op in graph.get_operations() for tensor in op.outputs}
        assert tf.float32 in dtypes
        assert tf.bfloat16 not in dtypes


@RESUMED
def test_a_run_with_the_flag_resumes_to_the_bit(way, run, stopped, data, tmp_path):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    assert training.checkpoints(tmp_path)[-1] == 11
    trained(training.start(tmp_path, data, *LONG, FLAGS[way]))
    assert training.trained_bytes(tmp_path) == training.trained_bytes(run)


@RESUMED
def test_a_run_without_the_flag_goes_on_where_one_with_it_stopped(stopped, data, tmp_path):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    assert training.train(tmp_path, data, *LONG) == exit_codes.OK
    assert training.evaluation(tmp_path)["metrics"]["accuracy"] == 1


def test_only_an_update_computes_in_bfloat16():
    precision.begin(True)
    try:
        layer = keras.layers.Dense(2)
        last = keras.layers.Dense(2, dtype="float32")
        seen = {}

        def update(x, weights, _step):
            hidden = layer(x)
            seen["update"] = hidden.dtype, last(hidden).dtype
            return {"loss": totals.total(last(hidden)[:, 0], weights)}

        assert layer(tf.ones([1, 3])).dtype == tf.float32
        precision.halved(update)(tf.ones([1, 3]), tf.ones([1]), 1)
        assert seen["update"] == (tf.bfloat16, tf.float32)
        assert layer(tf.ones([1, 3])).dtype == tf.float32
        assert {weight.dtype for weight in layer.weights} == {"float32"}
    finally:
        precision.begin(False)
    assert keras.layers.Dense(2).dtype_policy.name == "float32"


def test_a_loss_in_bfloat16_is_refused_with_what_to_change():
    with pytest.raises(TrainerError, match=r"bfloat16.*last layer.*dtype='float32'"):
        totals.mean(tf.ones([2], tf.bfloat16), tf.ones([2]))


def test_a_step_that_xla_cannot_compile_ends_the_run_and_names_the_flag():
    variable = tf.Variable(0.0)
    kept = Totals({"loss": tf.float32})

    def update(x, weights, _step):
        words = tf.strings.length(tf.strings.as_string(x))
        variable.assign_add(tf.reduce_sum(weights))
        return {"loss": totals.total(tf.cast(words, tf.float32), weights)}

    signature = [tf.TensorSpec([None], tf.float32)]
    for jit in (False, True):
        place = Single(jit=jit)
        step = place.build(update, kept, signature)
        if not jit:
            place.schedule(step, (tf.ones([3]),), 1)
            continue
        with pytest.raises(tf.errors.OpError) as raised:
            place.schedule(step, (tf.ones([3]),), 2)
    verdict = failures.verdict(raised.value)
    assert (verdict.exit_code, "--jit" in verdict.remedy) == (1, True)
    assert variable.numpy() == 3


@pytest.mark.parametrize("name", optimizers.NAMES)
def test_every_optimizer_does_the_same_when_xla_compiles_it(name):
    def trained(jit):
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        layer.build((None, 2))
        rate = optimizers.inverse_time(0.5, 1.0)
        optimizer = optimizers.make(name, layer.trainable_variables, rate)
        kept = Totals({"loss": tf.float32})

        def update(x, weights, step):
            with tf.GradientTape() as tape:
                losses = tf.square(layer(x))[:, 0]
                loss = totals.mean(losses, weights)
            optimizer.apply(tape.gradient(loss, layer.trainable_variables), step)
            return {"loss": totals.total(losses, weights)}

        place = Single(jit=jit)
        step = place.build(update, kept, [tf.TensorSpec([None, 2])])
        for number in (1, 2, 3):
            place.schedule(step, (tf.constant([[1.0, 0.5], [0.5, 0.0], [0.25, 1.0]])[:number],), number)
        return layer.kernel.numpy()

    assert np.allclose(trained(True), trained(False), rtol=1e-5)
    assert not np.allclose(trained(True), 1, atol=1e-4)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.mark.wide
@pytest.mark.parametrize("way", FLAGS)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.epoch])
def test_every_recipe_learns_as_without_the_flag(tmp_path, runs, name, way):
    case = CASES[name]
    plain = runs.single(name, 0)
    trained(training.begin(tmp_path, *runs.command(case, 0), FLAGS[way]))
    ours, theirs = training.evaluation(tmp_path), training.evaluation(plain)
    assert ours["steps"] == theirs["steps"] == 2 * case.epoch
    first, expected = ours["history"][0], theirs["history"][0]
    assert first["loss"] == pytest.approx(expected["loss"], rel=LOSS, abs=LOSS)
    assert ours["metrics"].keys() == theirs["metrics"].keys()
    dtypes = {name: value.dtype for name, value in values(tmp_path).items()}
    assert dtypes == {name: value.dtype for name, value in values(plain).items()}
    assert (tmp_path / environment.OUTPUT_DIR.lower() / environment.SUCCESS_MARKER).exists()
