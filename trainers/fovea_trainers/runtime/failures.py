"""Errors of TensorFlow and of the operating system: which of them end a job, and what helps.

Another machine or another hour heals an error of the surroundings (exit 75: the operator starts the trainer again, as
often as `runPolicy.backoffLimit` allows); any other error would happen again in the same run (exit 1).
"""

from __future__ import annotations

import errno
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fovea_api.contract import exit_codes

from fovea_trainers.runtime import devices

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Verdict:
    """Exit code of `fovea_api.contract.exit_codes`, and what a user can do."""

    exit_code: int
    remedy: str


def _again(remedy: str) -> Verdict:
    return Verdict(exit_codes.RESTART, f"training goes on from the last checkpoint: {remedy}")


def _final(remedy: str) -> Verdict:
    return Verdict(1, remedy)


GPU_MEMORY = _final(
    "the GPU's memory is too small for this training: lower --batch-size or --image-size, or choose a machineType "
    "whose GPU has more memory"
)
GPU_CROWDED = _again(
    "another process holds memory of this GPU, and too little was left; ask for the node to be checked, or for GPUs that are not "
    "shared, if it happens again. If the GPU is this training's alone, lower --batch-size or --image-size"
)
HOST_MEMORY = _final(
    "the container's memory is too small for this training: lower --batch-size, --image-size or --cache-mib, or choose "
    "a machineType with more memory"
)
DISK_FULL = _again(
    "the disk is full; choose a machineType with more ephemeral storage, or keep fewer checkpoints (checkpoint.keep), if "
    "it happens again"
)
DEVICE = _again("a GPU or its driver failed; ask for the node to be checked if it happens again on the same one")
DRIVER = _again(
    "the driver of this node is too old for the image, another node may have a newer one; ask for a newer driver, or choose "
    "another machineType, if it happens again"
)
MODEL = _final("the image has no code for this model of GPU: choose another machineType, or ask for a newer image")
PEER = _again("a device or another process did not answer")
PORT = _again("another process listens at the port of this one (TF_CONFIG), perhaps one that is about to end")
DISK = _again("a disk failed; ask for the node to be checked if it happens again on the same one")
DAMAGED = _again("a file on this node is damaged, and the next attempt fetches it again")
FORBIDDEN = _final("a file cannot be opened: make it readable (chmod a+r) and upload it again, or run as its owner")
MISSING = _final("a file does not exist: check its path; or another program removed it")
READ_ONLY = _final("the folder is read-only: write below $FOVEA_OUTPUT_DIR or /tmp")
DESCRIPTORS = _final("too many files are open: raise the container's limit (ulimit -n)")
DEFECT = _final("this is a defect of the recipe, or data that it does not expect; the trace above tells where")
XLA = _final("XLA cannot compile this step: leave --jit out")
DATA = _final("the data or the flags do not fit the recipe; the message tells which operation refused them")

OF_TENSORFLOW = {
    "AbortedError": PEER,
    "AlreadyExistsError": DEFECT,
    "CancelledError": PEER,
    "DataLossError": DAMAGED,
    "DeadlineExceededError": PEER,
    "FailedPreconditionError": DEFECT,
    "InternalError": DEVICE,
    "InvalidArgumentError": DATA,
    "NotFoundError": MISSING,
    "OpError": DAMAGED,
    "OutOfRangeError": DATA,
    "PermissionDeniedError": FORBIDDEN,
    "ResourceExhaustedError": HOST_MEMORY,
    "UnauthenticatedError": DEFECT,
    "UnavailableError": PEER,
    "UnimplementedError": DEFECT,
    "UnknownError": DEVICE,
}
"""By the name of the class in `tf.errors`. OpError itself: the reader of checkpoints has no better class for their damages."""

_PHRASES = (
    (r"No space left on device|Disk quota exceeded", DISK_FULL),
    (r"Too many open files", DESCRIPTORS),
    (r"Input/output error|Remote I/O error|Stale file handle|Structure needs cleaning", DISK),
    (r"CUDA_ERROR_OUT_OF_MEMORY|(CUDNN|CUBLAS|CUSOLVER)_STATUS_ALLOC_FAILED|out of memory.*GPU", GPU_CROWDED),
    (r"no kernel image is available|CUDA_ERROR_NO_BINARY_FOR_GPU|CUDNN_STATUS_ARCH_MISMATCH", MODEL),
    (r"driver version is insufficient|CUDA_ERROR_UNSUPPORTED_PTX|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", DRIVER),
    (r"device kernel image is invalid|CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", DRIVER),
    (r"CUDNN_STATUS_(NOT_SUPPORTED|BAD_PARAM)|CUBLAS_STATUS_(NOT_SUPPORTED|INVALID_VALUE)", DEFECT),
    (r"[Dd]uring compilation|XLA compilation|Compilation fail", DEFECT),
    (r"ECC error|CUDA_ERROR|CUDNN_STATUS|CUBLAS_STATUS|NCCL|ncclSystemError", DEVICE),
)
"""What the words of an error say beyond its class; the first that matches wins. Not for errors of a user's data."""

_OF_XLA = r"_XlaMustCompile|XLA_(CPU|GPU)_JIT"
"""Of an operation that XLA does not know, whatever the class of the error."""
_WORDS_COUNT = frozenset(
    {"OpError", "InternalError", "UnknownError", "ResourceExhaustedError", "UnavailableError", "AbortedError"}
)
_CROWDED = 0.1
"""Share of a GPU's memory that others may hold before they are the cause: drivers keep some for themselves."""
_OF_PYTHON = "Traceback (most recent call last)"
"""In an UnknownError: a Python function of the recipe, within a graph or a data set, has raised it."""
_NUMBER = re.compile(r"\[Errno (\d+)\]")
_ON_GPU = re.compile(r"allocator GPU|device:GPU", re.IGNORECASE)

OF_SYSTEM = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), DISK_FULL),
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.EREMOTEIO, errno.EUCLEAN), DISK),
    **dict.fromkeys(
        (
            errno.EAGAIN,
            errno.EBUSY,
            errno.ECONNABORTED,
            errno.ECONNREFUSED,
            errno.ECONNRESET,
            errno.EHOSTDOWN,
            errno.EHOSTUNREACH,
            errno.ENETDOWN,
            errno.ENETUNREACH,
            errno.ENFILE,
            errno.ENOTCONN,
            errno.EPIPE,
            errno.ETIMEDOUT,
        ),
        PEER,
    ),
    **dict.fromkeys((errno.EACCES, errno.EPERM), FORBIDDEN),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), MISSING),
    errno.EADDRINUSE: PORT,
    errno.EROFS: READ_ONLY,
    errno.EMFILE: DESCRIPTORS,
    errno.ENOMEM: HOST_MEMORY,
}


def verdict(error: BaseException) -> Verdict | None:
    """What an error means; None for one that is neither TensorFlow's nor the system's: a defect, with its trace."""
    import tensorflow as tf

    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, tf.errors.OpError):
            return _of_tensorflow(cause)
        if isinstance(cause, MemoryError):
            return HOST_MEMORY
        if isinstance(cause, OSError):
            return _of_system(cause)
        seen.add(id(cause))
        cause = cause.__cause__
    return None


def is_damage(error: BaseException) -> bool:
    """Whether an error of reading a checkpoint says that its files are wrong, and not that a disk does not answer."""
    import tensorflow as tf

    if isinstance(error, (IndexError, tf.errors.OutOfRangeError)):  # TensorFlow's words for a file that is cut off
        return True
    return isinstance(error, tf.errors.OpError) and _of_tensorflow(error) in (DAMAGED, MISSING)


def describe(error: BaseException) -> str:
    """The error in one line."""
    import tensorflow as tf

    from fovea_trainers.runtime.reasons import reason

    name = type(error).__name__
    return f"{name}: {reason(error) if isinstance(error, tf.errors.OpError) else error}"


def _of_tensorflow(error: tf.errors.OpError) -> Verdict:
    known = next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in OF_TENSORFLOW), "InternalError")
    message = str(error.message)
    if re.search(_OF_XLA, message):
        return XLA
    if known in _WORDS_COUNT:
        for pattern, meaning in _PHRASES:
            if re.search(pattern, message):
                return meaning
    if known == "ResourceExhaustedError" and _ON_GPU.search(message):
        # TensorFlow's own allocator has given all it got: that was little where others had taken their share before.
        return GPU_CROWDED if devices.held_by_others() > _CROWDED else GPU_MEMORY
    if known == "UnknownError" and _OF_PYTHON in message:
        number = _NUMBER.search(message)
        return OF_SYSTEM.get(int(number[1]), DEFECT) if number else DEFECT
    return OF_TENSORFLOW[known]


def _of_system(error: OSError) -> Verdict:
    if isinstance(error, socket.gaierror):
        return PEER if error.errno == socket.EAI_AGAIN else _final("a host name is unknown: check its spelling")
    if error.errno is None:
        return PEER if isinstance(error, (ConnectionError, TimeoutError)) else DEFECT
    return OF_SYSTEM.get(error.errno, DEFECT)
