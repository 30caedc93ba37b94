"""The recipe for pictures: its network, published networks under it, what stays as it is, and what it draws."""

import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from fovea_api.contract import environment, exit_codes
from fovea_trainers.recipes import image_classifier as recipe
from fovea_trainers.vision import backbones
from support import training

NETWORK = ("--backbone=mobilenet", "--image-size=32", "--no-augment")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """MobileNet without its classifier, under the layers' published names; statistics that are not the initial ones."""
    path = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    keras.utils.set_random_seed(3)
    model = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(np.full(layer.moving_variance.shape, 0.05, np.float32))
    model.save_weights(path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training.write_pictures(tmp_path_factory.mktemp("data"), per_class=10)


def given(weights):
    model = backbones.build("mobilenet", 32).model
    model.load_weights(weights)
    return [variable.numpy() for variable in model.variables]


def stored(root):
    """The network's variables in the newest checkpoint, those of its backbone first."""
    values = training.trained_bytes(root, "model/")
    return [values[name] for name in sorted(values, key=lambda name: int(name.split("/")[1]))]


def changed(root, weights):
    """Names of the backbone's weights that are not those of the file any more."""
    names = [variable.path for variable in backbones.build("mobilenet", 32).model.variables]
    pairs = zip(names, stored(root), given(weights), strict=False)
    return [name for name, ours, theirs in pairs if ours != theirs.tobytes()]


def test_the_network_is_the_article_s():
    model = recipe.convolutions(2, 150)
    parameters = [layer.count_params() for layer in model.layers if layer.count_params()]
    assert parameters == [896, 9_248, 18_496, 18 * 18 * 64 * 64 + 64, 130]
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.25, 0.5]


@pytest.fixture(scope="module")
def frozen(tmp_path_factory, data, weights):
    root = tmp_path_factory.mktemp("frozen")
    flags = (*NETWORK, f"--weights={weights}", "--epochs=2", "--feature-maps=conv_pw_1_relu")
    assert training.train(root, data, *flags) == exit_codes.OK
    return root


def test_a_pretrained_backbone_stays_as_it_is(frozen, weights):
    assert changed(frozen, weights) == []
    document = training.evaluation(frozen)
    assert document["backbone"] == "mobilenet"
    assert document["weights"]["layers"] == 54
    output = frozen / environment.OUTPUT_DIR.lower()
    assert tf.io.decode_png((output / "feature-maps.png").read_bytes()).shape[1] > 1000


def test_a_second_run_goes_on_from_it_and_trains_the_last_layers_too(frozen, data, weights, capfd):
    flags = (*NETWORK, f"--weights={weights}", "--epochs=1", "--fine-tune=2", "--learning-rate=0.001")
    assert training.train(frozen, data, *flags) == exit_codes.OK
    said = capfd.readouterr().err
    assert "with new epochs (fine_tune was 0, is 2)" in said
    assert changed(frozen, weights) == ["conv_pw_13/kernel"], (
        "normalization, conv_pw_13_bn, stays as the weights have it"
    )


def test_without_weights_all_of_it_is_trained(tmp_path, data, weights):
    assert training.train(tmp_path, data, *NETWORK, "--max-steps=2") == exit_codes.OK
    assert len(changed(tmp_path, weights)) > 120


@pytest.mark.wide
def test_killed_at_any_step_it_ends_with_the_bytes_of_an_undisturbed_run(tmp_path, data, weights):
    flags = (*NETWORK, f"--weights={weights}", "--fine-tune=4", "--epochs=2", "--checkpoint-every-steps=2")
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert training.train(undisturbed, data, *flags) == exit_codes.OK
    process = training.start(killed, data, *flags)
    training.wait_until(lambda: training.checkpoints(killed), process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert training.train(killed, data, *flags) == exit_codes.OK
    assert training.trained_bytes(killed) == training.trained_bytes(undisturbed)


def test_what_cannot_be_trained_ends_with_a_sentence(tmp_path, data, weights, capfd):
    wrong = tmp_path / "vgg.weights.h5"
    keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, name="fc1")]).save_weights(wrong)
    overflowing = training.write_overflowing_weights(tmp_path / "overflowing.weights.h5")
    refused = {
        ("--fine-tune=2",): (2, "--fine-tune is about a pretrained backbone: give --backbone and --weights as well"),
        ("--fine-tune=2", f"--weights={weights}"): (2, "--fine-tune is about a pretrained backbone"),
        ("--backbone=vgg17",): (2, "--backbone must be one of cnn, "),
        ("--backbone=inceptionv3", "--image-size=74"): (2, "it must be at least 75"),
        ("--feature-maps=conv9",): (
            2,
            "--feature-maps=conv9: network cnn has no such layer with maps; it has rescaling",
        ),
        (*NETWORK, f"--weights={wrong}"): (1, "has weights for none of the network's layers: it has fc1"),
        ("--learning-rate=100", "--epochs=3", f"--weights={overflowing}"): (1, "non-finite at step"),
    }
    for flags, (code, words) in refused.items():
        assert training.train(tmp_path / "run", data, *flags) == code, flags
        said = capfd.readouterr().err
        assert words in said
        assert "Traceback" not in said


def test_the_worst_mistakes_are_the_most_certain_ones(tmp_path, data):
    """Labels that say nothing of the pictures: the sheet and the matrix tell which were taken for which."""
    for number, path in enumerate(sorted(data.rglob("*.png"))):
        target = tmp_path / "data" / "ab"[number % 2] / path.name.replace(".png", f"-{number}.png")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    flags = ("--epochs=1", "--test-ratio=0.4", "--limit=20", "--no-augment")
    assert training.train(tmp_path, tmp_path / "data", *flags) == exit_codes.OK
    document = training.evaluation(tmp_path)
    assert document["images"] == {"train": 8, "val": 4, "test": 8}
    counts = np.array(document["sets"]["test"]["confusionMatrix"]["counts"])
    assert counts.sum() == 8
    assert np.trace(counts) < 8
    assert (tmp_path / environment.OUTPUT_DIR.lower() / "mistakes.png").stat().st_size > 10_000
