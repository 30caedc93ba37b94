"""What classifiers of pictures share: the shape of a batch, and what is exported."""

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf
from fovea_api.contract import signatures

from fovea_trainers.runtime.classification import OUTPUTS, answer
from fovea_trainers.runtime.export import Signature
from fovea_trainers.vision.images import decode, fit_size

BATCH = (tf.TensorSpec([None, None, None, 3], tf.float32), tf.TensorSpec([None], tf.int32))
"""Images in 0..255 and class numbers."""


def exported(
    model: keras.Model, classes: Sequence[str], size: int, *, exif_orientation: bool
) -> Mapping[str, Signature]:
    """Signatures of `fovea_api.contract.signatures`; `model` gives logits [n, classes] for images [n, size, size, 3]."""

    def serve(image: tf.Tensor) -> Mapping[str, tf.Tensor]:
        def picture(file: tf.Tensor) -> tf.Tensor:
            return fit_size(decode(file, exif_orientation=exif_orientation), size)

        images = tf.map_fn(picture, image, fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32))
        return answer(model(images, training=False), classes)

    def classify(pixels: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return answer(model(fit_size(pixels, size), training=False), classes)

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
