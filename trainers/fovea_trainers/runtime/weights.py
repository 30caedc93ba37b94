"""Examples that count, and those that only keep a device busy."""

import tensorflow as tf


def weighted(*tensors: tf.Tensor) -> list[tf.Tensor]:
    """The tensors of a batch or of a share of it [n, …], and a weight of 1 for each example, float32 [n].

    Without any example (n = 0) there is one of zeros with weight 0: on some processors, kernels that fuse a convolution
    with its neighbours fail or abort the process when they are trained with none.
    """
    size = int(tensors[0].shape[0])
    if size:
        return [*tensors, tf.ones([size])]
    return [*(tf.zeros([1, *tensor.shape[1:]], tensor.dtype) for tensor in tensors), tf.zeros([1])]
