"""Errors of TensorFlow and of the operating system: exit code and remedy, one line of the table each."""

import errno
import os
import socket
import sys

import pytest
import tensorflow as tf
from fovea_api.contract import exit_codes
from fovea_trainers.chatter import Quiet
from fovea_trainers.runtime import failures
from fovea_trainers.runtime.reasons import reason
from support import training

FINAL, AGAIN = 1, exit_codes.RESTART


def graph_node(text: str) -> str:
    return (
        f"{{{{function_node __inference_update_7}}}} {text}\n\t [[{{{{node conv/Conv2D}}}}]] [Op:__inference_update_7]"
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
        FINAL,
        "newer driver",
    ),
    "a GPU's memory": (
        tf.errors.ResourceExhaustedError,
        "OOM when allocating tensor with shape[8,8] on /job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc",
        FINAL,
        "--batch-size",
    ),
    "memory of cuBLAS": (tf.errors.InternalError, "CUBLAS_STATUS_ALLOC_FAILED", FINAL, "whose GPU has more memory"),
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


def test_every_error_of_tensorflow_stands_in_the_table():
    kinds = {value for value in vars(tf.errors).values() if isinstance(value, type)} - {tf.errors.OpError}
    assert {kind.__name__ for kind in kinds if issubclass(kind, tf.errors.OpError)} == set(failures.OF_TENSORFLOW)


REAL = {
    "too large a tensor": (
        lambda: tf.tile(tf.random.uniform([1 << 20]), [1 << 25]),
        FINAL,
        "--batch-size",
    ),
    "a picture that is none": (lambda: tf.io.decode_image(b"<html>"), FINAL, "data or the flags"),
    "a missing file": (lambda: tf.io.read_file("/nowhere/at/all"), FINAL, "is gone"),
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


KEPT = (
    b"W0000 00:00:1795906194.258177   26257 gpu_device.cc:2432] TensorFlow was not built with CUDA kernels for 12.0",
    b"E0000 00:00:1795906194.258177   26257 cuda_dnn.cc:522] Loaded runtime CuDNN library: 8.9 but source needs 9.1",
    b"F0000 00:00:1795906194.258177   26257 tensor.cc:844] Check failed: dtype() == expected_dtype",
    b"the program's own line about JPEG data",
)
AWAY = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    b"I0000 00:00:1795906147.190869   26257 cpu_feature_guard.cc:227] This TensorFlow binary is optimized to use available",
    b"To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the appropriate flags.",
    b"I0000 00:00:1795906147.190869   26257 port.cc:153] oneDNN custom operations are on. You may see slightly different",
    b"E0000 00:00:1795906194.258090   26257 jpeg_mem.cc:331] Premature end of JPEG data. Stopped at line 14/64",
    b"Improper call to JPEG library in state 201",
    b"Corrupt JPEG data: premature end of data segment",
    b"Unsupported marker type 0x3c",
    b"W0000 00:00:1795906194.27   26257 local_rendezvous.cc:412] Local rendezvous is aborting with status: INVALID_ARGUMENT: x",
    b"\t [[{{node DecodeImage}}]]",
)


def test_known_chatter_is_kept_out_of_the_log_and_everything_else_passes(capfd):
    with Quiet():
        for line in [line for pair in zip(AWAY, [*KEPT, *KEPT, *KEPT], strict=False) for line in pair]:
            os.write(2, line + b"\n")
        print("from Python", file=sys.stderr)
        os.write(2, b"without an end")
    said = capfd.readouterr().err
    assert not [line for line in AWAY if line.decode().strip() in said]
    assert all(line.decode() in said for line in KEPT)
    assert "from Python" in said
    assert said.endswith("without an end")
