"""The recipe caption-generator on rendered shapes: what it leaves, how it is asked, what bad data and a kill do to it."""

import re
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from fovea_api.contract import environment, exit_codes, row_wise, signatures
from fovea_trainers.captions import reading
from fovea_trainers.datasets import captions
from fovea_trainers.recipes import caption_generator
from fovea_trainers.recipes.caption_generator import Config
from fovea_trainers.runtime import optimizers, pretrained
from fovea_trainers.vision import backbones
from support import training
from support.model_server import Client, model_server, predict_request, publish

COUNT = 30
"""Pictures: 24 for training, 3 for validation, 3 for the test."""
TINY = (
    *("--d-model=16", "--layers=1", "--heads=2", "--dff=16", "--warmup-steps=20", "--longest=12", "--batch-size=16"),
    *("--image-size=32", "--max-unreadable=0.1"),
)
SMALL = (*TINY, "--backbone=small-cnn")
FROZEN = (*TINY, "--backbone=mobilenet")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("shapes")
    captions.write(root, count=COUNT, seed=2)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Of the backbone: random ones."""
    path = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    keras.utils.set_random_seed(3)
    backbones.build("mobilenet", 32).model.save_weights(path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data, weights):
    root = tmp_path_factory.mktemp("trained")
    flags = (f"--data={data}", f"--weights={weights}", *FROZEN, "--epochs=2", "--beams=2")
    assert training.run(root, "caption-generator", *flags) == exit_codes.OK
    return root


def run(root, data, *flags):
    return training.run(root, "caption-generator", f"--data={data}", *flags)


def copied(data, root):
    """The data set, to be changed."""
    root.mkdir()
    captions.write(root, count=COUNT, seed=2)
    return root


def pictures(data):
    return sorted((data / captions.PICTURES).iterdir())


def test_the_output_folder_tells_the_run(trained):
    output = trained / environment.OUTPUT_DIR.lower()
    assert {path.name for path in output.glob("*.png")} == {
        *("loss.png", "accuracy.png", "captions.png", "attention.png")
    }
    for name in ("captions.png", "attention.png"):
        assert tf.io.decode_png((output / name).read_bytes()).shape[0] > 200
    document = training.evaluation(trained)
    assert document["pictures"] == {"train": 24, "val": 3, "test": 3}
    assert (document["captions"], document["badLines"], document["withoutCaption"]) == (5 * COUNT, 0, 0)
    metrics = {"loss", "accuracy", *(f"{how}bleu{n}" for how in ("", "beam_") for n in (1, 2, 3, 4))}
    assert set(document["metrics"]) == metrics | {f"{part}_{name}" for part in ("val", "test") for name in metrics}
    report = document["sets"]["test"]
    assert report["bleu1"] == document["metrics"]["bleu1"] == document["metrics"]["test_bleu1"]
    assert report["pictures"] == len(report["captions"]) == 3
    assert 0 < report["mostFrequentCaption"]["bleu1"] < 1
    assert report["words"] == sum(len(caption) + 1 for caption in words_of_the_test(trained))


def words_of_the_test(trained):
    document = training.evaluation(trained)
    data = reading.read(reading.Path(document["flags"]["data"]), "", max_bad_ratio=0)
    _, _, test = reading.split(data, validation_ratio=0, test_ratio=0, seed=1)
    return [caption for picture in test for caption in data.captions[picture]]


def test_the_model_server_answers_with_the_captions_that_were_evaluated(trained, data, tmp_path):
    spoken = training.evaluation(trained)["sets"]["test"]["captions"]
    files = [(data / name).read_bytes() for name in spoken]
    folder = training.model_folder(trained)
    here = tf.saved_model.load(str(folder)).signatures
    outputs = frozenset({signatures.CAPTION_OUTPUT, signatures.WORDS_OUTPUT, signatures.WORD_SCORES_OUTPUT})
    assert row_wise.read(folder) == {signatures.SERVING_DEFAULT: outputs, signatures.BEAM: outputs}
    publish(folder, tmp_path / "captions", 1)
    with model_server(tmp_path, "--model_name=captions", f"--model_base_path={tmp_path / 'captions'}") as server:
        client = Client(server.address)
        for name in (signatures.SERVING_DEFAULT, signatures.BEAM):
            answer = client.predict(predict_request(name, {signatures.IMAGE_INPUT: files}, model="captions"))
            alone = client.predict(predict_request(name, {signatures.IMAGE_INPUT: files[1:2]}, model="captions"))
            ours = {key: value.numpy() for key, value in here[name](image=tf.constant(files)).items()}
            assert answer[signatures.CAPTION_OUTPUT] == ours[signatures.CAPTION_OUTPUT].tolist()
            assert (
                np.abs(np.array(answer[signatures.WORD_SCORES_OUTPUT]) - ours[signatures.WORD_SCORES_OUTPUT]).max()
                < 1e-5
            )
            assert alone[signatures.WORDS_OUTPUT] == answer[signatures.WORDS_OUTPUT][1:2]
            if name == signatures.SERVING_DEFAULT:
                assert [caption.decode() for caption in answer[signatures.CAPTION_OUTPUT]] == list(spoken.values())
            for caption, words, scores in zip(*(answer[key] for key in sorted(outputs, key=order)), strict=True):
                said = [word.decode() for word in words if word]
                assert [word for word in said if word != "<end>"] == caption.decode().split()
                assert [score > 0 for score in scores] == [bool(word) for word in words]


def order(output):
    return (signatures.CAPTION_OUTPUT, signatures.WORDS_OUTPUT, signatures.WORD_SCORES_OUTPUT).index(output)


def test_features_of_another_size_begin_new_epochs_though_they_have_the_same_shape(
    tmp_path, trained, data, weights, capfd
):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    assert run(tmp_path, data, *FROZEN, f"--weights={weights}", "--image-size=33", "--max-steps=1", "--beams=1") == 0
    assert "with new epochs (image_size was 32, is 33)" in capfd.readouterr().err


@pytest.mark.wide
def test_killed_within_an_epoch_it_goes_on_to_the_bytes_of_a_run_that_was_not(tmp_path, data):
    flags = (f"--data={data}", *SMALL, "--epochs=4", "--early-stopping", "--patience=9", "--beams=1")
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert training.run(undisturbed, "caption-generator", *flags) == exit_codes.OK
    steps = training.evaluation(undisturbed)["steps"]
    assert steps == 4 * 8
    process = training.begin(killed, "caption-generator", *flags, "--checkpoint-every-steps=3")
    training.wait_until(lambda: training.checkpoints(killed)[1:], process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert training.checkpoints(killed)[-1] < steps
    assert training.run(killed, "caption-generator", *flags) == exit_codes.OK
    assert training.trained_bytes(killed) == training.trained_bytes(undisturbed)
    ours, theirs = training.evaluation(killed), training.evaluation(undisturbed)
    assert (ours | {"seconds": 0}) == (theirs | {"seconds": 0})
    assert training.summaries(killed) == training.summaries(undisturbed)


def test_bad_pictures_and_lines_are_left_out_named_and_counted(tmp_path, data, weights, capfd):
    """With a small network of its own and with features alike."""
    changed = copied(data, tmp_path / "data")
    files = pictures(changed)
    files[0].write_bytes(files[0].read_bytes()[:300])
    files[8].write_bytes(b"")
    files[1].rename(files[1].with_name("nameless.jpg"))
    token = changed / captions.TEXT / "Flickr8k.token.txt"
    token.write_text("2258277193_586949ec62.jpg.1#0\tA dog .\n" + token.read_text())
    allowed = ("--max-bad-ratio=0.05", "--max-steps=2", "--beams=1")
    for way, flags in (("small", SMALL), ("frozen", (*FROZEN, f"--weights={weights}"))):
        assert run(tmp_path / way, changed, *flags, *allowed) == exit_codes.OK
        said = capfd.readouterr().err
        assert f"picture {captions.PICTURES}/{files[0].name} (" in said
        assert f"picture {captions.PICTURES}/{files[8].name} (the file is empty) cannot be read; it is left out" in said
        assert f"Flickr8k.token.txt line 7 (there is no picture {files[1].name}) cannot be read; it is left out" in said
        assert "(there is no picture 2258277193_586949ec62.jpg.1)" in said
        assert "1 pictures have no caption in Flickr8k_text/Flickr8k.token.txt and are not used: nameless.jpg" in said
        document = training.evaluation(tmp_path / way)
        assert (document["unreadable"], document["badLines"], document["withoutCaption"]) == (2, 6, 1)
        assert document["pictures"] == {"train": 22, "val": 2, "test": 3}
    assert run(tmp_path / "strict", changed, *SMALL, "--max-bad-ratio=0.05", "--max-unreadable=0") == 1
    assert "1 of 29 pictures in" in capfd.readouterr().err
    assert run(tmp_path / "strict", changed, *SMALL) == 1
    assert "6 of 151 lines in" in capfd.readouterr().err


def test_weights_that_are_wrong_end_the_run_with_a_sentence(tmp_path, data, capfd):
    other = tmp_path / "other.weights.h5"
    keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, name="top")]).save_weights(other)
    assert run(tmp_path, data, *FROZEN, f"--weights={other}") == 1
    said = capfd.readouterr().err
    assert str(other) in said
    assert "Traceback" not in said
    assert run(tmp_path, data, *FROZEN) == 1
    assert "there are no weights for mobilenet: give --weights=FILE" in capfd.readouterr().err
    refused = {
        (
            "--weights=x.h5",
            "--backbone=small-cnn",
        ): "--backbone=small-cnn begins with random weights; leave one of them out",
        ("--d-model=18", "--heads=4", "--backbone=small-cnn"): "--d-model=18 must be even, and a multiple of --heads=4",
    }
    for flags, words in refused.items():
        assert run(tmp_path, data, *flags) == 2
        assert words in capfd.readouterr().err


def test_a_run_that_diverges_names_the_step_and_leaves_no_model(tmp_path, data, capfd):
    """Weights that are no numbers make features that are none."""
    model = backbones.build("mobilenet", 32).model
    model.get_layer("conv1").kernel.assign(model.get_layer("conv1").kernel * np.nan)
    model.save_weights(tmp_path / "nan.weights.h5")
    assert run(tmp_path, data, *FROZEN, f"--weights={tmp_path / 'nan.weights.h5'}") == 1
    assert re.search(r"the loss became non-finite at step 1: the training diverged", capfd.readouterr().err)
    assert not list(training.model_folder(tmp_path).iterdir())


def test_the_article_s_network_sees_what_inception_v3_says_and_takes_a_step(tmp_path):
    """Full size, from pixels to words; the published weights themselves are not at hand."""
    config = Config()
    backbone = backbones.build(config.backbone, config.image_size)
    assert backbone.model.count_params() == 21_802_784
    backbone.model.save_weights(tmp_path / "inception.weights.h5")
    loaded = pretrained.load(backbone.model, tmp_path / "inception.weights.h5")
    assert (len(loaded.missing), len(loaded.unused)) == (0, 0)
    seen = backbone.features(tf.random.stateless_uniform([2, 299, 299, 3], [1, 2], maxval=255))
    assert seen.shape == [2, 8, 8, 2048]
    model = caption_generator.network(config, seen.shape[1:], config.vocabulary)
    assert sum(part.count_params() for part in model.parts) == 13_658_624 + 21_941_128
    trained = [weight for part in model.parts for weight in part.trainable_variables]
    optimizer = optimizers.make("adam", trained, optimizers.warm_up(512, 4000), beta_1=0.9, beta_2=0.98, epsilon=1e-9)
    update = caption_generator.learning(model, optimizer, trained)
    words, step = tf.constant([[1, 7, 8, 2], [1, 9, 2, 0]]), tf.constant(1, tf.int64)
    before = trained[0].numpy().copy()
    totals = update(seen, words, tf.ones([2]), step)
    assert float(totals["loss"][0] / totals["loss"][1]) == pytest.approx(np.log(5000), rel=0.3)
    assert float(totals["loss"][1]) == 5
    assert not np.array_equal(trained[0].numpy(), before)
