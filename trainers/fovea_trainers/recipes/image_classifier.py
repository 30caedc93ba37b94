"""image-classifier: a small convolutional network on class folders, trained from scratch; or a published one, fine-tuned.

    fovea-train image-classifier --data=digits/train --image-size=64 --no-augment --epochs=10 --no-early-stopping \
        --batch-size=8 --decay=0.002 --validation-ratio=0.1 --test-ratio=0.2

trains on scikit-learn's 1,797 handwritten digits (dev/digits.py): 96.1 to 98.3 % of the test pictures right with four
seeds, after 29 to 61 s of training on two busy cores. The flags were chosen on the same test pictures: expect a little less.
The defaults are those of the classic cats-and-dogs network: 150×150 pictures, three convolutions, SGD with momentum,
early stopping; about 89 % after 34 epochs on 25,000 pictures.

    fovea-train image-classifier --data=pets --backbone=mobilenetv2 --weights=mobilenetv2_notop.h5 --fine-tune=20

puts one layer on the average of what a published network sees. With `--weights` that network stays as it is, but for its last
layers: `--fine-tune` says how many of those with weights are trained. Normalization among them goes by the statistics of the
weights, and is not trained. Without `--weights` all of it is trained from scratch. A second run with another `--fine-tune` in the same folder, or
with the first as `checkpoint.from`, goes on from what the first has learnt: first the new layer, then more of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fovea_trainers.common_flags import EarlyStoppingFlags, OptimizerFlags, TrainingFlags, WeightsFlags
from fovea_trainers.errors import FlagError
from fovea_trainers.flags import flag
from fovea_trainers.vision import backbones
from fovea_trainers.vision.flags import AugmentationFlags, ClassifierFlags, StreamFlags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import keras
    import tensorflow as tf

    from fovea_trainers.runtime.export import Signature
    from fovea_trainers.runtime.pretrained import Loaded
    from fovea_trainers.runtime.session import Session
    from fovea_trainers.runtime.training import Training
    from fovea_trainers.vision.backbones import Backbone
    from fovea_trainers.vision.sets import Sets

NAME = "image-classifier"
HELP = "Train a convolutional network on pictures in class folders (cats/1.jpg) or with flat names (cat.1.jpg)."
CNN = "cnn"

METRICS = {
    "loss": "Mean cross-entropy.",
    "accuracy": "Share of pictures whose most probable class is the right one.",
}


@dataclass(frozen=True)
class Config(
    ClassifierFlags, StreamFlags, AugmentationFlags, WeightsFlags, TrainingFlags, OptimizerFlags, EarlyStoppingFlags
):
    """Every knob; the classic network's values are the defaults."""

    backbone: str = flag(
        CNN, "cnn: three convolutions; else a published network with one layer on top.", choices=(CNN, *backbones.NAMES)
    )
    fine_tune: int | None = flag(
        None,
        "How many of the last layers with weights of a pretrained backbone are trained; none: no layer of it.",
        minimum=0,
    )


def convolutions(classes: int, size: int) -> keras.Model:
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
            layers.Dense(classes, dtype="float32"),
        ]
    )


def on_top(backbone: Backbone, classes: int) -> keras.Model:
    """Images as `convolutions` -> logits [n, classes], from the average of what a backbone sees."""
    from keras import Input, Model, layers

    images = Input((backbone.size, backbone.size, 3))
    seen = layers.GlobalAveragePooling2D()(backbone.features(images, training=None))
    return Model(images, layers.Dense(classes, dtype="float32")(layers.Dropout(0.2)(seen)))


def network(config: Config, classes: int) -> tuple[keras.Model, Backbone]:
    """The whole network, and the part of it that `--weights` and `--feature-maps` are about. Raises FlagError."""
    if config.backbone == CNN:
        model = convolutions(classes, config.image_size)
        return model, backbones.Backbone(CNN, config.image_size, model, lambda images: images)
    backbone = backbones.build(config.backbone, config.image_size)
    return on_top(backbone, classes), backbone


def run(config: Config, session: Session) -> None:
    """Read, train, evaluate, export, in this order. Raises TrainerError."""
    from fovea_trainers.runtime import export, loop, results
    from fovea_trainers.runtime.classification import report
    from fovea_trainers.runtime.training import variables_of
    from fovea_trainers.vision import classification, feature_maps, sets, unlabelled

    weights = weights_of(config, session)
    asked = unlabelled.find(config, session)
    pictures = sets.read(config, config.seed, session, window=config.shuffle_shards)
    unlabelled.require_apart(asked, pictures.listing)
    with session.strategy.scope():
        model, backbone, loaded = begun(config, weights, len(pictures.classes))
        training = learning(config, model, pictures, loaded)
    trained = loop.train(training, config, session)

    export.write(session.workspace.model, exported(config, model, pictures.classes), tracked=variables_of(model))
    results.publish(
        session,
        config,
        trained,
        about=classification.about(pictures)
        | {"backbone": config.backbone, "weights": loaded.about()}
        | unlabelled.answer(asked, pictures.classes, config.batch_size, session),
        sets={name: report(each, pictures.classes, unit="images") for name, each in trained.evaluations.items()},
        pictures=classification.drawn(model, trained, pictures, training.sets, training.signature)
        | feature_maps.drawn(backbone, config.feature_maps, pictures),
    )


def weights_of(config: Config, session: Session) -> Path | None:
    """The file of weights that the network begins with, if there is one. Raises FlagError for --fine-tune without one."""
    weights = session.workspace.weights(config.weights)
    if config.fine_tune is not None and (weights is None or config.backbone == CNN):
        raise FlagError(
            "--fine-tune is about a pretrained backbone: give --backbone and --weights as well, or leave it out"
        )
    return weights


def begun(config: Config, weights: Path | None, classes: int) -> tuple[keras.Model, Backbone, Loaded]:
    """The network as the training begins with it: its weights, and which of them stay as they are."""
    from fovea_trainers.runtime import pretrained
    from fovea_trainers.vision import feature_maps

    model, backbone = network(config, classes)
    if config.feature_maps:
        feature_maps.until(backbone, config.feature_maps)  # a layer that is not there is said before the training
    loaded = pretrained.load(backbone.model, weights, frozen=config.backbone != CNN)
    if weights is not None and config.backbone != CNN:
        backbones.freeze(backbone, but_last=config.fine_tune or 0)
    return model, backbone, loaded


def learning(config: Config, model: keras.Model, pictures: Sets, loaded: Loaded) -> Training:
    """How the network learns from the pictures."""
    import tensorflow as tf

    from fovea_trainers.runtime import optimizers
    from fovea_trainers.runtime.training import Training, variables_of
    from fovea_trainers.vision import augmentation, classification, sets

    part = "" if config.backbone == CNN else f"{len(model.trainable_variables)} variables"
    optimizer = optimizers.build(config, config.epochs, model.trainable_variables, part=part)
    return Training(
        weights=variables_of(model),
        optimizers=[optimizer],
        signature=classification.BATCH,
        update=classification.learning(model, optimizer),
        totals={"loss": tf.float32, "accuracy": tf.int64},
        evaluate=classification.evaluation(model),
        dataset=pictures.training(config.batch_size, seed=config.seed, distortion=augmentation.of(config)),
        steps_per_epoch=pictures.steps(config.batch_size),
        sets=pictures.evaluated(config.batch_size),
        identity=sets.identity(config, pictures)
        | ({"weights": loaded.digest, "fine_tune": config.fine_tune or 0} if loaded.digest else {}),
        shape={"classes": list(pictures.classes), "image_size": config.image_size}
        | ({} if config.backbone == CNN else {"backbone": config.backbone}),
        unreadable=pictures.images.unreadable,
        unit="img",
        unvalidated=sets.unvalidated(config),
    )


def exported(config: Config, model: keras.Model, classes: Sequence[str]) -> Mapping[str, Signature]:
    """Pictures to classes."""
    from fovea_trainers.vision import classification

    def logits(images: tf.Tensor) -> tf.Tensor:
        return model(images, training=False)

    return classification.exported(logits, classes, config.image_size, exif_orientation=config.exif_orientation)
