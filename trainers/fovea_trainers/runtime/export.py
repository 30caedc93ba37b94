"""The final SavedModel of a classifier: names in `fovea_api.contract.signatures`, warm-up records inside.

It is marked as row-wise (`fovea_api.contract.row_wise`), so that callers may share a run of it.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf
from fovea_api.contract import row_wise, signatures
from fovea_trainers.data.images import decode, fit_size
from fovea_trainers.runtime import warmup
from fovea_trainers.runtime.graph import traced

STAGING = ".staging"
PICTURE = tf.TensorSpec([None], tf.string, name=signatures.IMAGE_INPUT)
OUTPUTS = (signatures.LABEL_OUTPUT, signatures.CLASSES_OUTPUT, signatures.SCORES_OUTPUT)
"""Each has a row for every picture, which depends on that picture alone."""
PIXELS = tf.TensorSpec([None, None, None, 3], tf.float32, name=signatures.PIXELS_INPUT)


def export_classifier(
    model: keras.Model, classes: Sequence[str], size: int, directory: Path, *, exif_orientation: bool
) -> None:
    """Write the SavedModel into `directory`, `saved_model.pb` last; `model` gives logits for [n, size, size, 3].

    What the directory held before is removed once the new model is written.
    """
    module = _classifier(model, classes, size, exif_orientation=exif_orientation)
    shutil.rmtree(directory / STAGING, ignore_errors=True)
    staging = directory / STAGING
    tf.saved_model.save(
        module, str(staging), signatures={signatures.SERVING_DEFAULT: module.serve, signatures.PIXELS: module.classify}
    )
    warmup.write(staging, size)
    row_wise.write(staging, dict.fromkeys((signatures.SERVING_DEFAULT, signatures.PIXELS), OUTPUTS))
    for path in directory.iterdir():
        if path.name != STAGING:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in sorted(staging.iterdir(), key=lambda path: path.name == "saved_model.pb"):
        path.rename(directory / path.name)
    staging.rmdir()


def _classifier(model: keras.Model, classes: Sequence[str], size: int, *, exif_orientation: bool) -> tf.Module:
    # The model stays in this closure: as an attribute it would be tracked beside its variables, every weight twice.
    def scores(images: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = tf.nn.softmax(model(images, training=False))
        names = tf.constant(list(classes))
        return {
            signatures.LABEL_OUTPUT: tf.gather(names, tf.argmax(probabilities, axis=1)),
            signatures.CLASSES_OUTPUT: tf.repeat(names[tf.newaxis], tf.shape(probabilities)[0], axis=0),
            signatures.SCORES_OUTPUT: probabilities,
        }

    class Classifier(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = [variable.value for variable in model.variables]

        @traced(PICTURE)
        def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
            spec = tf.TensorSpec([size, size, 3], tf.float32)

            def picture(file: tf.Tensor) -> tf.Tensor:
                return fit_size(decode(file, exif_orientation=exif_orientation), size)

            return scores(tf.map_fn(picture, image, fn_output_signature=spec))

        @traced(PIXELS)
        def classify(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            return scores(fit_size(pixels, size))

    return Classifier()
