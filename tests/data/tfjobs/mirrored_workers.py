"""MultiWorkerMirroredStrategy by TF_CONFIG alone, with a loop of its own."""

import argparse

import numpy as np
import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("--train_steps", type=int, default=100)
steps = parser.parse_args().train_steps

strategy = tf.distribute.MultiWorkerMirroredStrategy()
task = tf.distribute.cluster_resolver.TFConfigClusterResolver()
drawn = np.random.default_rng(7)
images = drawn.normal(size=(512, 8)).astype("float32")
labels = (images @ drawn.normal(size=(8, 3))).argmax(axis=1)
batches = tf.data.Dataset.from_tensor_slices((images, labels)).repeat().batch(64, drop_remainder=True)
shared = strategy.experimental_distribute_dataset(batches)
with strategy.scope():
    weights = tf.Variable(tf.zeros([8, 3]))


def update(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, x @ weights))
    gradient = tf.distribute.get_replica_context().all_reduce("MEAN", tape.gradient(loss, weights))
    weights.assign_sub(0.5 * gradient)
    return loss


@tf.function
def train_step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return strategy.reduce("MEAN", strategy.run(update, args=(x, y)), axis=None)


for number, (x, y) in enumerate(shared, start=1):
    loss = train_step(x, y)
    if number == steps:
        break
accuracy = float((tf.argmax(images @ weights, axis=1).numpy() == labels).mean())
print(f"{task.task_type} {task.task_id} of {strategy.num_replicas_in_sync}: accuracy {accuracy:.3f}", flush=True)
