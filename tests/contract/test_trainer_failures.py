"""Errors of TensorFlow and of the operating system: exit code and remedy, one line of the table each."""

import errno
import socket

import pytest
import tensorflow as tf
from fovea_api.contract import environment, exit_codes
from fovea_trainers.runtime import devices, failures
from fovea_trainers.runtime.reasons import reason
from support import training

FINAL, AGAIN = 1, exit_codes.RESTART


def graph_node(text: str) -> str:
    return (
        f"{{{{function_node __inference_update_7}}}} {text}\n\t [[{{{{node conv/Conv2D}}}}]] [Op:__inference_update_7]"
    )


OUT_OF_MEMORY = (
    "OOM when allocating tensor with shape[8,8] on /job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc"
)
RAISED = {
    "a lost peer": (tf.errors.UnavailableError, "Socket closed", AGAIN, "did not answer"),
    "an aborted step": (tf.errors.AbortedError, "connection reset", AGAIN, "did not answer"),
    "a cancelled step": (tf.errors.CancelledError, "step was cancelled", AGAIN, "did not answer"),
    "a deadline": (tf.errors.DeadlineExceededError, "rpc", AGAIN, "did not answer"),
    "a damaged file": (tf.errors.DataLossError, "corrupted record at 12", AGAIN, "fetches it again"),
    "an ECC error": (
        tf.errors.InternalError,
        "CUDA_ERROR_ECC_UNCORRECTABLE: ECC error",
        AGAIN,
        "the node to be checked",
    ),
    "cuDNN": (tf.errors.InternalError, "CUDNN_STATUS_EXECUTION_FAILED", AGAIN, "GPU or its driver"),
    "cuDNN that cannot do it": (tf.errors.InternalError, "CUDNN_STATUS_NOT_SUPPORTED", FINAL, "defect"),
    "NCCL": (tf.errors.UnknownError, "NCCL: unhandled system error", AGAIN, "GPU or its driver"),
    "XLA": (tf.errors.InternalError, "during compilation: unsupported HLO", FINAL, "defect"),
    "an old driver": (
        tf.errors.InternalError,
        "CUDA driver version is insufficient for CUDA runtime",
        AGAIN,
        "another node may have a newer one",
    ),
    "a driver without forward compatibility": (
        tf.errors.InternalError,
        "CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the provided PTX was compiled with an unsupported toolchain",
        AGAIN,
        "newer driver",
    ),
    "a driver that was replaced under the node": (
        tf.errors.InternalError,
        "cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH: system has unsupported display driver / cuda driver combination",
        AGAIN,
        "newer driver",
    ),
    "a model of GPU that the image does not know": (
        tf.errors.InternalError,
        "CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available for execution on the device",
        FINAL,
        "another machineType",
    ),
    "a GPU's memory": (tf.errors.ResourceExhaustedError, OUT_OF_MEMORY, FINAL, "--batch-size"),
    "a GPU whose memory others hold at the start": (
        tf.errors.InternalError,
        "failed initializing StreamExecutor for CUDA device ordinal 0: INTERNAL: failed call to "
        "cuDevicePrimaryCtxRetain: CUDA_ERROR_OUT_OF_MEMORY: out of memory; total memory reported: 85899345920",
        AGAIN,
        "another process holds",
    ),
    "memory of cuBLAS": (tf.errors.InternalError, "CUBLAS_STATUS_ALLOC_FAILED", AGAIN, "another process holds"),
    "memory of cuDNN": (tf.errors.InternalError, "CUDNN_STATUS_ALLOC_FAILED", AGAIN, "another process holds"),
    "a full disk": (tf.errors.ResourceExhaustedError, "/tmp/x; No space left on device", AGAIN, "ephemeral storage"),
    "files": (tf.errors.ResourceExhaustedError, "/tmp/x; Too many open files", FINAL, "ulimit"),
    "an unknown error": (tf.errors.UnknownError, "failed to get convolution algorithm", AGAIN, "GPU or its driver"),
    "a permission": (tf.errors.PermissionDeniedError, "/x", FINAL, "chmod"),
    "words of a user's data": (tf.errors.InvalidArgumentError, "label ECC error", FINAL, "data or the flags"),
}


@pytest.mark.parametrize(("kind", "message", "code", "words"), RAISED.values(), ids=RAISED.keys())
def test_an_error_inside_a_graph_has_an_exit_code_and_a_remedy(kind, message, code, words):
    @tf.function
    def step():
        raise kind(None, None, graph_node(message))

    with pytest.raises(tf.errors.OpError) as raised:
        step()
    verdict = failures.verdict(raised.value)
    assert (verdict.exit_code, words in verdict.remedy) == (code, True), verdict
    assert "{{" not in failures.describe(raised.value)


SMI = {
    "others hold half of the second one": ("1, 81559\n40000, 81559\n", 0, AGAIN),
    "the driver's own": ("525, 81559\n1, 81559\n", 0, FINAL),
    "no GPU": ("", 0, FINAL),
    "a part of a GPU": ("[N/A], [N/A]\n", 0, FINAL),
    "a driver that fails": ("Failed to initialize NVML", 9, FINAL),
    "no driver's tool": (None, 0, FINAL),
}


@pytest.mark.parametrize(("listed", "code", "expected"), SMI.values(), ids=SMI.keys())
def test_too_little_memory_of_a_gpu_is_tried_again_where_others_held_some_before(
    tmp_path, monkeypatch, listed, code, expected
):
    if listed is not None:
        (tmp_path / "listed").write_text(listed, encoding="utf-8")
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n/bin/cat {tmp_path}/listed\nexit {code}\n", encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    devices.held_by_others.cache_clear()
    try:
        assert failures.verdict(tf.errors.ResourceExhaustedError(None, None, OUT_OF_MEMORY)).exit_code == expected
    finally:
        devices.held_by_others.cache_clear()


def test_every_error_of_tensorflow_stands_in_the_table():
    kinds = {value for value in vars(tf.errors).values() if isinstance(value, type)}
    assert {kind.__name__ for kind in kinds if issubclass(kind, tf.errors.OpError)} == set(failures.OF_TENSORFLOW)


def generated(error: Exception) -> tf.Tensor:
    """The sum of a data set whose generator raises."""

    def numbers():
        yield 1
        raise error

    data = tf.data.Dataset.from_generator(numbers, output_signature=tf.TensorSpec([], tf.int32))
    return data.reduce(0, tf.add)


REAL = {
    "too large a tensor": (
        lambda: tf.tile(tf.random.uniform([1 << 20]), [1 << 25]),
        FINAL,
        "--batch-size",
    ),
    "a picture that is none": (lambda: tf.io.decode_image(b"<html>"), FINAL, "data or the flags"),
    "a disk that fails": (lambda: tf.io.read_file("/proc/self/mem"), AGAIN, "a disk failed"),
    "a defect in a recipe's own Python": (
        lambda: tf.py_function(lambda: 1 // 0, [], tf.int32),
        FINAL,
        "defect of the recipe",
    ),
    "a defect in a recipe's generator": (lambda: generated(KeyError("label")), FINAL, "defect of the recipe"),
    "a server that a generator loses": (lambda: generated(OSError(errno.ECONNRESET, "x")), AGAIN, "did not answer"),
    "a file that a generator misses": (lambda: generated(OSError(errno.ENOENT, "x")), FINAL, "does not exist"),
    "a missing file": (lambda: tf.io.read_file("/nowhere/at/all"), FINAL, "a file does not exist: check its path"),
}


@pytest.mark.parametrize(("operation", "code", "words"), REAL.values(), ids=REAL.keys())
def test_what_tensorflow_itself_raises_is_understood(operation, code, words):
    with pytest.raises(tf.errors.OpError) as raised:
        tf.function(operation)()
    verdict = failures.verdict(raised.value)
    assert (verdict.exit_code, words in verdict.remedy) == (code, True), (raised.value, verdict)
    assert "{{" not in reason(raised.value)
    assert "[Op:" not in reason(raised.value)


SYSTEM = {
    **{
        name: (OSError(getattr(errno, name), "x"), AGAIN) for name in ("ENOSPC", "EDQUOT", "EIO", "ESTALE", "ETIMEDOUT")
    },
    **{name: (OSError(getattr(errno, name), "x"), AGAIN) for name in ("ECONNRESET", "EPIPE", "EHOSTUNREACH", "ENFILE")},
    **{name: (OSError(getattr(errno, name), "x"), FINAL) for name in ("EACCES", "ENOENT", "EROFS", "EMFILE", "ENOMEM")},
    "no name server": (socket.gaierror(socket.EAI_AGAIN, "x"), AGAIN),
    "no such host": (socket.gaierror(socket.EAI_NONAME, "x"), FINAL),
    "a connection without a number": (ConnectionResetError("x"), AGAIN),
    "memory": (MemoryError(), FINAL),
}


@pytest.mark.parametrize(("error", "code"), SYSTEM.values(), ids=SYSTEM.keys())
def test_an_error_of_the_system_has_an_exit_code_and_a_remedy(error, code):
    verdict = failures.verdict(error)
    assert verdict.exit_code == code
    assert verdict.remedy


def test_the_cause_decides_and_a_defect_has_no_cause_of_this_kind():
    error = RuntimeError("while saving")
    error.__cause__ = OSError(errno.ENOSPC, "x")
    assert failures.verdict(error) is failures.DISK_FULL
    assert failures.verdict(TypeError("x")) is None


def test_a_step_that_loses_its_device_ends_the_program_with_75(tmp_path, capfd, monkeypatch):
    from fovea_trainers.runtime import loop

    def lost(*_args, **_more):
        raise tf.errors.UnavailableError(None, None, graph_node("Connection reset by peer"))

    monkeypatch.setattr(loop, "train", lost)
    data = training.write_pictures(tmp_path / "data", per_class=5)
    assert training.train(tmp_path, data, "--epochs=1") == AGAIN
    said = capfd.readouterr().err
    assert "fovea-train: UnavailableError: Connection reset by peer; training goes on from the last checkpoint" in said
    assert "Traceback" in said


GPUS = {
    "none, though the driver should give some": (
        0,
        True,
        AGAIN,
        "has 2 GPUs, but TensorFlow finds none: nvidia-smi",
    ),
    "none, since this TensorFlow uses none": (0, False, FINAL, "images.trainerGpu"),
}


@pytest.mark.parametrize(("found", "cuda", "code", "words"), GPUS.values(), ids=GPUS.keys())
def test_a_machine_type_with_gpus_of_which_none_is_found_ends_the_run(
    tmp_path, capfd, monkeypatch, found, cuda, code, words
):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind: ["gpu"] * found)
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: cuda)
    data = training.write_pictures(tmp_path / "data", per_class=2)
    assert training.train(tmp_path, data, "--epochs=1", **{environment.GPUS: "2"}) == code
    said = capfd.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_the_words_of_an_error_are_found_behind_the_heading_and_the_trace_of_its_graph():
    message = (
        "Graph execution error:\n\nDetected at node decode_image/DecodeImage defined at (most recent call last):\n"
        '  File "/train.py", line 10, in <module>\n\n  File "/train.py", line 7, in decode\n\n'
        "Unknown image file format.\n\t [[{{node decode_image/DecodeImage}}]] [Op:__inference_decode_6]"
    )
    assert reason(tf.errors.InvalidArgumentError(None, None, message)) == "Unknown image file format."
