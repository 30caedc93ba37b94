"""transfer-classifier: a small network on what a published one sees in the pictures.

    fovea-train transfer-classifier --data=pets --weights=vgg16_notop.h5

VGG16 without its classifier looks once at every picture of 150×150 pixels. What it sees (4×4×512 numbers a picture, the
bottleneck features) is kept in the cache, and a head of two dense layers is trained on it: 15 epochs take seconds, and so does
a second run with another head. `--weights` is a file of the backbone's published weights; none is ever downloaded.
`--backbone` names another network of keras.applications, or efficientnet-lite0.

On crops of five photographs, 100 of each to train on, a head on EfficientNet-Lite0 has 99.5 % of the test crops right, and the
three convolutions of image-classifier 76 %, after more time (benchmarks/transfer_learning.py).

The values are those of the classic cats-and-dogs article, which reached 90.7 % on 25,000 pictures. Three of its slips are
put right. Labels come from the files' names, not from the assumption that half of the files, in their order, are cats. The
last batch is used, however small. And pictures reach the network as its weights want them (VGG16: blue first, less the mean
of each channel), not divided by 255. Pictures are not distorted at random: each would need features of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fovea_trainers.common_flags import EarlyStoppingFlags, OptimizerFlags, TrainingFlags, WeightsFlags
from fovea_trainers.errors import FlagError, WeightsError
from fovea_trainers.flags import flag, whole_numbers
from fovea_trainers.vision import backbones
from fovea_trainers.vision.flags import ClassifierFlags

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

NAME = "transfer-classifier"
HELP = "Train a small head on what a published network (VGG16, MobileNetV2, …) sees in labelled pictures."
SIGMOID, SOFTMAX = "sigmoid", "softmax"

METRICS = {
    "loss": "Mean cross-entropy.",
    "accuracy": "Share of pictures whose most probable class is the right one.",
}


@dataclass(frozen=True)
class Config(ClassifierFlags, WeightsFlags, TrainingFlags, OptimizerFlags, EarlyStoppingFlags):
    """Every knob; the article's values are the defaults."""

    epochs: int = 15
    optimizer: str = "rmsprop"
    learning_rate: float = 0.001
    momentum: float = 0.0
    decay: float | None = 0.0
    patience: int = 5
    cache_images: bool = False  # each picture is read once
    backbone: str = flag("vgg16", "Network whose features are used.", choices=backbones.NAMES)
    pooling: str = flag(
        "none",
        "What the head sees of each channel of the features: all places, their average, or their greatest value.",
        choices=("none", "average", "max"),
    )
    head: str = flag("512,256", "Units of the head's dense layers, from the first to the last.")
    head_dropout: str = flag("0.5,0.2", "Share of each dense layer's units left out at random.")
    output: str = flag(
        SIGMOID,
        "sigmoid: one output where there are two classes; softmax: one for each class, as there always is for more classes.",
        choices=(SIGMOID, SOFTMAX),
    )


def head(config: Config, features: tuple[int, ...], classes: int) -> keras.Model:
    """Features [n, …] -> logits [n, classes]; loss and exported signatures add the softmax.

    A single output x makes the logits 0 and x: their softmax is the sigmoid of x.
    """
    from keras import Input, Model, layers, ops

    inputs = Input(features)
    seen = layers.Flatten()(inputs)
    for units, dropout in zip(units_of(config), dropouts_of(config), strict=True):
        seen = layers.Dense(units, activation="relu")(seen)
        if dropout:
            seen = layers.Dropout(dropout)(seen)
    if config.output == SIGMOID and classes == 2:
        return Model(inputs, ops.pad(layers.Dense(1, dtype="float32")(seen), ((0, 0), (1, 0))))
    return Model(inputs, layers.Dense(classes, dtype="float32")(seen))


def run(config: Config, session: Session) -> None:
    """Read, compute features, train the head, evaluate, export both in one model. Raises TrainerError."""
    from fovea_trainers.runtime import export, loop, results
    from fovea_trainers.runtime.classification import report
    from fovea_trainers.runtime.training import variables_of
    from fovea_trainers.vision import classification, feature_maps, sets, unlabelled

    units_of(config), dropouts_of(config)  # what is wrong with the flags is said before anything is read
    weights = weights_of(config, session)
    asked = unlabelled.find(config, session)
    pictures = sets.read(config, config.seed, session)
    unlabelled.require_apart(asked, pictures.listing)
    backbone, loaded = published(config, session, weights)
    seen = looked_at(config, session, backbone, pictures)
    model, training = learning(config, session, seen, loaded)
    trained = loop.train(training, config, session)

    export.write(
        session.workspace.model,
        exported(config, backbone, model, pictures.classes),
        variables_of(backbone.model, model),
    )
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


def weights_of(config: Config, session: Session) -> Path:
    """The file of the backbone's weights. Raises WeightsError where there is none."""
    weights = session.workspace.weights(config.weights)
    if weights is None:
        raise WeightsError(
            f"there are no weights for {config.backbone}: give --weights=FILE, or the job an input named weights; "
            "to train a network from scratch, take the recipe image-classifier"
        )
    return weights


def published(config: Config, session: Session, weights: Path) -> tuple[Backbone, Loaded]:
    """The network that looks at pictures, with its weights, none of which is trained."""
    from fovea_trainers.runtime import pretrained
    from fovea_trainers.vision import feature_maps

    with session.strategy.scope():
        backbone = backbones.build(config.backbone, config.image_size)
        if config.feature_maps:
            feature_maps.until(backbone, config.feature_maps)  # a layer that is not there is said before the training
        loaded = pretrained.load(backbone.model, weights, frozen=True)
        backbones.freeze(backbone, but_last=0)
    return backbone, loaded


def looked_at(config: Config, session: Session, backbone: Backbone, pictures: Sets) -> Sets:
    """The same sets with what the backbone sees in the place of the pixels: computed now, or taken from the cache."""
    import numpy as np

    from fovea_trainers.vision import features

    used = np.concatenate([pictures.train, pictures.validation, pictures.test])
    seen = features.of(
        backbone,
        pictures.images,
        used,
        session,
        exif_orientation=config.exif_orientation,
        pooling=config.pooling,
    )
    return replace(pictures, images=seen)


def learning(config: Config, session: Session, seen: Sets, loaded: Loaded) -> tuple[keras.Model, Training]:
    """The head, and how it learns from features."""
    import tensorflow as tf

    from fovea_trainers.runtime import optimizers
    from fovea_trainers.runtime.training import Training, variables_of
    from fovea_trainers.vision import classification, sets

    with session.strategy.scope():
        model = head(config, seen.images.shapes[0], len(seen.classes))
        optimizer = optimizers.build(config, config.epochs, model.trainable_variables)
    return model, Training(
        weights=variables_of(model),
        optimizers=[optimizer],
        signature=(tf.TensorSpec([None, *seen.images.shapes[0]], tf.float32), tf.TensorSpec([None], tf.int32)),
        update=classification.learning(model, optimizer),
        totals={"loss": tf.float32, "accuracy": tf.int64},
        evaluate=classification.evaluation(model),
        dataset=seen.training(config.batch_size, seed=config.seed, distortion=None),
        steps_per_epoch=seen.steps(config.batch_size),
        sets=seen.evaluated(config.batch_size),
        identity=sets.identity(config, seen) | {"weights": loaded.digest},
        shape={
            "classes": list(seen.classes),
            "image_size": config.image_size,
            "backbone": config.backbone,
            "pooling": config.pooling,
            "head": units_of(config),
            "head_dropout": dropouts_of(config),
            "output": config.output,
        },
        unreadable=seen.images.unreadable,
        unit="img",
        unvalidated=sets.unvalidated(config),
    )


def exported(config: Config, backbone: Backbone, model: keras.Model, classes: Sequence[str]) -> Mapping[str, Signature]:
    """Pictures to classes: the network and the head as one model."""
    from fovea_trainers.vision import classification, features

    def logits(images: tf.Tensor) -> tf.Tensor:
        return model(features.pooled(backbone.features(images), config.pooling), training=False)

    return classification.exported(logits, classes, config.image_size, exif_orientation=config.exif_orientation)


def units_of(config: Config) -> list[int]:
    """--head as numbers. Raises FlagError."""
    return whole_numbers("head", config.head, example="512,256")


def dropouts_of(config: Config) -> list[float]:
    """--head-dropout as numbers, one for each layer. Raises FlagError."""
    try:
        shares = [float(word) for word in config.head_dropout.split(",")]
    except ValueError:
        shares = []
    layers = len(units_of(config))
    if len(shares) != layers or not all(0 <= share < 1 for share in shares):
        raise FlagError(
            f"--head-dropout must have a share from 0 to below 1 for each of the {layers} layers of --head={config.head}, "
            f'such as {",".join(["0.5"] * layers)}, not "{config.head_dropout}"'
        )
    return shares
