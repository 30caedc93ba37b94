"""What TensorFlow computes with, and how many calls run together and at once by that."""

from __future__ import annotations

from typing import Final

import tensorflow as tf

from fovea_serving.server.batching import BatchingSettings

GPU_ROWS: Final = 128
"""A GPU runs as many rows in hardly more time than a few."""
GPU_RUNS: Final = 2
"""One that computes, and one that hands over what it reads and writes."""
GPU_COMPANY_SECONDS: Final = 0.001


def gpus() -> int:
    """How many GPUs TensorFlow sees: what a program may use of the machine's, by its build and its environment."""
    return len(tf.config.list_physical_devices("GPU"))


def default_batching(cores: int, gpus: int) -> BatchingSettings:
    """Without a GPU, two runs keep the runtime busy while one of them hands over; more only where there are more cores."""
    if gpus:
        return BatchingSettings(most_rows=GPU_ROWS, runners=GPU_RUNS, company_seconds=GPU_COMPANY_SECONDS)
    return BatchingSettings(runners=max(2, cores // 2))
