"""The GPUs that a run has, beside those that its machine type promises."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from fovea_trainers.errors import CpuImage, HiddenGpus, NoGpu, TrainerError
from fovea_trainers.runtime.progress import say

_VISIBLE_TO_CUDA = "CUDA_VISIBLE_DEVICES"
BFLOAT16 = (8, 0)
"""The first compute capability whose tensor cores know bfloat16 (Ampere)."""


@dataclass(frozen=True)
class Gpu:
    """A GPU that TensorFlow sees."""

    name: str
    """Of the product, as its driver calls it."""
    capability: tuple[int, ...] = ()
    """Compute capability, such as (8, 0); empty where there is none."""

    def __str__(self) -> str:
        known = ".".join(map(str, self.capability))
        return f"{self.name} (compute capability {known})" if known else self.name


def gpus(expected: int) -> list[Gpu]:
    """The GPUs that TensorFlow sees, after saying which; raises if they are fewer than `expected`: CpuImage, HiddenGpus, NoGpu.

    A run that trains on the processor beside idle GPUs is hours slower without any message, and one on half of its GPUs
    hardly less so.
    """
    import tensorflow as tf

    seen = tf.config.list_physical_devices("GPU")
    if seen:
        held_by_others()
    if len(seen) < expected:
        raise _missing(len(seen), expected, cuda=tf.test.is_built_with_cuda())
    found = [_known(tf.config.experimental.get_device_details(each)) for each in seen]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    say(f"devices: {_number(len(found))}: {', '.join(map(str, found))}" if found else f"devices: {cores} cores, no GPU")
    return found


def require_bfloat16(found: Sequence[Gpu]) -> None:
    """Raises TrainerError for a GPU that computes in bfloat16 only by way of float32, or not at all."""
    for each in found:
        if each.capability and each.capability < BFLOAT16:
            raise TrainerError(
                f"--mixed-precision computes in bfloat16, which {each} does not know: leave the flag out, or choose a "
                "machineType whose GPUs have compute capability 8.0 or more (A100, A10, L4, H100 and newer)"
            )


def _known(details: dict[str, object]) -> Gpu:
    capability = details.get("compute_capability")
    return Gpu(str(details.get("device_name") or "GPU"), capability if isinstance(capability, tuple) else ())


def _number(count: int) -> str:
    return f"{count} GPU{'s' * (count != 1)}"


def _missing(found: int, expected: int, *, cuda: bool) -> TrainerError:
    seen = f"the machineType has {_number(expected)}, but TensorFlow finds {found or 'none'}"
    if not cuda:
        return CpuImage(
            f"{seen}: that of this image uses none. Ask the platform team to set the image of trainers with GPUs "
            "(images.trainerGpu), or choose a machineType without GPUs"
        )
    hidden = os.environ.get(_VISIBLE_TO_CUDA)
    if hidden is not None and len([each for each in hidden.split(",") if each.strip() not in ("", "-1")]) < expected:
        return HiddenGpus(
            f"{seen}: {_VISIBLE_TO_CUDA}={hidden} hides the others. Remove the variable from the job's env, or choose a "
            "machineType with fewer GPUs"
        )
    return NoGpu(
        f"{seen}: {_of_the_driver(expected)}; training is tried again, perhaps on another node. Ask for this node to be "
        "checked if it happens again"
    )


def _of_the_driver(expected: int) -> str:
    """How far the GPUs get: what a platform team looks at first."""
    listed = _nvidia_smi("--list-gpus")
    if listed is None:
        return "nvidia-smi does not run, so the container got no driver: the node's device plugin or container runtime failed"
    count = sum(line.startswith("GPU ") for line in listed.splitlines())
    if count < expected:
        return f"nvidia-smi lists {count or 'none'}, too: the node's device plugin gave no more, or a GPU has failed"
    return f"nvidia-smi lists {count}, so the driver works: the lines above tell what TensorFlow misses"


@cache  # asked before TensorFlow takes its share, which this would count
def held_by_others() -> float:
    """Share of its memory that other processes hold of the fullest GPU, as far as the driver's tool says; else 0."""
    listed = _nvidia_smi("--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits")
    try:
        rows = [line.split(",") for line in (listed or "").splitlines()]
        return max((float(used) / float(total) for used, total in rows), default=0.0)
    except (ValueError, ZeroDivisionError):  # a part of a GPU
        return 0.0


def _nvidia_smi(*arguments: str) -> str | None:
    """What the driver's tool says; None where there is none, or it fails."""
    try:
        return subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
