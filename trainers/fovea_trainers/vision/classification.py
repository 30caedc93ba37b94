"""What classifiers of pictures share: how they learn, how they are evaluated, what is exported and which pictures are drawn."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from fovea_api.contract import signatures

from fovea_trainers.runtime import pictures
from fovea_trainers.runtime.classification import CONFUSION, OUTPUTS, answer, confusion, hits
from fovea_trainers.runtime.export import Signature
from fovea_trainers.runtime.graph import traced
from fovea_trainers.runtime.optimizers import Optimizer
from fovea_trainers.runtime.pictures import Tile
from fovea_trainers.runtime.strategy import Update
from fovea_trainers.runtime.totals import Total, mean, total
from fovea_trainers.runtime.training import Trained
from fovea_trainers.vision.images import decode, fit_size
from fovea_trainers.vision.sets import Sets

Array = np.ndarray[Any, Any]
BATCH = (tf.TensorSpec([None, None, None, 3], tf.float32), tf.TensorSpec([None], tf.int32))
"""Images in 0..255 and class numbers."""
WORST = 16
"""Mistakes that are drawn."""


def learning(model: keras.Model, optimizer: Optimizer) -> Update:
    """One update by the cross-entropy of a batch: what the model sees [n, …], class numbers [n], weights [n]."""

    def update(seen: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, step: tf.Tensor) -> dict[str, Total]:
        with tf.GradientTape() as tape:
            logits = model(seen, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = mean(losses, weights)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), step)
        return {"loss": total(losses, weights), "accuracy": total(hits(labels, logits), weights)}

    return update


def evaluation(model: keras.Model) -> Callable[..., dict[str, Total]]:
    """The same loss and hits without an update, and which classes were taken for which."""

    def evaluate(seen: tf.Tensor, labels: tf.Tensor) -> dict[str, Total]:
        logits = model(seen, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return {
            "loss": total(losses),
            "accuracy": total(hits(labels, logits)),
            CONFUSION: confusion(labels, logits),
        }

    return evaluate


def exported(
    logits: Callable[[tf.Tensor], tf.Tensor], classes: Sequence[str], size: int, *, exif_orientation: bool
) -> Mapping[str, Signature]:
    """Signatures of `fovea_api.contract.signatures`; `logits` are [n, classes] for images [n, size, size, 3] in 0..255."""

    def serve(image: tf.Tensor) -> Mapping[str, tf.Tensor]:
        def picture(file: tf.Tensor) -> tf.Tensor:
            return fit_size(decode(file, exif_orientation=exif_orientation), size)

        images = tf.map_fn(picture, image, fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32))
        return answer(logits(images), classes)

    def classify(pixels: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return answer(logits(fit_size(pixels, size)), classes)

    grey = tf.fill([size, size, 3], tf.constant(128, tf.uint8))
    return {
        signatures.SERVING_DEFAULT: Signature(
            inputs=[tf.TensorSpec([None], tf.string, name=signatures.IMAGE_INPUT)],
            function=serve,
            example=[tf.io.encode_png(grey)[tf.newaxis]],
            row_wise=OUTPUTS,
        ),
        signatures.PIXELS: Signature(
            inputs=[tf.TensorSpec([None, None, None, 3], tf.float32, name=signatures.PIXELS_INPUT)],
            function=classify,
            example=[tf.cast(grey, tf.float32)[tf.newaxis]],
            row_wise=OUTPUTS,
        ),
    }


def about(sets: Sets) -> dict[str, Any]:
    """What evaluation.json says of the data of a classifier."""
    return {
        "classes": list(sets.classes),
        "images": sets.readable(),
        "unreadable": len(sets.images.unreadable),
    }


def predictions(model: keras.Model, batches: Iterable[tuple[Any, ...]], signature: Sequence[tf.TensorSpec]) -> Array:
    """Scores float32 [n, classes] of the examples of a set, in its order."""

    @traced(signature[0])
    def scores(seen: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(model(seen, training=False))

    return np.concatenate([scores(seen).numpy() for seen, *_ in batches])


def worst_mistakes(scores: Array, sets: Sets, numbers: Array) -> list[Tile]:
    """Of pictures that were taken for another class, those with the highest score for it: name, true class, other class.

    `scores` [n, classes] are of the readable ones of the pictures `numbers`, in this order.
    """
    kept = numbers[~np.isin(numbers, sorted(sets.images.unreadable))]
    labels, predicted = sets.listing.labels[kept], scores.argmax(axis=1)
    sure = scores[np.arange(len(kept)), predicted]
    wrong = np.flatnonzero(predicted != labels)
    tiles = []
    for place in wrong[np.argsort(-sure[wrong], kind="stable")][:WORST].tolist():
        found, _ = sets.images.read(int(kept[place]))
        if found is not None:
            truth, taken = sets.classes[labels[place]], sets.classes[predicted[place]]
            name = sets.listing.name(int(kept[place])).rpartition("/")[2]
            tiles.append(Tile(found[0], f"{name}\n{truth}, taken for\n{taken} ({sure[place]:.2f})", wrong=True))
    return tiles


def drawn(
    model: keras.Model,
    trained: Trained,
    sets: Sets,
    evaluated: Mapping[str, Callable[[], Iterable[tuple[Any, ...]]]],
    signature: Sequence[tf.TensorSpec],
) -> dict[str, bytes | None]:
    """PNGs about the test set, else the validation set: the confusion matrix, and the worst mistakes if there are any."""
    if not evaluated:
        return {}
    name = list(evaluated)[-1]
    numbers = {"val": sets.validation, "test": sets.test}[name]
    matrix = trained.evaluations[name].totals.sums[CONFUSION]
    scores = predictions(model, evaluated[name](), signature)
    mistakes = worst_mistakes(scores, sets, numbers)
    wrong = int(matrix.sum() - np.trace(matrix))
    return {
        "confusion": pictures.confusion(matrix, sets.classes),
        "mistakes": pictures.sheet(
            mistakes, title=f"The worst of {wrong} mistakes in {matrix.sum()} pictures ({name})"
        ),
    }
