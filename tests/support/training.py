"""Small pictures, runs of recipes in this process or another, and the bytes of what they trained."""

import importlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from fovea_api.contract import environment
from fovea_trainers.entry import RECIPES
from fovea_trainers.main import main
from fovea_trainers.recipes import image_classifier
from support import warm_trainers
from support.polling import until
from tensorflow.core.util.event_pb2 import Event

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
FLAGS = (
    *("--image-size=16", "--batch-size=4", "--validation-ratio=0.2", "--no-early-stopping"),
    "--no-exif-orientation",  # no picture here is turned, and the search for it is a fifth of what such a short run takes
)


def write_pictures(root: Path, *, per_class: int, classes: int = 3, size: int = 20) -> Path:
    """Class folders of PNGs: each class a colour, each picture with noise of its own."""
    noise = np.random.default_rng(7)
    for label in range(classes):
        colour = np.eye(3)[label % 3] * 160
        for number in range(per_class):
            pixels = np.clip(colour + noise.integers(0, 96, (size, size, 3)), 0, 255).astype(np.uint8)
            path = root / f"class-{label}" / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tf.io.encode_png(pixels).numpy())
    return root


def write_overflowing_weights(path: Path) -> Path:
    """Weights of the image classifier on three classes by which the first update, with a great learning rate, gives infinite ones.

    A great learning rate alone does not diverge for sure: the units may die of it, and the loss stays a number. Rounding
    decides on that, and processors round differently.
    """
    keras.utils.set_random_seed(1)
    model = image_classifier.convolutions(3, 16)
    last = model.layers[-1].kernel
    last.assign(last * 1e37)
    model.save_weights(path)
    return path


def variables(root: Path, **more: str) -> dict[str, str]:
    """The contract's environment for a run below a folder."""
    names = (
        environment.CHECKPOINT_DIR,
        environment.MODEL_DIR,
        environment.OUTPUT_DIR,
        environment.LOG_DIR,
        environment.CACHE_DIR,
    )
    directories = {name: str(root / name.lower()) for name in names}
    return {**directories, environment.PROGRESS_FILE: str(root / "progress.jsonl"), **more}


def checkpoints(root: Path) -> list[int]:
    """Steps of the checkpoints of a run below a folder, ascending."""
    folder = root / environment.CHECKPOINT_DIR.lower()
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal())


def model_folder(root: Path) -> Path:
    """Where a run below a folder exports to."""
    return root / environment.MODEL_DIR.lower()


def evaluation(root: Path) -> dict[str, Any]:
    """evaluation.json of a run below a folder; a recipe of the image describes all that it measures."""
    text = (root / environment.OUTPUT_DIR.lower() / environment.EVALUATION_FILE).read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    if document["recipe"] in RECIPES:
        described = importlib.import_module(RECIPES[document["recipe"]]).METRICS
        measured = {name.removeprefix("val_").removeprefix("test_") for name in document["metrics"]}
        assert measured <= described.keys(), f"the recipe's METRICS do not describe {measured - described.keys()}"
    return document


def trained_bytes(root: Path, part: str = "") -> dict[str, bytes]:
    """Bytes of every variable (weights, optimizer, seeds) in the newest checkpoint of a run below a folder; or of one part."""
    newest = root / environment.CHECKPOINT_DIR.lower() / str(checkpoints(root)[-1])
    reader = tf.train.load_checkpoint(str(newest / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith(part) and name != OBJECT_GRAPH]
    return {name: reader.get_tensor(name).tobytes() for name in sorted(names)}


def summaries(root: Path) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """(step, value) of every TensorBoard scalar of a run below a folder, by (folder, tag), in the order of the file."""
    points: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for path in sorted((root / environment.LOG_DIR.lower()).glob("*/events.*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                point = (event.step, float(tf.make_ndarray(value.tensor)))
                points.setdefault((path.parent.name, value.tag), []).append(point)
    return points


@contextmanager
def environ(values: dict[str, str]) -> Iterator[None]:
    """The process's environment with these variables, for a while."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def train(root: Path, data: Path, *flags: str, **more: str) -> int:
    """Run the image classifier in this process; returns its exit code."""
    return run(root, "image-classifier", f"--data={data}", *FLAGS, *flags, **more)


def run(root: Path, *command: str, **more: str) -> int:
    """Run `fovea-train` in this process; returns its exit code."""
    with environ(variables(root, **more)):
        return main(list(command))


def start(root: Path, data: Path, *flags: str) -> subprocess.Popen[str]:
    """Run the image classifier in a process of its own."""
    return begin(root, "image-classifier", f"--data={data}", *FLAGS, *flags)


def begin(root: Path, *command: str, **more: str) -> subprocess.Popen[str]:
    """Run `fovea-train` in a process of its own."""
    return subprocess.Popen(
        warm_trainers.command(*command),
        env={**os.environ, **variables(root, **more)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str], *, seconds: float = 180) -> None:
    """Poll until the condition holds; fails when the process ends first or the time is over, and then leaves no process."""

    def probe() -> object:
        met = condition()
        assert met or process.poll() is None, f"ended with {process.returncode} too early: {process.communicate()[0]}"
        return met

    try:
        until(probe, seconds=seconds, what="what the training was to do", every=0.005)
    except BaseException:
        process.kill()  # the trainer behind it ends with it
        process.communicate()
        raise
