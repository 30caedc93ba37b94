"""The other side of `distributed_speed.py`: TensorFlow's strategies by themselves, with the network of image-classifier.

A program as a user writes it: no checkpoints, no resuming, no metrics but the loss, no progress, no summaries.
The last line that the chief prints is the seconds of its loop.
"""

import argparse
import json
import math
import os
import time
from pathlib import Path

import keras
import tensorflow as tf
from fovea_trainers.recipes.image_classifier import convolutions

SIZE = 32


def read(data: Path) -> tuple[list[str], list[int]]:
    """Paths and labels of class folders."""
    classes = sorted(path.name for path in data.iterdir() if path.is_dir())
    found = [(str(path), number) for number, name in enumerate(classes) for path in sorted((data / name).glob("*.png"))]
    return [path for path, _ in found], [number for _, number in found]


def pictures(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode and resize one."""
    picture = tf.io.decode_png(tf.io.read_file(path), channels=3)
    return tf.image.resize(picture, (SIZE, SIZE)), label


def batches(paths: list[str], labels: list[int], batch: int, epochs: int) -> tf.data.Dataset:
    """All epochs, each in an order of its own."""
    listed = tf.data.Dataset.from_tensor_slices((paths, labels)).shuffle(len(paths), seed=1)
    decoded = listed.map(pictures, num_parallel_calls=tf.data.AUTOTUNE)
    return decoded.batch(batch).repeat(epochs).prefetch(tf.data.AUTOTUNE)


def loss_of(model: keras.Model, images: tf.Tensor, wanted: tf.Tensor, batch: int) -> tf.Tensor:
    """Mean over the batch of all processes."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, model(images, training=True))
    return tf.reduce_sum(losses) / batch


def mirrored(data: Path, batch: int, epochs: int) -> None:
    """MultiWorkerMirrored; a single process without TF_CONFIG."""
    several = "TF_CONFIG" in os.environ
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if several else tf.distribute.get_strategy()
    paths, labels = read(data)
    with strategy.scope():
        model = convolutions(len(set(labels)), SIZE)
        optimizer = keras.optimizers.Adam(0.002)
        optimizer.build(model.trainable_variables)
    shared = strategy.experimental_distribute_dataset(batches(paths, labels, batch, epochs))

    def update(images: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = loss_of(model, images, wanted, batch)
        gradients = tape.gradient(loss, model.trainable_variables)
        if several:
            gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    @tf.function
    def step(images: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
        return strategy.reduce("SUM", strategy.run(update, args=(images, wanted)), axis=None)

    began = time.monotonic()
    for images, wanted in shared:
        loss = step(images, wanted)
    float(loss)
    print(time.monotonic() - began, flush=True)


def served(data: Path, batch: int, epochs: int) -> None:
    """ParameterServer: a chief that hands out steps, workers and servers that wait for them until they are ended."""
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if resolver.task_type in ("worker", "ps"):
        server = tf.distribute.Server(resolver.cluster_spec(), resolver.task_type, resolver.task_id, protocol="grpc")
        server.join()
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    paths, labels = read(data)
    with strategy.scope():
        model = convolutions(len(set(labels)), SIZE)
        optimizer = keras.optimizers.Adam(0.002)
        optimizer.build(model.trainable_variables)
    each = iter(coordinator.create_per_worker_dataset(lambda: batches(paths, labels, batch, -1)))

    def update(images: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = loss_of(model, images, wanted, batch)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    @tf.function
    def step(iterator: tf.data.Iterator) -> tf.Tensor:
        return strategy.run(update, args=next(iterator))

    began = time.monotonic()
    for _ in range(epochs * math.ceil(len(paths) / batch)):
        coordinator.schedule(step, args=(each,))
    coordinator.join()
    print(time.monotonic() - began, flush=True)


def main() -> None:
    """Train for a number of epochs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    given = parser.parse_args()
    cluster = json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster", {})
    (served if "ps" in cluster else mirrored)(given.data, given.batch_size, given.epochs)


if __name__ == "__main__":
    main()
