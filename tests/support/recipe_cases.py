"""Small runs of every recipe in each of its ways, for tests that compare one way of running with another."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from fovea_api.contract import environment, exit_codes
from fovea_trainers.datasets import captions
from fovea_trainers.recipes import face_verifier
from fovea_trainers.vision import backbones
from support import faces, masks, tables, training

TWO_EPOCHS = ("--epochs=2", "--no-early-stopping")


def folders(root: Path) -> Path:
    """12 pictures to train on: 3 batches of 5, 5 and 2."""
    return training.write_pictures(root, per_class=8, classes=2)


def shapes(root: Path) -> Path:
    """48 captions to train on or a few more: 4 batches of 16 at most."""
    root.mkdir()
    captions.write(root, count=12, seed=2)
    return root


def mobilenet(root: Path) -> Path:
    """Random weights, great enough that something of a picture is left at the end."""
    root.mkdir()
    keras.utils.set_random_seed(3)
    model = backbones.build("mobilenet", 32).model
    for layer in model.layers:
        layer.set_weights([each * 1.5 if each.ndim == 4 else each for each in layer.get_weights()])
    model.save_weights(root / "mobilenet.weights.h5")
    return root / "mobilenet.weights.h5"


def small(root: Path) -> Path:
    """Of face-verifier's own network, random ones."""
    root.mkdir()
    keras.utils.set_random_seed(3)
    face_verifier.network("small", 16).save_weights(root / "small.weights.h5")
    return root / "small.weights.h5"


def people(root: Path) -> Path:
    """6 people to learn from, three pictures of each: 3 batches of 6."""
    return faces.coloured(root, 12)


def squares(root: Path) -> Path:
    """8 pictures to train on: 3 batches of 3, 3 and 2."""
    return masks.write(root, 12)


def flowers(root: Path) -> Path:
    """48 rows to train on: 4 batches of 15, 15, 15 and 3."""
    return tables.write(root / "flowers.csv", tables.flowers(60)).parent


@dataclass(frozen=True)
class Case:
    """A recipe with flags."""

    recipe: str
    data: Callable[[Path], Path]
    flags: tuple[str, ...]
    epoch: int
    """Steps of an epoch; 0 where nothing is trained."""
    exact: bool = False
    """Whether nothing depends on a share of a batch alone, as dropout and normalization do."""
    weights: Callable[[Path], Path] | None = None
    adds_up_rows: bool = False
    """Whether gradients of single rows (embeddings) are added up by synchronous parameter servers and not by one process."""
    drifting: tuple[str, ...] = ()
    """Variables on which nothing depends, so that their gradients are rounding, of which Adam makes whole steps."""


FACE = (
    *("--image-size=16", "--batch-size=6", "--pictures-per-person=3", "--fgsm=2"),
    "--validation-ratio=0.25",
    "--test-ratio=0.25",
)
CAPTION = (
    *("--d-model=16", "--layers=1", "--heads=2", "--dff=16", "--warmup-steps=20", "--longest=12", "--beams=2"),
    *("--batch-size=16", "--image-size=32", "--dropout=0"),
)
TABLE = ("--label-column=kind", "--batch-size=15", "--hidden=8,4", "--validation-ratio=0.2")
PICTURES = ("--batch-size=5", "--validation-ratio=0.25")
HEAD = ("--image-size=32", "--backbone=mobilenet", "--head=8", "--head-dropout=0", "--feature-maps=conv_pw_1_relu")
TUNED = ("--image-size=32", "--backbone=mobilenet", "--fine-tune=2")
CASES = {
    "image-classifier": Case("image-classifier", folders, ("--image-size=16", *PICTURES), 3),
    "image-classifier, fine-tuned": Case("image-classifier", folders, (*TUNED, *PICTURES), 3, weights=mobilenet),
    "transfer-classifier": Case(
        "transfer-classifier", folders, (*HEAD, *PICTURES), 3,
        exact=True, weights=mobilenet
    ),
    "face-verifier, none": Case("face-verifier", people, ("--loss=none", *FACE), 0, exact=True, weights=small),
    "face-verifier, softmax": Case("face-verifier", people, ("--loss=softmax", *FACE), 3),
    "face-verifier, center": Case("face-verifier", people, ("--loss=center", *FACE), 3),
    "face-verifier, triplet": Case("face-verifier", people, ("--loss=triplet", *FACE), 3),
    "caption-generator": Case("caption-generator", shapes, (*CAPTION, "--backbone=small-cnn"), 4),
    "caption-generator, features": Case(
        "caption-generator", shapes, (*CAPTION, "--backbone=mobilenet"), 4, exact=True, weights=mobilenet,
        adds_up_rows=True,
        drifting=("model/5", "model/21", "model/29"),  # biases of keys: they add the same to all scores of a query
    ),
    "segmenter, unet-mini": Case("segmenter", squares, ("--image-size=32", "--batch-size=3"), 3),
    "segmenter, mobilenet-unet": Case(
        "segmenter", squares, ("--image-size=32", "--batch-size=3", "--model=mobilenet-unet"), 3
    ),
    "tabular, lr": Case("tabular", flowers, (*TABLE, "--model=lr"), 4, exact=True),
    "tabular, dnn": Case("tabular", flowers, (*TABLE, "--model=dnn"), 4, exact=True),
    "tabular, wide and deep": Case("tabular", flowers, (*TABLE, "--model=wide-and-deep"), 4, exact=True),
}  # fmt: skip


class Runs:
    """What the tests share: made data and weights, and the runs in one process."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._singles: dict[str, Path] = {}

    def made(self, make: Callable[[Path], Path]) -> Path:
        """What a function writes, written once."""
        known = self._root / f"{make.__name__}.path"
        if not known.exists():
            known.write_text(str(make(self._root / make.__name__)), encoding="utf-8")
        return Path(known.read_text(encoding="utf-8"))

    def command(self, case: Case, steps: int) -> tuple[str, ...]:
        """A number of steps of a recipe; 0: as many as two epochs have."""
        data = (f"--data={self.made(case.data)}",)
        given = data if case.weights is None else (*data, f"--weights={self.made(case.weights)}")
        return (case.recipe, *given, *case.flags, *TWO_EPOCHS, *((f"--max-steps={steps}",) if steps else ()))

    def single(self, name: str, steps: int) -> Path:
        """The folder of a run in this process."""
        if name not in self._singles:
            root = self._root / f"single-{len(self._singles)}"
            assert training.run(root, *self.command(CASES[name], steps)) == exit_codes.OK
            self._singles[name] = root
        return self._singles[name]


def values(root: Path) -> dict[str, Any]:
    """Every variable of the newest checkpoint of a run, which its name begins with: model/0, optimizer/0, running/0, …"""
    newest = root / environment.CHECKPOINT_DIR.lower() / str(training.checkpoints(root)[-1])
    reader = tf.train.load_checkpoint(str(newest / "variables"))
    names = (name for name in reader.get_variable_to_shape_map() if name != training.OBJECT_GRAPH)
    return {name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"): reader.get_tensor(name) for name in names}
