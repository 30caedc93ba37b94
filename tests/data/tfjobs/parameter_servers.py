"""ParameterServerStrategy by TF_CONFIG alone: workers and servers serve until somebody ends them, the chief trains."""

import tensorflow as tf

task = tf.distribute.cluster_resolver.TFConfigClusterResolver(rpc_layer="grpc")
if task.task_type in ("worker", "ps"):
    server = tf.distribute.Server(
        task.cluster_spec(), job_name=task.task_type, task_index=task.task_id, protocol="grpc", start=True
    )
    server.join()

strategy = tf.distribute.experimental.ParameterServerStrategy(task)
coordinator = tf.distribute.experimental.coordinator.ClusterCoordinator(strategy)
with strategy.scope():
    total = tf.Variable(0, dtype=tf.int64)


@tf.function
def add() -> tf.Tensor:
    total.assign_add(1)
    return tf.identity(total)


for _ in range(20):
    coordinator.schedule(add)
coordinator.join()
print(f"chief: added up to {int(total.numpy())}", flush=True)
