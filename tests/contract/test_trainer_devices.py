"""Several devices in one process: they reach what one reaches, and go on from each other's checkpoints."""

import json
import subprocess

import numpy as np
import pytest
from fovea_trainers.runtime import optimizers
from support import warm_trainers

PROGRAM = """
import json, sys
import numpy as np, tensorflow as tf
from pathlib import Path
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
tf.config.experimental.enable_op_determinism()
import keras
from fovea_trainers.runtime import export, optimizers
from fovea_trainers.runtime.best import Best
from fovea_trainers.runtime.checkpoints import Checkpoints, Run
from fovea_trainers.runtime.evaluation import Evaluator, Sums
from fovea_trainers.runtime.mirrored import Mirrored
from fovea_trainers.runtime.position import Position
from fovea_trainers.runtime.strategy import Single
from fovea_trainers.runtime.totals import Totals
from fovea_trainers.runtime.training import variables_of
from fovea_trainers.vision import classification

root = Path(sys.argv[1])
noise = np.random.default_rng(3)
PICTURES = noise.integers(0, 256, (23, 8, 8, 3)).astype(np.float32)
LABELS = noise.integers(0, 3, 23).astype(np.int32)
RUN = Run({}, {}, "sgd")


class Learner:
    def __init__(self, place, dropout):
        keras.utils.set_random_seed(1)
        with place.scope():
            layers = keras.layers
            self.model = keras.Sequential(
                [layers.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3, activation="relu"),
                 layers.MaxPooling2D(2), layers.Dropout(dropout), layers.Flatten(), layers.Dense(3)]
            )
            rate = optimizers.inverse_time(0.05, 0.01)
            self.optimizer = optimizers.make("sgd", self.model.trainable_variables, rate, momentum=0.9)
            self.totals = Totals({"loss": tf.float32, "accuracy": tf.int64})
            self.best = Best(variables_of(self.model))
        self.traced = 0
        update = classification.learning(self.model, self.optimizer)

        def counted(*batch):
            self.traced += 1
            return update(*batch)

        self.step = place.build(counted, self.totals, classification.BATCH)
        self.evaluate = Evaluator(classification.evaluation(self.model), classification.BATCH, Sums.ratios)

    def variables(self):
        return {"model": variables_of(self.model), "optimizer": self.optimizer.variables,
                "running": self.totals.variables, "best": self.best.variables}


def train(place, steps, dropout=0.0, start=0, folder=None):
    made = Learner(place, dropout)
    store = None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        store = Checkpoints(folder, keep=3)
        start = store.resume(RUN, made.variables()).position.step

    def dataset(_epoch, first, _shard):
        for number in range(first, steps):
            begin = 10 * (number % 3)  # batches of 10, 10 and 3 examples, and one of 1, and one of none
            end = begin + {7: 1, 8: 0}.get(number, 10)
            yield tf.constant(PICTURES[begin:end]), tf.constant(LABELS[begin:end])

    for number, batch in enumerate(place.batches(dataset, 0, start), start + 1):
        place.schedule(made.step, batch, number)
    place.join()
    if store is not None:
        made.best.keep()
        store.save(Position(step=steps, epoch=1, kept=1, history=[{"epoch": 1, "step": steps}]), RUN, made.variables())
    loss = made.evaluate([(tf.constant(PICTURES), tf.constant(LABELS))]).metrics["loss"]
    trained = [np.asarray(weight.value.read_value()).tolist() for weight in made.model.weights]
    return made, {"weights": trained, "running": made.totals.read(), "loss": loss, "traced": made.traced}


two = ["CPU:0", "CPU:1"]
answers = {"one": train(Single(), 12)[1], "two": train(Mirrored(two), 12)[1]}
train(Mirrored(two), 5, folder=root / "a")
answers["two, then one"] = train(Single(), 12, folder=root / "a")[1]
train(Mirrored(two), 5, folder=root / "b")
answers["two, then two"] = train(Mirrored(two), 12, folder=root / "b")[1]
answers["dropout"] = train(Mirrored(two), 12, 0.5)[1]
train(Mirrored(two), 5, 0.5, folder=root / "c")
made, answers["dropout, resumed"] = train(Mirrored(two), 12, 0.5, folder=root / "c")
made.best.restore()
(root / "model").mkdir()
signatures = classification.exported(made.model, ["a", "b", "c"], 8, exif_orientation=True)
export.write(root / "model", signatures, tracked=variables_of(made.model))
served = tf.saved_model.load(str(root / "model")).signatures["pixels"](pixels=tf.constant(PICTURES))["scores"]
answers["served"] = np.abs(served.numpy() - tf.nn.softmax(made.model(PICTURES)).numpy()).max().item()
print(json.dumps(answers))
"""


OPTIMIZERS = """
import json
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras
from fovea_trainers.runtime import optimizers
from fovea_trainers.runtime.mirrored import Mirrored
from fovea_trainers.runtime.strategy import Single
from fovea_trainers.runtime.totals import Totals, mean, total


def trained(place, name, options):
    with place.scope():
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        model = keras.Sequential([keras.layers.Input((2,)), layer])
        rate = optimizers.inverse_time(0.5, 1.0)
        optimizer = optimizers.make(name, model.trainable_variables, rate, **options)
        totals = Totals({"loss": tf.float32, "inputs": tf.TensorSpec([2], tf.float32)})

    def update(x, weights, step):
        with tf.GradientTape() as tape:
            losses = tf.square(model(x))[:, 0]
            loss = mean(losses, weights)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), step)
        inputs = tf.reduce_sum(weights[:, tf.newaxis] * x, axis=0), tf.size(losses)
        return {"loss": total(losses, weights), "inputs": inputs}

    step = place.build(update, totals, [tf.TensorSpec([None, 2])])
    for number in (1, 2, 3):
        place.schedule(step, (tf.constant([[1.0, 0.5], [0.5, 0.0], [0.25, 1.0]]),), number)
    place.join()
    assert totals.sums().sums["inputs"].tolist() == [5.25, 4.5], "of three steps"
    assert [*totals.read()] == ["loss"]
    return layer.kernel.numpy().ravel().tolist()


ways = {name: (name, {}) for name in optimizers.NAMES} | {"sgd with weight_decay": ("sgd", {"weight_decay": 0.1})}
places = Single(), Mirrored(["CPU:0", "CPU:1"])
print(json.dumps({way: [trained(place, *asked) for place in places] for way, asked in ways.items()}))
"""

FACES = """
import json
import numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 3
)
import keras
from fovea_trainers.recipes import face_verifier
from fovea_trainers.runtime import optimizers
from fovea_trainers.runtime.mirrored import Mirrored
from fovea_trainers.runtime.strategy import Single
from fovea_trainers.runtime.totals import Totals
from fovea_trainers.vision.faces import sets

PICTURES = np.random.default_rng(3).integers(0, 256, (6, 4, 4, 3)).astype(np.float32)
PEOPLE = np.array([0, 0, 1, 1, 2, 2], np.int32)  # three devices get one person each
config = {loss: face_verifier.Config(loss=loss, batch_size=6) for loss in ("softmax", "center", "triplet")}


def trained(place, config):
    keras.utils.set_random_seed(1)
    with place.scope():
        layers = keras.layers
        model = keras.Sequential([layers.Input((4, 4, 3)), layers.Flatten(), layers.Rescaling(1 / 255), layers.Dense(4),
                                  layers.UnitNormalization()])
        who = face_verifier.learner(config, 3, 4)
        weights = [*model.trainable_variables, *who.people.trainable_variables]
        optimizer = optimizers.make("sgd", weights, optimizers.inverse_time(0.05, 0.0))
        centers = [who.centers] if who.centers is not None else []
        moving = optimizers.make("sgd", centers, optimizers.inverse_time(0.5, 0.0)) if centers else None
        totals = Totals({"loss": tf.float32})
    update = face_verifier.learning(config, model, who, 1, optimizer, moving)
    step = place.build(update, totals, sets.BATCH)
    for number, most in enumerate((6, 6, 5, 1), 1):
        place.schedule(step, (tf.constant(PICTURES[:most]), tf.constant(PEOPLE[:most])), number)
    place.join()
    found, changed = totals.sums(), [*weights, *centers]
    values = [np.asarray(one.value.read_value()).tolist() for one in changed]
    return values, float(found.sums["loss"]), found.counts["loss"]


places = Single(), Mirrored(["CPU:0", "CPU:1", "CPU:2"])
print(json.dumps({loss: [trained(place, each) for place in places] for loss, each in config.items()}))
"""


def test_losses_of_faces_compare_the_pictures_of_all_devices():
    done = subprocess.run(warm_trainers.program(FACES), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for loss, (one, three) in json.loads(done.stdout.splitlines()[-1]).items():
        (weights, summed, count), (expected, loss_of_one, count_of_one) = three, one
        assert loss_of_one > 0, loss
        assert (count, summed) == (count_of_one, pytest.approx(loss_of_one, rel=1e-4)), loss
        for ours, theirs in zip(weights, expected, strict=True):
            assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-6), loss


def test_every_optimizer_reaches_on_two_devices_what_it_reaches_on_one():
    done = subprocess.run(warm_trainers.program(OPTIMIZERS), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    weights = json.loads(done.stdout.splitlines()[-1])
    assert {*weights} == {*optimizers.NAMES, "sgd with weight_decay"}
    for way, (one, two) in weights.items():
        assert np.allclose(one, two, rtol=1e-4, atol=1e-6), (way, one, two)
        assert not np.allclose(one, 1, atol=1e-4), (way, one)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    root = tmp_path_factory.mktemp("devices")
    done = subprocess.run(warm_trainers.program(PROGRAM, str(root)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def assert_equal(ours, theirs, *, exact):
    for one, other in zip(ours["weights"], theirs["weights"], strict=True):
        assert np.array_equal(one, other) if exact else np.allclose(one, other, rtol=1e-4, atol=1e-5)
    assert np.isclose(ours["loss"], theirs["loss"], rtol=0 if exact else 1e-4, atol=0 if exact else 1e-5)


def test_two_devices_reach_what_one_reaches_with_batches_that_do_not_divide_and_empty_ones(answers):
    assert_equal(answers["two"], answers["one"], exact=False)
    assert np.isclose(answers["two"]["running"]["loss"], answers["one"]["running"]["loss"], rtol=1e-4)
    assert answers["two"]["running"]["accuracy"] == answers["one"]["running"]["accuracy"]


def test_batches_of_every_size_have_one_graph(answers):
    assert (answers["one"]["traced"], answers["two"]["traced"]) == (1, 2), "one for each device"


def test_a_checkpoint_of_two_devices_is_continued_by_one(answers):
    assert_equal(answers["two, then one"], answers["one"], exact=False)


def test_two_devices_resume_to_the_bit_dropout_included(answers):
    assert_equal(answers["two, then two"], answers["two"], exact=True)
    assert_equal(answers["dropout, resumed"], answers["dropout"], exact=True)


def test_what_two_devices_trained_is_exported_and_served(answers):
    assert answers["served"] < 1e-5
