"""segmenter: a class for every pixel, by a small U-Net or one with the layers of MobileNet as its encoder.

    fovea-train make-dataset cells cells
    fovea-train segmenter --data=cells --image-size=64 --no-augment --epochs=12 --learning-rate=0.001

trains on 180 rendered pictures of cells, and validates on 60. The cells' IoU is then about 0.8; a threshold on brightness
or on the difference from a picture's mean has below 0.4. The defaults are those of the classic recipe for such data:
512×512 frames, batches of 4, Adam with 0.0001 × 0.96 in each epoch, up to 100 epochs, early stopping with a patience of 10.

Metrics count pixels of the pictures in the size that the network sees; the margins around pictures that are not square
count nothing. The networks give scores (logits), and the loss takes their softmax first: the classic code took the
logarithm of the scores as they were. The F-score is that of the whole set, not the mean of the batches' F-scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fovea_trainers.common_flags import EarlyStoppingFlags, EpochDecayFlags, OptimizerFlags, TrainingFlags, WeightsFlags
from fovea_trainers.errors import FlagError
from fovea_trainers.flags import flag
from fovea_trainers.vision.flags import MaskFlags, PlacingFlags

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from fovea_trainers.data.examples import Array
    from fovea_trainers.runtime.evaluation import Sums
    from fovea_trainers.runtime.optimizers import Optimizer
    from fovea_trainers.runtime.session import Session
    from fovea_trainers.runtime.strategy import Update
    from fovea_trainers.runtime.totals import Total
    from fovea_trainers.vision.mask_sets import Sets

NAME = "segmenter"
HELP = "Train a network that gives every pixel a class, on pictures with label pictures (Images/, Labels/)."
METRICS = {
    "loss": "Mean cross-entropy of the pixels, times the weight of each pixel's class.",
    "accuracy": "Share of pixels whose most probable class is the right one.",
    "iou": "Pixels that rightly have a class other than class 0, among all that have or should have one. With two classes, "
    "the object's intersection over union.",
    "mean_iou": "Mean of the intersection over union of each class, class 0 among them. For validation and test only.",
    "f_score": "Mean F-score of the classes, with `--f-score-beta`: a pixel is given to each class whose probability is "
    "above 0.5. For validation and test only.",
}
MINI, MOBILENET = "unet-mini", "mobilenet-unet"
MULTIPLE = 32
"""Both networks take sizes that are multiples of this: MobileNet halves them five times."""
BALANCED = "balanced"
SHOWN = 8
"""Pictures of the sheet."""


@dataclass(frozen=True)
class Config(MaskFlags, PlacingFlags, TrainingFlags, OptimizerFlags, EpochDecayFlags, EarlyStoppingFlags, WeightsFlags):
    """Every knob; the classic values are the defaults."""

    epochs: int = 100
    batch_size: int = 4
    optimizer: str = "adam"
    learning_rate: float = 0.0001
    decay: float | None = 0.0
    epoch_decay: float = 0.96
    patience: int = 10
    model: str = flag(
        MINI,
        "unet-mini: 5 blocks of 2 convolutions; mobilenet-unet: MobileNet as the encoder, which takes its weights.",
        choices=(MINI, MOBILENET),
    )
    class_weights: str = flag(
        "",
        "By what the loss of a pixel is multiplied, for each class such as 1,3; balanced: by the inverse of the class's "
        "share of the training pixels; empty: 1.",
    )
    f_score_beta: float = flag(1.0, "Beta of the F-score: above 1, recall counts more than precision.", minimum=0.01)


def unet_mini(classes: int, size: int) -> keras.Model:
    """float32 [n, size, size, 3] in 0..255 -> logits [n, size, size, classes]."""
    from keras import Input, Model, layers

    def block(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.Dropout(0.2)(x)
        return layers.Conv2D(filters, 3, padding="same", activation="relu")(x)

    def joined(x: keras.KerasTensor, skipped: keras.KerasTensor) -> keras.KerasTensor:
        return layers.Concatenate()([layers.UpSampling2D(2)(x), skipped])

    images = Input((size, size, 3))
    whole = block(layers.Rescaling(1 / 127.5, offset=-1)(images), 32)
    half = block(layers.MaxPooling2D(2)(whole), 64)
    quarter = block(layers.MaxPooling2D(2)(half), 128)
    x = block(joined(quarter, half), 64)
    x = block(joined(x, whole), 32)
    return Model(images, layers.Conv2D(classes, 1, dtype="float32")(x), name=MINI)


def mobilenet_unet(classes: int, size: int) -> keras.Model:
    """The same with MobileNet's layers, under their names of keras.applications, up to a sixteenth of the size."""
    from keras import Input, Model, applications, layers

    def block(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        return layers.BatchNormalization()(x)

    images = Input((size, size, 3))
    scaled = layers.Rescaling(1 / 127.5, offset=-1)(images)
    encoder = applications.MobileNet(input_tensor=scaled, include_top=False, weights=None)
    half, quarter, eighth, sixteenth = (encoder.get_layer(f"conv_pw_{n}_relu").output for n in (1, 3, 5, 11))
    x = block(sixteenth, 512)
    for skipped, filters in ((eighth, 256), (quarter, 128), (half, 128)):
        x = block(layers.Concatenate()([layers.UpSampling2D(2)(x), skipped]), filters)
    x = block(layers.UpSampling2D(2)(x), 64)
    return Model(images, layers.Conv2D(classes, 3, padding="same", dtype="float32")(x), name=MOBILENET)


NETWORKS = {MINI: unet_mini, MOBILENET: mobilenet_unet}


def cross_entropy(
    labels: tf.Tensor, logits: tf.Tensor, counts: tf.Tensor, class_weights: Sequence[float]
) -> tuple[tf.Tensor, tf.Tensor]:
    """float32 [n, h, w] of each pixel: -log of its class's probability times the weight of the class; and 1 where it counts."""
    import tensorflow as tf

    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return losses * tf.gather(tf.constant(class_weights, tf.float32), labels), tf.cast(counts, tf.float32)


def learning(model: keras.Model, optimizer: Optimizer, class_weights: Sequence[float]) -> Update:
    """One update by the mean loss of a batch's pixels: frames [n, h, w, 3], classes [n, h, w], weights [n]."""
    import tensorflow as tf

    from fovea_trainers.runtime.totals import mean, total
    from fovea_trainers.vision.segmentation import counted, hits

    def update(frames: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, step: tf.Tensor) -> dict[str, Total]:
        classes, counts = counted(labels)
        counts = tf.logical_and(counts, weights[:, tf.newaxis, tf.newaxis] > 0)
        with tf.GradientTape() as tape:
            logits = model(frames, training=True)
            losses, pixels = cross_entropy(classes, logits, counts, class_weights)
            loss = mean(losses, pixels)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), step)
        accuracy, iou = hits(classes, logits, counts)
        return {"loss": total(losses, pixels), "accuracy": accuracy, "iou": iou}

    return update


def evaluation(model: keras.Model, class_weights: Sequence[float]) -> Callable[..., dict[str, Total]]:
    """The same loss without an update, and which classes pixels were taken for, and which they probably are."""
    from fovea_trainers.runtime.classification import CONFUSION
    from fovea_trainers.runtime.totals import total
    from fovea_trainers.vision.segmentation import PROBABLE, confusion, counted, probable

    def evaluate(frames: tf.Tensor, labels: tf.Tensor) -> dict[str, Total]:
        classes, counts = counted(labels)
        logits = model(frames, training=False)
        return {
            "loss": total(*cross_entropy(classes, logits, counts, class_weights)),
            CONFUSION: confusion(classes, logits, counts),
            PROBABLE: probable(classes, logits, counts),
        }

    return evaluate


def metrics(beta: float) -> Callable[[Sums], Mapping[str, float]]:
    """Loss, accuracy, IoU and F-score of a whole set."""
    from fovea_trainers.runtime.classification import CONFUSION
    from fovea_trainers.vision import segmentation

    def of(totals: Sums) -> Mapping[str, float]:
        return totals.ratios() | segmentation.metrics(totals.sums[CONFUSION], totals.sums[segmentation.PROBABLE], beta)

    return of


def run(config: Config, session: Session) -> None:
    """Read, train, evaluate, export, in this order. Raises TrainerError."""
    import tensorflow as tf

    from fovea_trainers.runtime import export, loop, optimizers, pictures, pretrained, results
    from fovea_trainers.runtime.training import Training, variables_of
    from fovea_trainers.vision import mask_sets, placing, segmentation

    require_multiple(config.image_size)  # what is wrong with the flags is said before anything is read
    distortion, names, rule = placing.of(config), mask_sets.class_names(config), mask_sets.rule(config)
    given = weights_of(config)
    sets = mask_sets.read(config, config.seed, session)
    class_weights = given or mask_sets.balanced(sets, config.batch_size, session.interruption.check)
    steps = sets.steps(config.batch_size)
    with session.strategy.scope():
        model = NETWORKS[config.model](config.classes, config.image_size)
        pretrained_weights = pretrained.load(model, session.workspace.weights(config.weights))
        optimizer = optimizers.build(
            config, config.epochs, model.trainable_variables, factor=optimizers.by_epoch(config.epoch_decay, steps)
        )

    training = Training(
        weights=variables_of(model),
        optimizers=[optimizer],
        signature=segmentation.BATCH,
        update=learning(model, optimizer, class_weights),
        totals={"loss": tf.float32, "accuracy": tf.int64, "iou": tf.int64},
        evaluate=evaluation(model, class_weights),
        metrics=metrics(config.f_score_beta),
        dataset=sets.training(config.batch_size, seed=config.seed, distortion=distortion),
        steps_per_epoch=steps,
        sets=sets.evaluated(config.batch_size),
        identity=mask_sets.identity(config, sets)
        | {"weights": pretrained_weights.digest, "class_weights": config.class_weights},
        shape={"model": config.model, "classes": config.classes},
        unreadable=sets.frames.unreadable,
        unit="img",
        main="mean_iou",
        unvalidated=mask_sets.unvalidated(config),
    )
    trained = loop.train(training, config, session)

    signatures = segmentation.exported(model, rule, config.image_size, exif_orientation=config.exif_orientation)
    export.write(session.workspace.model, signatures, tracked=variables_of(model))
    results.publish(
        session,
        config,
        trained,
        main="mean_iou" if trained.evaluations else "iou",  # training counts no matrix
        about={
            "classes": list(names),
            "classWeights": list(class_weights),
            "images": sets.readable(),
            "unreadable": len(sets.frames.unreadable),
            "weights": pretrained_weights.about(),
        },
        sets={name: segmentation.report(each, names) for name, each in trained.evaluations.items()},
        pictures={"masks": pictures.sheet(segmentation.tiles(shown(sets), model, config.classes), columns=3)},
    )


def require_multiple(size: int) -> None:
    """Raises FlagError for a size that the networks do not take."""
    if size % MULTIPLE:
        below, above = size - size % MULTIPLE, size - size % MULTIPLE + MULTIPLE
        near = f"{below} or {above}" if below else f"{above}"
        raise FlagError(f"--image-size={size} must be a multiple of {MULTIPLE}, such as {near}")


def weights_of(config: Config) -> list[float]:
    """--class-weights as numbers; [] where they are balanced, which the training set says. Raises FlagError."""
    if config.class_weights == BALANCED:
        return []
    if not config.class_weights:
        return [1.0] * config.classes
    try:
        weights = [float(word) for word in config.class_weights.split(",")]
    except ValueError:
        weights = []
    if len(weights) != config.classes or not all(0 <= weight < float("inf") for weight in weights) or not any(weights):
        raise FlagError(
            f'--class-weights="{config.class_weights}" must be {BALANCED}, or {config.classes} numbers from 0 on with '
            "commas between, one for each of --classes"
        )
    return weights


def shown(sets: Sets) -> Iterable[tuple[str, Array, Array]]:
    """The pictures of the sheet: of the last set that is evaluated, else of the training."""
    from fovea_api.contract.mask_names import TRAIN

    return sets.shown([TRAIN, *sets.evaluated_parts()][-1], SHOWN)
