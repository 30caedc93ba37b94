"""What networks with a class for every pixel share: the shape of a batch, what is counted, pictures, what is exported."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from fovea_api.contract import signatures

from fovea_trainers.runtime import classification
from fovea_trainers.runtime.classification import CONFUSION
from fovea_trainers.runtime.evaluation import Evaluation
from fovea_trainers.runtime.export import Signature
from fovea_trainers.runtime.pictures import Tile
from fovea_trainers.runtime.totals import Total
from fovea_trainers.vision import letterbox
from fovea_trainers.vision.images import decode
from fovea_trainers.vision.masks import MARGIN, VOID, Rule

Array = np.ndarray[Any, Any]
BATCH = (tf.TensorSpec([None, None, None, 3], tf.float32), tf.TensorSpec([None, None, None], tf.uint8))
"""Frames in 0..255, and the class of each pixel or VOID."""
PROBABLE = "probable"
"""The total of `probable`."""
THRESHOLD, SMOOTH = 0.5, 1e-5
"""Of the F-score: the probability above which a pixel is given to a class, and what makes 1 of a class that is nowhere."""
TOGETHER = 128
"""Frames up to this size go through an exported network together, larger ones one by one: what a network keeps of a frame
of 512 takes some 250 MB, and a server may bring 32 at once."""
ALL_OUTPUTS = (signatures.MASK_OUTPUT, signatures.CLASS_MAP_OUTPUT, signatures.BOX_OUTPUT)
MAP_OUTPUTS = (signatures.CLASS_MAP_OUTPUT, signatures.BOX_OUTPUT, signatures.SCORE_MAP_OUTPUT)


def counted(labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """int32 class numbers, 0 for VOID, and bool: which pixels count."""
    counts = labels != VOID
    return tf.where(counts, tf.cast(labels, tf.int32), 0), counts


def predicted(logits: tf.Tensor) -> tf.Tensor:
    """int32 [n, h, w]: the most probable class of each pixel."""
    return tf.argmax(logits, axis=-1, output_type=tf.int32)


def hits(labels: tf.Tensor, logits: tf.Tensor, counts: tf.Tensor) -> tuple[Total, Total]:
    """Rightly classified pixels among those that count; and, of those that are or are called an object, the right ones.

    The second ratio is the intersection over union of all classes but class 0 together.
    """
    classes = predicted(logits)
    right = tf.logical_and(classes == labels, counts)
    objects = tf.logical_and(tf.logical_or(classes > 0, labels > 0), counts)
    return (_size(right), _size(counts)), (_size(tf.logical_and(right, labels > 0)), _size(objects))


def confusion(labels: tf.Tensor, logits: tf.Tensor, counts: tf.Tensor) -> Total:
    """Confusion matrix int64 [classes, classes] of the pixels (rows: true class), and the number of pictures."""
    flat = (tf.reshape(each, [-1]) for each in (labels, predicted(logits), tf.cast(counts, tf.int64)))
    true, taken, weights = flat
    matrix = tf.math.confusion_matrix(true, taken, logits.shape[-1], weights=weights, dtype=tf.int64)
    return matrix, tf.shape(labels)[0]


def probable(labels: tf.Tensor, logits: tf.Tensor, counts: tf.Tensor) -> Total:
    """int64 [2, classes]: pixels whose probability of a class is above THRESHOLD, and the right ones of them."""
    above = tf.logical_and(tf.nn.softmax(logits) > THRESHOLD, counts[..., tf.newaxis])
    right = tf.logical_and(above, tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False))
    sums = [tf.reduce_sum(tf.cast(each, tf.int64), axis=[0, 1, 2]) for each in (above, right)]
    return tf.stack(sums), tf.shape(labels)[0]


def intersections_over_unions(matrix: Array) -> Array:
    """float64 [classes] of a confusion matrix; NaN for a class that no pixel has or was given."""
    right, union = np.diag(matrix), matrix.sum(axis=0) + matrix.sum(axis=1) - np.diag(matrix)
    shares: Array = np.divide(right, union, out=np.full(len(matrix), np.nan), where=union > 0)
    return shares


def metrics(matrix: Array, probable_pixels: Array, beta: float) -> dict[str, float]:
    """Of a set, by its totals: accuracy, `iou` of all classes but class 0 together, mean IoU, mean F-score of the classes."""
    objects = matrix.sum() - matrix[0, 0]
    above, right = probable_pixels
    scores = f_scores(matrix.sum(axis=1), above, right, beta)
    ious = intersections_over_unions(matrix)
    return {
        "accuracy": float(np.trace(matrix) / max(matrix.sum(), 1)),
        "iou": float((np.trace(matrix) - matrix[0, 0]) / objects) if objects else 0.0,
        "mean_iou": float(np.nanmean(ious)) if not np.isnan(ious).all() else 0.0,
        "f_score": float(scores.mean()),
    }


def f_scores(true: Array, above: Array, right: Array, beta: float) -> Array:
    """float64 [classes] of pixels of a class, those that were given to it, and the right ones of these."""
    square = beta**2
    weighed = (1 + square) * right
    scores: Array = (weighed + SMOOTH) / (weighed + square * (true - right) + (above - right) + SMOOTH)
    return scores


def report(evaluation: Evaluation, classes: Sequence[str]) -> dict[str, Any]:
    """A set in evaluation.json: pictures, pixels, metrics, the classes one by one, the confusion matrix of the pixels."""
    found = classification.report(evaluation, classes, unit="pixels")
    ious = intersections_over_unions(evaluation.totals.sums[CONFUSION])
    for name, iou in zip(classes, ious, strict=True):
        found["perClass"][name]["iou"] = None if np.isnan(iou) else float(iou)
    return {"images": int(evaluation.totals.counts[CONFUSION]), **found}


def tiles(shown: Iterable[tuple[str, Array, Array]], model: keras.Model, classes: int) -> list[Tile]:
    """Three for each picture (`mask_sets.Sets.shown`): as it is, with its label, with what the network takes it for."""
    found = []
    for name, frame, labels in shown:
        logits = model(tf.cast(frame[np.newaxis], tf.float32), training=False)
        taken = predicted(logits)[0].numpy()
        matrix = np.zeros((classes, classes), np.int64)
        counts = labels < classes
        np.add.at(matrix, (labels[counts], taken[counts]), 1)
        objects = max(int(matrix.sum() - matrix[0, 0]), 1)
        rows, columns = ((labels != MARGIN).any(axis=axis) for axis in (1, 0))
        picture, true, guess = (each[rows][:, columns] for each in (frame, labels, taken))
        found += [
            Tile(picture, name),
            Tile(_overlaid(picture, true), "label"),
            Tile(_overlaid(picture, guess), f"predicted, IoU {(np.trace(matrix) - matrix[0, 0]) / objects:.2f}"),
        ]
    return found


def exported(model: keras.Model, rule: Rule, size: int, *, exif_orientation: bool) -> Mapping[str, Signature]:
    """Signatures of `fovea_api.contract.signatures`; `model` gives logits [n, size, size, classes] for frames."""
    logits_of = _in_portions(model, rule.classes, size)

    def framed(picture: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return letterbox.fit(picture, size), tf.shape(picture)[:2]

    def read(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return framed(decode(file, exif_orientation=exif_orientation))

    def answer(
        given: tf.Tensor, frame: Callable[[tf.Tensor], Any]
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        shapes = (tf.TensorSpec([size, size, 3], tf.float32), tf.TensorSpec([2], tf.int32))
        frames, sizes = tf.map_fn(frame, given, fn_output_signature=shapes)
        logits = logits_of(frames)
        outputs = {
            signatures.CLASS_MAP_OUTPUT: tf.cast(predicted(logits), tf.uint8),
            signatures.BOX_OUTPUT: tf.map_fn(lambda shape: letterbox.box(shape, size), sizes),
        }
        return outputs, sizes, logits

    def serve(image: tf.Tensor) -> Mapping[str, tf.Tensor]:
        outputs, sizes, _ = answer(image, read)
        return outputs | {signatures.MASK_OUTPUT: _masks(rule, outputs[signatures.CLASS_MAP_OUTPUT], sizes)}

    def segment(pixels: tf.Tensor) -> Mapping[str, tf.Tensor]:
        outputs, _, logits = answer(pixels, framed)
        return outputs | {signatures.SCORE_MAP_OUTPUT: tf.nn.softmax(logits)}

    grey = tf.fill([size, size, 3], tf.constant(letterbox.GREY, tf.uint8))
    return {
        signatures.SERVING_DEFAULT: Signature(
            inputs=[tf.TensorSpec([None], tf.string, name=signatures.IMAGE_INPUT)],
            function=serve,
            example=[tf.io.encode_png(grey)[tf.newaxis]],
            row_wise=ALL_OUTPUTS,
        ),
        signatures.PIXELS: Signature(
            inputs=[tf.TensorSpec([None, None, None, 3], tf.float32, name=signatures.PIXELS_INPUT)],
            function=segment,
            example=[tf.cast(grey, tf.float32)[tf.newaxis]],
            row_wise=MAP_OUTPUTS,
        ),
    }


def _in_portions(model: keras.Model, classes: int, size: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Frames [n, size, size, 3] -> logits [n, size, size, classes], all together, or one by one where they are large (TOGETHER)."""

    def one_by_one(frames: tf.Tensor) -> tf.Tensor:
        row = tf.TensorSpec([size, size, classes], tf.float32)
        return tf.map_fn(
            lambda frame: model(frame[tf.newaxis], training=False)[0],
            frames,
            parallel_iterations=1,
            fn_output_signature=row,
        )

    return one_by_one if size > TOGETHER else lambda frames: model(frames, training=False)


def _masks(rule: Rule, classes: tf.Tensor, shapes: tf.Tensor) -> tf.Tensor:
    """PNGs [n]: class numbers of frames [n, size, size] as label pictures of the pictures' own heights and widths [n, 2]."""

    def drawn(one: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        return tf.io.encode_png(rule.drawn(letterbox.restore(*one))[..., tf.newaxis])

    return tf.map_fn(drawn, (classes, shapes), fn_output_signature=tf.TensorSpec([], tf.string))


def _size(mask: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(mask, tf.int64))


def _overlaid(picture: Array, classes: Array) -> Array:
    """uint8 [h, w, 3]: half colour of the class, where there is one that is not 0."""
    shown = (classes > 0) & (classes < MARGIN)
    return np.where(shown[..., np.newaxis], picture // 2 + _COLOURS[classes] // 2, picture)


def _colours() -> Array:
    """uint8 [256, 3]: of PASCAL VOC, where the three lowest bits of a number are the highest of red, green and blue."""
    numbers, colours = np.arange(256), np.zeros((256, 3), np.int64)
    for place in range(7, -1, -1):
        for channel in range(3):
            colours[:, channel] |= (numbers >> channel & 1) << place
        numbers = numbers >> 3
    return colours.astype(np.uint8)


_COLOURS = _colours()
