"""The GPUs that a run has, beside those that its machine type promises."""

import subprocess
from functools import cache

from fovea_trainers.errors import CpuImage, NoGpu
from fovea_trainers.runtime.progress import say


def gpus(expected: int) -> int:
    """How many GPUs TensorFlow sees; raises CpuImage or NoGpu when it sees none of those that are `expected`.

    A run that trains on the processor beside idle GPUs is hours slower without any message.
    """
    import tensorflow as tf

    found = len(tf.config.list_physical_devices("GPU"))
    if found:
        held_by_others()
    if expected and not found:
        promised = f"the machineType has {expected} GPU{'s' * (expected > 1)}"
        if not tf.test.is_built_with_cuda():
            raise CpuImage(
                f"{promised}, but the TensorFlow of this image uses none: ask the platform team to set the image of "
                "trainers with GPUs (images.trainerGpu), or choose a machineType without GPUs"
            )
        raise NoGpu(
            f"{promised}, but TensorFlow finds none: the lines above tell why, most often the driver of the node; "
            "training is tried again, perhaps on another node. Ask for this node to be checked if it happens again"
        )
    if found < expected:
        say(f"TensorFlow finds {found} of the {expected} GPUs of the machineType: training goes on with those")
    return found


@cache  # asked before TensorFlow takes its share, which this would count
def held_by_others() -> float:
    """Share of its memory that other processes hold of the fullest GPU, as far as the driver's tool says; else 0."""
    command = ["nvidia-smi", "--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        rows = [line.split(",") for line in listed.splitlines()]
        return max((float(used) / float(total) for used, total in rows), default=0.0)
    except (OSError, subprocess.SubprocessError, ValueError, ZeroDivisionError):  # none there, or a part of a GPU
        return 0.0
