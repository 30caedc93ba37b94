"""The model that is served, a request for it, and the picture in it."""

import io
from pathlib import Path
from typing import Any

NAME = "cnn3"
METHOD = "/tensorflow.serving.PredictionService/Predict"


def picture() -> bytes:
    """A JPEG of 320x240, about 15 KB."""
    import numpy as np
    from PIL import Image

    blocks = np.random.default_rng(0).integers(0, 255, (12, 16, 3))
    pixels = np.kron(blocks, np.ones((20, 20, 1))).astype("uint8")
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "JPEG", quality=85)
    return target.getvalue()


def save_cnn3(folder: Path) -> None:
    """The model of the image-classifier recipe at 150x150, untrained: three convolutions, two dense layers."""
    import keras
    import tensorflow as tf

    layers = keras.layers
    model = keras.Sequential([keras.Input((150, 150, 3)), layers.Rescaling(1 / 255)])
    for filters in (32, 32, 64):
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        model.add(layers.MaxPool2D())
    for layer in (layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dense(2, activation="softmax")):
        model.add(layer)

    class Classifier(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = [variable.value for variable in model.variables]
            names = tf.constant(["cat", "dog"])

            def decoded(data: Any) -> Any:
                image = tf.io.decode_image(data, channels=3, expand_animations=False)
                return tf.ensure_shape(tf.image.resize(image, (150, 150)), (150, 150, 3))

            @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])  # type: ignore[untyped-decorator]
            def classify(image: Any) -> Any:
                scores = model(tf.map_fn(decoded, image, fn_output_signature=tf.float32), training=False)
                return {"scores": scores, "label": tf.gather(names, tf.argmax(scores, -1))}

            self.classify = classify

    module = Classifier()
    tf.saved_model.save(module, str(folder), signatures=module.classify)


def request(model: str, image: bytes) -> bytes:
    """A serialised PredictRequest of one picture."""
    from fovea_wire import model_pb2, predict_pb2, tensors

    message = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name=model), inputs={"image": tensors.encode([image])}
    )
    return bytes(message.SerializeToString())
