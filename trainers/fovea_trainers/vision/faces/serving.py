"""What a verifier serves: the embedding of a picture, and whether two pictures are of the same person."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from fovea_api.contract import signatures

from fovea_trainers.runtime.export import Signature
from fovea_trainers.vision import images
from fovea_trainers.vision.faces import landmarks
from fovea_trainers.vision.faces.verification import cosine

_EMBEDDED = (signatures.EMBEDDING_OUTPUT, signatures.MODEL_OUTPUT)
_COMPARED = (signatures.SIMILARITY_OUTPUT, signatures.SAME_OUTPUT, signatures.THRESHOLD_OUTPUT)


def digest(weights: Sequence[tf.Variable], **about: Any) -> str:
    """Of the weights, and of what else decides about an embedding: models with equal ones make the same embeddings."""
    state = hashlib.sha256(repr(sorted(about.items())).encode())
    for weight in weights:
        value = weight.numpy()
        state.update(f"{value.shape}{value.dtype}".encode() + value.tobytes())
    return f"sha256:{state.hexdigest()}"


def exported(
    model: keras.Model, size: int, threshold: float, model_digest: str, *, exif_orientation: bool, aligned: bool
) -> Mapping[str, Signature]:
    """Signatures of `fovea_api.contract.signatures`; `model` gives unit vectors [n, d] for images [n, size, size, 3].

    Of an `aligned` model, each picture comes with the places of its eyes.
    """

    def embedded(pictures: tf.Tensor) -> Mapping[str, tf.Tensor]:
        embedding = model(pictures, training=False)
        return {
            signatures.EMBEDDING_OUTPUT: embedding,
            signatures.MODEL_OUTPUT: tf.fill([tf.shape(embedding)[0]], model_digest),
        }

    read = _reader(size, exif_orientation=exif_orientation, aligned=aligned)

    def compare(*inputs: tf.Tensor) -> Mapping[str, tf.Tensor]:
        half = len(inputs) // 2
        both = (tf.concat(each, axis=0) for each in zip(inputs[:half], inputs[half:], strict=True))
        first, second = tf.split(model(read(*both), training=False), 2)
        similarity = cosine(first, second)
        return {
            signatures.SIMILARITY_OUTPUT: similarity,
            signatures.SAME_OUTPUT: similarity >= threshold,
            signatures.THRESHOLD_OUTPUT: tf.fill(tf.shape(similarity), tf.constant(threshold, tf.float32)),
        }

    example = _example(size, aligned=aligned)
    first = _inputs(signatures.FIRST_INPUT, signatures.FIRST_EYES_INPUT, aligned=aligned)
    second = _inputs(signatures.SECOND_INPUT, signatures.SECOND_EYES_INPUT, aligned=aligned)
    found = {
        signatures.SERVING_DEFAULT: Signature(
            inputs=_inputs(signatures.IMAGE_INPUT, signatures.EYES_INPUT, aligned=aligned),
            function=lambda *given: embedded(read(*given)),
            example=example,
            row_wise=_EMBEDDED,
        ),
        signatures.PAIR: Signature(
            inputs=[*first, *second], function=compare, example=[*example, *example], row_wise=_COMPARED
        ),
    }
    if aligned:
        return found
    pixels = Signature(
        inputs=[tf.TensorSpec([None, None, None, 3], tf.float32, name=signatures.PIXELS_INPUT)],
        function=lambda given: embedded(images.fit_size(given, size)),
        example=[tf.cast(_grey(size), tf.float32)[tf.newaxis]],
        row_wise=_EMBEDDED,
    )
    return {**found, signatures.PIXELS: pixels}


def _inputs(image: str, eyes: str, *, aligned: bool) -> list[tf.TensorSpec]:
    """Of one picture of a request: its file, and where the eyes are."""
    file = tf.TensorSpec([None], tf.string, name=image)
    return [file, tf.TensorSpec([None, 4], tf.float32, name=eyes)] if aligned else [file]


def _reader(size: int, *, exif_orientation: bool, aligned: bool) -> Callable[..., tf.Tensor]:
    """What `_inputs` names -> images float32 [n, size, size, 3]."""

    def picture(one: tuple[tf.Tensor, ...]) -> tf.Tensor:
        decoded = images.decode(one[0], exif_orientation=exif_orientation)
        return landmarks.aligned(decoded, one[1], size) if aligned else images.fit_size(decoded, size)

    return lambda *inputs: tf.map_fn(picture, inputs, fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32))


def _example(size: int, *, aligned: bool) -> list[tf.Tensor]:
    """A row of what `_inputs` names."""
    inner = [landmarks.LEFT * size, landmarks.HEIGHT * size, (1 - landmarks.LEFT) * size, landmarks.HEIGHT * size]
    return [tf.io.encode_png(_grey(size))[tf.newaxis], *([tf.constant([inner])] if aligned else [])]


def _grey(size: int) -> tf.Tensor:
    return tf.fill([size, size, 3], tf.constant(128, tf.uint8))
