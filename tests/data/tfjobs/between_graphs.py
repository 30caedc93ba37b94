"""Between-graph replication of TensorFlow 1, by the flags of its time: no TF_CONFIG. The first worker is the chief."""

import argparse

import numpy as np
import tensorflow.compat.v1 as tf

parser = argparse.ArgumentParser()
for flag in ("--ps_hosts", "--worker_hosts", "--job_name"):
    parser.add_argument(flag, required=True)
parser.add_argument("--task_index", type=int, required=True)
parser.add_argument("--train_steps", type=int, default=200)
flags = parser.parse_args()

tf.disable_v2_behavior()
cluster = tf.train.ClusterSpec({"ps": flags.ps_hosts.split(","), "worker": flags.worker_hosts.split(",")})
server = tf.train.Server(cluster, job_name=flags.job_name, task_index=flags.task_index)
if flags.job_name == "ps":
    server.join()

with tf.device(tf.train.replica_device_setter(cluster=cluster)):
    step = tf.train.get_or_create_global_step()
    x, wanted = tf.placeholder(tf.float32, [None, 4]), tf.placeholder(tf.float32, [None])
    weights = tf.get_variable("weights", [4], initializer=tf.zeros_initializer())
    loss = tf.reduce_mean(tf.square(tf.linalg.matvec(x, weights) - wanted))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss, global_step=step)

drawn = np.random.default_rng(flags.task_index)
truth = np.array([1.0, -2.0, 3.0, 0.5])
hooks = [tf.train.StopAtStepHook(last_step=flags.train_steps)]
last = float("inf")
with tf.train.MonitoredTrainingSession(server.target, is_chief=flags.task_index == 0, hooks=hooks) as session:
    while not session.should_stop():
        examples = drawn.normal(size=(32, 4))
        _, last = session.run([train, loss], {x: examples, wanted: examples @ truth})
print(f"worker {flags.task_index}: loss {last:.6f}", flush=True)
