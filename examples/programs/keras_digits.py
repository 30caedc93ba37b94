"""A plain Keras script as a training job: it knows folders and variables of the environment, nothing else of Fovea.

Started again, it goes on from its newest checkpoint. It leaves a SavedModel that takes encoded pictures and answers with
classes, so that `fovea predict` and every client of TensorFlow Serving can ask it.
"""

import json
import os
import signal
import sys
from pathlib import Path

import keras
import tensorflow as tf

SIZE, BATCH = 32, 32
AGAIN = 75  # "start me again": the next attempt goes on from the newest checkpoint

data = Path(os.environ["FOVEA_INPUT_DIR"]) / "data"
checkpoints = Path(os.environ["FOVEA_CHECKPOINT_DIR"])
output = Path(os.environ["FOVEA_OUTPUT_DIR"])
progress = Path(os.environ["FOVEA_PROGRESS_FILE"])


def network(classes: int) -> keras.Model:
    """float32 [n, SIZE, SIZE, 3] in 0..255 -> probabilities [n, classes]."""
    return keras.Sequential(
        [
            keras.layers.Input((SIZE, SIZE, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )


class Progress(keras.callbacks.Callback):
    """After each epoch: a checkpoint, a line of progress, and the end if somebody asked for it."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs, self.stop = epochs, False
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stop", True))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write under a name that is no checkpoint's, then rename: a checkpoint is there whole or not at all."""
        unfinished = checkpoints / ".unfinished.keras"
        self.model.save(unfinished)
        unfinished.rename(checkpoints / f"epoch-{epoch + 1:04d}.keras")
        line = {"step": epoch + 1, "steps": self.epochs, "metrics": {k: float(v) for k, v in (logs or {}).items()}}
        with progress.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.stop:
            sys.exit(AGAIN)


def export(model: keras.Model, classes: list[str], folder: str) -> None:
    """A SavedModel from encoded pictures to the most probable class, and all classes with their scores."""

    def picture(file: tf.Tensor) -> tf.Tensor:
        return tf.image.resize(tf.io.decode_image(file, channels=3, expand_animations=False), [SIZE, SIZE])

    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.map_fn(picture, image, fn_output_signature=tf.TensorSpec([SIZE, SIZE, 3], tf.float32))
        scores, names = model(pixels, training=False), tf.constant(classes)
        return {
            "label": tf.gather(names, tf.argmax(scores, axis=1)),
            "classes": tf.repeat(names[tf.newaxis], tf.shape(scores)[0], axis=0),
            "scores": scores,
        }

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", serve, input_signature=[tf.TensorSpec([None], tf.string, name="image")])
    archive.write_out(folder)


def main(epochs: int) -> None:
    """Train to `epochs` in all attempts together, evaluate, export."""
    keras.utils.set_random_seed(1)
    train, validation = keras.utils.image_dataset_from_directory(
        data, image_size=(SIZE, SIZE), batch_size=BATCH, validation_split=0.2, subset="both", seed=1
    )
    found = sorted(checkpoints.glob("epoch-*.keras"))
    done = int(found[-1].stem.partition("-")[2]) if found else 0
    if found:
        model = keras.models.load_model(found[-1])
    else:
        model = network(len(train.class_names))
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    print(f"{done} of {epochs} epochs are done", flush=True)
    model.fit(
        train, validation_data=validation, initial_epoch=done, epochs=epochs, callbacks=[Progress(epochs)], verbose=2
    )
    loss, accuracy = model.evaluate(validation, verbose=0)
    export(model, train.class_names, os.environ["FOVEA_MODEL_DIR"])
    evaluation = {"mainMetric": "accuracy", "metrics": {"accuracy": accuracy, "loss": loss}}
    (output / "evaluation.json").write_text(json.dumps(evaluation))
    (output / "_SUCCESS").touch()


if __name__ == "__main__":
    main(epochs=int(sys.argv[1].partition("=")[2]) if len(sys.argv) > 1 else 8)
