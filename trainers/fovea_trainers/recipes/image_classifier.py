"""image-classifier: a small convolutional network on class folders, trained from scratch.

    fovea-train image-classifier --data=digits/train --image-size=64 --no-augment --epochs=10 --no-early-stopping \
        --batch-size=16 --validation-ratio=0.1 --test-ratio=0.1

trains on scikit-learn's 1,797 handwritten digits: SCORE % of the test pictures right, after SECONDS s on two cores.
The defaults are those of the classic cats-and-dogs network: 150×150 pictures, three convolutions, SGD with momentum,
early stopping; about 89 % after 34 epochs on 25,000 pictures. Read it from top to bottom: things happen in this order.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from fovea_api.contract import environment
from fovea_trainers.flags import flag

if TYPE_CHECKING:
    import keras
    from fovea_trainers.runtime.interruption import Interruption
    from fovea_trainers.runtime.workspace import Workspace

NAME = "image-classifier"
HELP = "Train a small convolutional network on pictures in class folders (cats/1.jpg) or with flat names (cat.1.jpg)."
OPTIMIZERS = ("sgd", "adadelta", "adagrad", "adam", "adamw", "ftrl", "rmsprop")


@dataclasses.dataclass(frozen=True)
class Config:
    """Every knob, with the classic network's value."""

    data: str = flag("", "Folder of pictures; empty: the input named data, or the only input.")
    image_size: int = flag(150, "Width and height that pictures are scaled to, in pixels.", minimum=8, maximum=1024)
    validation_ratio: float = flag(0.2, "Share of each class kept for validation.", minimum=0, maximum=0.9)
    test_ratio: float = flag(0.0, "Share of each class kept for the final test.", minimum=0, maximum=0.9)
    max_unreadable: float = flag(
        0.1, "Greatest share of unreadable pictures; above it training stops.", minimum=0, maximum=1
    )
    cache_images: bool = flag(True, "Keep decoded pictures in memory where they fit in --cache-mib.")
    cache_mib: int = flag(1024, "Most memory for decoded pictures, in MiB.", minimum=1)
    augment: bool = flag(True, "Distort training pictures at random; off switches shear, zoom and flip off together.")
    shear: float = flag(0.2, "Greatest shear angle, in radians.", minimum=0, maximum=1.5)
    zoom: float = flag(0.2, "Greatest change of scale: 0.2 is 0.8 to 1.2.", minimum=0, maximum=0.9)
    flip: bool = flag(True, "Mirror every other picture left to right.")
    epochs: int = flag(50, "Most passes over the training pictures.", minimum=1, maximum=100000)
    batch_size: int = flag(32, "Pictures per step.", minimum=1, maximum=65536)
    max_steps: int | None = flag(None, "Stop after this many steps; none: after the epochs.", minimum=1)
    optimizer: str = flag("sgd", "How weights are updated.", choices=OPTIMIZERS)
    learning_rate: float = flag(0.01, "Step size at the start; adam likes 0.001, adadelta 1.", minimum=0, maximum=100)
    momentum: float = flag(0.9, "Momentum of sgd and rmsprop.", minimum=0, maximum=1)
    decay: float | None = flag(
        None, "Learning rate at step s is rate / (1 + decay * s); none: rate / epochs.", minimum=0
    )
    early_stopping: bool = flag(True, "Stop when the validation loss does not fall any more.")
    patience: int = flag(2, "Epochs without a lower validation loss before early stopping.", minimum=1)
    min_delta: float = flag(0.0, "How much lower the validation loss must be to count.", minimum=0)
    seed: int = flag(1, "Seed of split, weights, order, dropout and distortion.", minimum=0, maximum=2**31 - 1)
    checkpoint_every_steps: int | None = flag(
        None, "Steps between checkpoints; none: what the job says, else an epoch.", minimum=1
    )


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
    import numpy as np
    import tensorflow as tf
    from fovea_trainers.data import augmentation, image_folders, images
    from fovea_trainers.runtime import classification, curves, export, loop, optimizers, results, strategy
    from fovea_trainers.runtime.checkpoints import Checkpoints, Run
    from fovea_trainers.runtime.metrics import Running
    from fovea_trainers.runtime.progress import Reporter, say
    from fovea_trainers.runtime.summaries import Summaries

    workspace.prepare()
    tf.config.experimental.enable_op_determinism()  # a resumed run ends with the bytes of an undisturbed one
    keras.utils.set_random_seed(config.seed)
    place = strategy.select(os.environ.get(environment.TF_CONFIG))

    # 1. Data
    listing = image_folders.scan(workspace.data(config.data))
    cache_bytes = config.cache_mib * 2**20 if config.cache_images else 0
    data = images.read(
        listing, config.image_size, cache_bytes=cache_bytes, max_unreadable=config.max_unreadable, say=say
    )
    sets = image_folders.split(
        data.pictures, validation_ratio=config.validation_ratio, test_ratio=config.test_ratio, seed=config.seed
    )
    train, validation, test = (np.array(sets[part], np.int64) for part in ("train", "validation", "test"))
    distortion = augmentation.Augmentation(config.shear, config.zoom, config.flip) if config.augment else None

    def batches(epoch: int, first: int) -> tf.data.Dataset:
        order = augmentation.order(len(train), seed=config.seed, epoch=epoch)
        order = order[first * config.batch_size :]
        if distortion is None:
            return data.batches(train[order], config.batch_size)
        maps = augmentation.transforms(distortion, len(train), data.size, seed=config.seed, epoch=epoch)
        return data.batches(train[order], config.batch_size, maps[order])

    # 2. Model, optimizer, steps
    with place.scope():
        model = build_model(len(data.classes), config.image_size)
        decay = config.learning_rate / config.epochs if config.decay is None else config.decay
        optimizer = optimizers.build(
            config.optimizer, learning_rate=config.learning_rate, decay=decay, momentum=config.momentum
        )
        optimizer.build(model.trainable_variables)
        running = Running()
    evaluate = classification.evaluator(model, len(data.classes))

    def validate() -> dict[str, float]:
        if not len(validation):
            return {}
        result = evaluate(data.batches(validation, config.batch_size))
        return {"val_loss": result.loss, "val_accuracy": result.accuracy}

    # 3. Where to begin (the policy is in checkpoints.py) and how far to go
    steps_per_epoch = -(-len(train) // config.batch_size)
    every = config.checkpoint_every_steps or workspace.checkpoint_every_steps or steps_per_epoch
    patience = config.patience if config.early_stopping else None
    schedule = loop.Schedule(config.epochs, steps_per_epoch, every, config.max_steps, patience, config.min_delta)
    ordering = {name: getattr(config, name) for name in ("seed", "batch_size", "validation_ratio", "test_ratio")}
    checkpoints = Checkpoints(
        workspace.checkpoints,
        run=Run(
            identity={"job": workspace.job, "data": data.fingerprint, **ordering},
            shape={"recipe": NAME, "classes": list(data.classes), "image_size": config.image_size},
            optimizer=config.optimizer,
        ),
        keep=workspace.checkpoint_keep,
        model=[variable.value for variable in model.variables],
        optimizer=[variable.value for variable in optimizer.variables],
        running=running.variables,
    )
    resumed = checkpoints.resume()
    position = resumed.position
    reporter = Reporter(
        workspace.progress,
        steps=schedule.steps,
        steps_per_epoch=steps_per_epoch,
        epochs=config.epochs,
        batch_size=config.batch_size,
    )
    say(
        f"{len(train)} training, {len(validation)} validation, {len(test)} test pictures of {len(data.classes)} classes"
    )
    say(resumed.message)
    reporter.begin(position)

    # 4. Train
    summaries = Summaries(workspace.logs)
    training = loop.Training(batches, classification.train_step(model, optimizer, running), running, validate)
    loop.fit(
        training,
        schedule,
        position,
        strategy=place,
        checkpoints=checkpoints,
        reporter=reporter,
        summaries=summaries,
        interruption=interruption,
    )
    summaries.close()

    # 5. Evaluate, export, and say that it is done
    parts = {"val": validation, "test": test}
    evaluations = {name: evaluate(data.batches(part, config.batch_size)) for name, part in parts.items() if len(part)}
    metrics = {f"{name}_{key}": getattr(e, key) for name, e in evaluations.items() for key in ("loss", "accuracy")}
    if evaluations:  # the headline is the test's, else the validation's
        headline = list(evaluations.values())[-1]
        metrics |= {"loss": headline.loss, "accuracy": headline.accuracy}
    export.export_classifier(model, data.classes, config.image_size, workspace.model)
    for metric in ("loss", "accuracy"):
        curves.draw(position.history, metric, workspace.output / f"{metric}.png")
    results.write_evaluation(
        workspace.output,
        {
            "recipe": NAME,
            "metrics": metrics,
            "classes": list(data.classes),
            "images": {"train": len(train), **{name: len(part) for name, part in parts.items()}},
            "unreadable": len(listing.pictures) - len(data.pictures),
            "epochs": position.epoch,
            "steps": position.done,
            "seconds": round(position.seconds, 3),
            "stoppedEarly": position.stopped_early,
            "sets": {name: e.to_json(data.classes) for name, e in evaluations.items()},
            "history": position.history,
            "flags": dataclasses.asdict(config),
        },
    )
    reporter.end(position, metrics)
    say("done: " + " ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    results.mark_success(workspace.output)
