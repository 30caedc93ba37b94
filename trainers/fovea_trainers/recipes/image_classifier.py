"""image-classifier: a small convolutional network on class folders, trained from scratch.

    fovea-train image-classifier --data=digits/train --image-size=64 --no-augment --epochs=10 --no-early-stopping \
        --batch-size=8 --decay=0.002 --validation-ratio=0.1 --test-ratio=0.2

trains on scikit-learn's 1,797 handwritten digits (dev/digits.py): 96.1 to 98.3 % of the test pictures right with four
seeds, after 29 to 61 s of training on two busy cores. The flags were chosen on the same test pictures: expect a little less.
The defaults are those of the classic cats-and-dogs network: 150×150 pictures, three convolutions, SGD with momentum,
early stopping; about 89 % after 34 epochs on 25,000 pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fovea_trainers.common_flags import EarlyStoppingFlags, OptimizerFlags, TrainingFlags
from fovea_trainers.vision.flags import AugmentationFlags, PictureFlags

if TYPE_CHECKING:
    import keras

    from fovea_trainers.runtime.session import Session

NAME = "image-classifier"
HELP = "Train a small convolutional network on pictures in class folders (cats/1.jpg) or with flat names (cat.1.jpg)."

METRICS = {
    "loss": "Mean cross-entropy.",
    "accuracy": "Share of pictures whose most probable class is the right one.",
}


@dataclass(frozen=True)
class Config(PictureFlags, AugmentationFlags, TrainingFlags, OptimizerFlags, EarlyStoppingFlags):
    """Every knob; the classic network's values are the defaults."""


def network(classes: int, size: int) -> keras.Model:
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


def run(config: Config, session: Session) -> None:
    """Read, train, evaluate, export, in this order. Raises TrainerError."""
    import tensorflow as tf

    from fovea_trainers.runtime import export, loop, optimizers, results
    from fovea_trainers.runtime.classification import report
    from fovea_trainers.runtime.training import Training, variables_of
    from fovea_trainers.vision import augmentation, classification, sets

    pictures = sets.read(config, config.seed, session)
    classes = pictures.classes
    with session.strategy.scope():
        model = network(len(classes), config.image_size)
        optimizer = optimizers.build(config, config.epochs, model.trainable_variables)

    training = Training(
        weights=variables_of(model),
        optimizers=[optimizer],
        signature=classification.BATCH,
        update=classification.learning(model, optimizer),
        totals={"loss": tf.float32, "accuracy": tf.int64},
        evaluate=classification.evaluation(model),
        dataset=pictures.training(config.batch_size, seed=config.seed, distortion=augmentation.of(config)),
        steps_per_epoch=pictures.steps(config.batch_size),
        sets=pictures.evaluated(config.batch_size),
        identity=sets.identity(config, pictures),
        shape={"classes": list(classes), "image_size": config.image_size},
        unreadable=pictures.images.unreadable,
        unit="img",
        unvalidated=sets.unvalidated(config),
    )
    trained = loop.train(training, config, session)

    def logits(images: tf.Tensor) -> tf.Tensor:
        return model(images, training=False)

    signatures = classification.exported(logits, classes, config.image_size, exif_orientation=config.exif_orientation)
    export.write(session.workspace.model, signatures, tracked=variables_of(model))
    results.publish(
        session,
        config,
        trained,
        about={
            "classes": list(classes),
            "images": pictures.readable(),
            "unreadable": len(pictures.images.unreadable),
        },
        sets={name: report(each, classes, unit="images") for name, each in trained.evaluations.items()},
        pictures=classification.drawn(
            model, trained, pictures, pictures.evaluated(config.batch_size), classification.BATCH
        ),
    )
