"""The exported model answers to the contract's signatures in a process with only TensorFlow, and warms up a server."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from fovea_api.contract import environment, exit_codes, signatures
from fovea_api.contract.progress import Progress
from support import training
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

CLASSES = ["class-0", "class-1", "class-2"]

READER = """
import json, sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
files = [open(path, "rb").read() for path in sys.argv[2:]]
byte_answer = model.signatures["serving_default"](image=tf.constant(files))
pixels = tf.stack([tf.cast(tf.io.decode_image(file, channels=3), tf.float32) for file in files])
pixel_answer = model.signatures["pixels"](pixels=pixels)
def plain(answer):
    return {name: [[v.decode() if isinstance(v, bytes) else v for v in np] if isinstance(np, list) else np.decode()
            for np in value.numpy().tolist()] for name, value in answer.items()}
print(json.dumps([plain(byte_answer), plain(pixel_answer)]))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training.write_pictures(tmp_path_factory.mktemp("data"), per_class=10)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("trained")
    assert training.train(root, data, "--epochs=3", "--test-ratio=0.2", "--no-augment") == exit_codes.OK
    return root


@pytest.fixture(scope="module")
def model(trained):
    return tf.saved_model.load(str(training.model_folder(trained)))


def test_a_fresh_process_gets_the_same_answers_from_bytes_and_pixels(trained, data, model):
    paths = [data / name / "000.png" for name in CLASSES]
    command = [sys.executable, "-c", READER, str(training.model_folder(trained)), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    from_bytes, from_pixels = json.loads(done.stdout)
    assert from_bytes == from_pixels
    assert from_bytes[signatures.CLASSES_OUTPUT] == [CLASSES] * 3
    here = model.signatures[signatures.SERVING_DEFAULT](image=tf.constant([path.read_bytes() for path in paths]))
    assert from_bytes[signatures.SCORES_OUTPUT] == here[signatures.SCORES_OUTPUT].numpy().tolist()
    scores = np.array(from_bytes[signatures.SCORES_OUTPUT])
    assert np.allclose(scores.sum(axis=1), 1)
    assert from_bytes[signatures.LABEL_OUTPUT] == [CLASSES[i] for i in scores.argmax(axis=1)]


def test_signatures_are_the_contract_s(model):
    assert set(model.signatures) == {signatures.SERVING_DEFAULT, signatures.PIXELS}
    image = model.signatures[signatures.SERVING_DEFAULT].structured_input_signature[1][signatures.IMAGE_INPUT]
    assert (image.shape.as_list(), image.dtype) == ([None], tf.string)
    pixels = model.signatures[signatures.PIXELS].structured_input_signature[1][signatures.PIXELS_INPUT]
    assert (pixels.shape.as_list(), pixels.dtype) == ([None, None, None, 3], tf.float32)


def test_a_picture_is_served_as_it_was_evaluated(trained, data, model):
    """Every picture through the served model: the hits on the whole set match what training saw of its parts."""
    document = training.evaluation(trained)
    paths = sorted(data.rglob("*.png"))
    answer = model.signatures[signatures.SERVING_DEFAULT](image=tf.constant([path.read_bytes() for path in paths]))
    labels = [label.decode() for label in answer[signatures.LABEL_OUTPUT].numpy()]
    right = sum(label == path.parent.name for label, path in zip(labels, paths, strict=True))
    assert right == len(paths), "three colours are easy"
    assert document["metrics"]["test_accuracy"] == document["metrics"]["val_accuracy"] == 1


FORMATS = {
    "JPEG": tf.io.encode_jpeg,
    "grey PNG": lambda pixels: tf.io.encode_png(pixels[..., :1]),
    "PNG with alpha": lambda pixels: tf.io.encode_png(tf.concat([pixels, pixels[..., :1]], axis=-1)),
}


@pytest.mark.parametrize("encode", FORMATS.values(), ids=FORMATS.keys())
def test_files_of_any_size_and_format_are_decoded(model, encode):
    pixels = tf.cast(tf.random.stateless_uniform([37, 53, 3], [1, 2], maxval=255), tf.uint8)
    answer = model.signatures[signatures.SERVING_DEFAULT](image=encode(pixels)[tf.newaxis])
    assert answer[signatures.SCORES_OUTPUT].shape == [1, 3]


def test_every_weight_is_stored_once(trained, model):
    folder = training.model_folder(trained) / "variables"
    stored = sum(path.stat().st_size for path in folder.glob("variables.data-*"))
    weights = sum(int(tf.size(variable)) * variable.dtype.size for variable in model.weights)
    assert weights <= stored < 1.2 * weights


def test_warm_up_records_are_requests_that_the_model_answers(trained, model):
    path = training.model_folder(trained) / signatures.WARMUP_FILE
    logs = [PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]
    asked = []
    for log in logs:
        request = log.predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        answer = model.signatures[request.model_spec.signature_name](**inputs)
        asked.append((request.model_spec.signature_name, len(answer[signatures.LABEL_OUTPUT])))
    assert asked == [(name, n) for n in (1, 8) for name in (signatures.SERVING_DEFAULT, signatures.PIXELS)]


def test_the_output_folder_tells_the_run(trained):
    output = trained / environment.OUTPUT_DIR.lower()
    assert {path.name for path in output.iterdir()} == {
        environment.EVALUATION_FILE,
        environment.SUCCESS_MARKER,
        "loss.png",
        "accuracy.png",
        "confusion.png",
    }
    for name in ("loss.png", "accuracy.png", "confusion.png"):
        assert tf.io.decode_png((output / name).read_bytes()).shape[0] > 300
    document = training.evaluation(trained)
    assert document["images"] == {"train": 18, "val": 6, "test": 6}
    assert document["classes"] == CLASSES
    assert set(document["metrics"]) == {"val_loss", "val_accuracy", "test_loss", "test_accuracy", "loss", "accuracy"}
    assert document["metrics"]["accuracy"] == document["sets"]["test"]["accuracy"]
    assert document["sets"]["test"]["perClass"]["class-1"] == {"images": 2, "precision": 1, "recall": 1, "f1": 1}
    assert document["sets"]["test"]["confusionMatrix"]["counts"] == [[2, 0, 0], [0, 2, 0], [0, 0, 2]]
    assert [entry["epoch"] for entry in document["history"]] == [1, 2, 3]


def test_loss_and_accuracy_mean_training_in_the_last_line_of_progress_too(trained):
    text = (trained / "progress.jsonl").read_text(encoding="utf-8")
    document = training.evaluation(trained)
    entry = document["history"][-1]
    evaluated = {name: value for name, value in document["metrics"].items() if name not in ("loss", "accuracy")}
    assert evaluated.keys() == {"val_loss", "val_accuracy", "test_loss", "test_accuracy"}
    expected = {"loss": entry["loss"], "accuracy": entry["accuracy"], **evaluated}
    assert Progress.from_json(text.splitlines()[-1]).metrics == expected


def test_tensorboard_gets_a_point_per_epoch(trained):
    history = training.evaluation(trained)["history"]
    assert [entry["step"] for entry in history] == [5, 10, 15]
    expected = {
        (folder, tag): [(entry["step"], pytest.approx(entry[prefix + tag])) for entry in history]
        for folder, prefix in (("train", ""), ("validation", "val_"))
        for tag in ("loss", "accuracy")
    }
    assert training.summaries(trained) == expected
