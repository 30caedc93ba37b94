"""The recipe on features in the cache: its head, what it serves, what it says, and that it goes on to the bit."""

import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from fovea_api.contract import environment, exit_codes, signatures
from fovea_trainers.errors import FlagError
from fovea_trainers.recipes import transfer_classifier as recipe
from fovea_trainers.vision import image_folders
from support import training

FLAGS = ("--image-size=32", "--batch-size=4", "--validation-ratio=0.2", "--test-ratio=0.2", "--head=16,8")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """VGG16 without its classifier, under the layers' published names."""
    path = tmp_path_factory.mktemp("weights") / "vgg16_notop.weights.h5"
    keras.utils.set_random_seed(3)
    keras.applications.VGG16(weights=None, include_top=False).save_weights(path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training.write_pictures(tmp_path_factory.mktemp("data"), per_class=20, classes=2)


def command(data, weights, *flags):
    return ("transfer-classifier", f"--data={data}", f"--weights={weights}", *FLAGS, *flags)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data, weights):
    root = tmp_path_factory.mktemp("trained")
    assert training.run(root, *command(data, weights, "--epochs=3")) == exit_codes.OK
    return root


def test_the_head_is_the_article_s():
    model = recipe.head(recipe.Config(), (4, 4, 512), 2)
    parameters = [layer.count_params() for layer in model.layers if layer.count_params()]
    assert parameters == [8192 * 512 + 512, 512 * 256 + 256, 256 + 1]
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.5, 0.2]


def test_one_output_and_the_sigmoid_give_the_binary_cross_entropy():
    model = recipe.head(recipe.Config(head="4", head_dropout="0"), (6,), 2)
    seen, labels = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32), np.array([0, 1, 1, 0, 1])
    logits = model(seen).numpy()
    assert not logits[:, 0].any()
    assert model.trainable_variables[-2].shape == (4, 1)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    expected = tf.nn.sigmoid_cross_entropy_with_logits(labels.astype(np.float32), logits[:, 1])
    assert np.allclose(losses, expected, atol=1e-6)
    assert recipe.head(recipe.Config(output="softmax"), (6,), 2).layers[-1].units == 2
    assert recipe.head(recipe.Config(), (6,), 3).layers[-1].units == 3


def test_the_served_model_says_of_files_what_the_evaluation_said_of_cached_features(trained, data):
    document = training.evaluation(trained)
    served = tf.saved_model.load(str(training.model_folder(trained))).signatures[signatures.SERVING_DEFAULT]
    paths = sorted(data.rglob("*.png"))
    answer = served(image=tf.constant([path.read_bytes() for path in paths]))
    scores = answer[signatures.SCORES_OUTPUT].numpy()
    (kept,) = (trained / environment.CACHE_DIR.lower()).glob("features/*/features.npy")
    assert np.load(kept).shape == (40, 1, 1, 512)
    listing = image_folders.scan(data)
    parts = image_folders.split(listing, validation_ratio=0.2, test_ratio=0.2, seed=1)
    losses = -np.log(scores[np.arange(40), listing.labels].astype(np.float64))
    right = scores.argmax(axis=1) == listing.labels
    for name, part in (("val", "validation"), ("test", "test")):
        assert document["sets"][name]["images"] == len(parts[part]) == 8
        assert document["sets"][name]["loss"] == pytest.approx(losses[parts[part]].mean(), abs=1e-5)
        assert document["sets"][name]["accuracy"] == right[parts[part]].mean()
    assert (document["backbone"], document["weights"]["layers"]) == ("vgg16", 13)


def test_another_head_uses_the_same_features(tmp_path, trained, data, weights, capfd):
    cache = {environment.CACHE_DIR: str(trained / environment.CACHE_DIR.lower())}
    flags = ("--head=8", "--head-dropout=0", "--output=softmax", "--epochs=1", "--seed=9", "--validation-ratio=0.3")
    assert training.run(tmp_path, *command(data, weights, *flags), **cache) == exit_codes.OK
    said = capfd.readouterr().err
    assert "features of 40 pictures are in the cache" in said
    assert "computing" not in said


def test_the_output_folder_has_curves_confusion_and_the_worst_mistakes(trained):
    output = trained / environment.OUTPUT_DIR.lower()
    document = training.evaluation(trained)
    names = {path.name for path in output.glob("*.png")}
    mistakes = {"mistakes.png"} if document["metrics"]["test_accuracy"] < 1 else set()
    assert names == {"loss.png", "accuracy.png", "confusion.png"} | mistakes


def test_killed_at_any_time_it_ends_with_the_bytes_of_an_undisturbed_run(tmp_path, data, weights, trained):
    """SIGTERM while features are computed (test_features.py has what stays of them), SIGKILL between two checkpoints."""
    flags = command(data, weights, "--epochs=3", "--checkpoint-every-steps=5")
    process = training.begin(tmp_path, *flags)
    training.wait_until(lambda: list((tmp_path / environment.CACHE_DIR.lower()).glob("features/*/about.json")), process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == exit_codes.RESTART
    process = training.begin(tmp_path, *flags)
    training.wait_until(lambda: training.checkpoints(tmp_path), process)
    process.kill()
    process.communicate()
    assert training.run(tmp_path, *flags) == exit_codes.OK
    assert training.trained_bytes(tmp_path) == training.trained_bytes(trained)
    assert training.evaluation(tmp_path)["history"] == training.evaluation(trained)["history"]


def test_what_cannot_be_trained_on_ends_with_a_sentence(tmp_path, data, weights, capfd):
    wrong = tmp_path / "other.weights.h5"
    keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, name="only")]).save_weights(wrong)
    model, huge = keras.applications.VGG16(weights=None, include_top=False), tmp_path / "huge.weights.h5"
    model.get_layer("block5_conv3").bias.assign(np.full(512, 3e38))
    model.save_weights(
        huge
    )  # with a great learning rate units may die, and the loss stay a number, as rounding decides
    alone = training.write_pictures(tmp_path / "alone", per_class=4, classes=1)
    refused = {
        (f"--data={data}",): (1, "there are no weights for vgg16: give --weights=FILE"),
        command(data, tmp_path / "none.h5"): (1, "there is no such file"),
        command(data, wrong): (1, "has weights for none of the network's layers: it has only"),
        command(data, weights, "--backbone=vgg19"): (
            1,
            "has no weights for 3 of 16 layers that are not trained: block3_conv4, block4_conv4, block5_conv4; give",
        ),
        command(alone, weights): (1, "has the single class class-0"),
        command(data, weights, "--image-size=31"): (2, "--image-size=31 is too small for backbone vgg16"),
        command(data, weights, "--head=512,x"): (
            2,
            '--head must be whole numbers from 1 to 65536, such as 512,256, not "512,x"',
        ),
        command(data, weights, "--head=8", "--head-dropout=0.5,0.5"): (2, "for each of the 1 layers of --head=8"),
        command(data, huge, "--head=8", "--head-dropout=0"): (1, "non-finite at step 1"),
    }
    for flags, (code, words) in refused.items():
        name, *rest = flags if flags[0] == "transfer-classifier" else ("transfer-classifier", *flags)
        assert training.run(tmp_path / "run", name, *rest) == code, flags
        said = capfd.readouterr().err
        assert words in said
        assert "Traceback" not in said


def test_shares_of_dropout_are_read():
    assert recipe.dropouts_of(recipe.Config()) == [0.5, 0.2]
    for text in ("0.5", "0.5,1", "0.5,x", ""):
        with pytest.raises(
            FlagError, match="--head-dropout must have a share from 0 to below 1 for each of the 2 layers"
        ):
            recipe.dropouts_of(recipe.Config(head_dropout=text))
