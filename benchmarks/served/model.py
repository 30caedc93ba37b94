"""The model that is served, a request for it, and the picture in it."""

import io
from pathlib import Path
from typing import Any

NAME = "cnn3"
PEERS_SIZE = 224
"""Width and height of the pictures where other servers are measured too."""
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


def save_cnn3(folder: Path, size: int = 150, *, pixels: bool = False) -> None:
    """The model of the image-classifier recipe, untrained: three convolutions, two dense layers.

    `pixels`: a second signature of this name, for pictures that are decoded already, as floats. The weights are the same
    ones each time, so that a server elsewhere can be held to the answers of the model here.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential([keras.Input((size, size, 3)), layers.Rescaling(1 / 255)])
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
                return tf.ensure_shape(tf.image.resize(image, (size, size)), (size, size, 3))

            @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])  # type: ignore[untyped-decorator]
            def classify(image: Any) -> Any:
                return answer(tf.map_fn(decoded, image, fn_output_signature=tf.float32))

            @tf.function(input_signature=[tf.TensorSpec([None, size, size, 3], tf.float32, name="pixels")])  # type: ignore[untyped-decorator]
            def classify_pixels(pixels: Any) -> Any:
                return answer(pixels)

            def answer(pictures: Any) -> Any:
                scores = model(pictures, training=False)
                return {"scores": scores, "label": tf.gather(names, tf.argmax(scores, -1))}

            self.classify, self.classify_pixels = classify, classify_pixels

    module = Classifier()
    signatures = {"serving_default": module.classify} | ({"pixels": module.classify_pixels} if pixels else {})
    tf.saved_model.save(module, str(folder), signatures=signatures)


def request(model: str, image: bytes) -> bytes:
    """A serialised PredictRequest of one picture."""
    return request_of(model, "", "image", [image])


def request_of(model: str, signature: str, argument: str, values: Any) -> bytes:
    """A serialised PredictRequest of one input; an empty signature is the default one."""
    from fovea_wire import model_pb2, predict_pb2, tensors

    spec = model_pb2.ModelSpec(name=model, signature_name=signature)
    message = predict_pb2.PredictRequest(model_spec=spec, inputs={argument: tensors.encode(values)})
    return bytes(message.SerializeToString())
