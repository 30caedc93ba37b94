"""The parent of the trainer: what it passes on, to whom, and with which exit code it ends."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from fovea_trainers.chatter import Filter
from support.polling import until

NOISE = b"To enable the following instructions: AVX2 FMA\n"


def start(program: str, *, stderr: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """A program behind its parent, in a process group of its own as a shell would start it."""
    # Whatever runs these tests may ignore them (nohup, a job in the background), and a program inherits that.
    heard = "for number in (signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_DFL)\n"
    head = "import os, signal, subprocess, sys, time\nfrom fovea_trainers import parent\n"
    program = f"{head}{heard}parent.stand_between()\n{program}"
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
    )


def ended(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    _, said = process.communicate(timeout=60)
    return process.returncode, said


WAITING = """
heard = []
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, lambda number, _: heard.append(number))
print(os.getpid(), flush=True)
while not heard:
    time.sleep(0.01)
os.write(2, b"heard %d" % heard[0])
sys.exit(75 if len(heard) == 1 else 1)
"""

COUNTING = """
heard = []
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, _: heard.append(print(number, flush=True) or number))
print(os.getpid(), flush=True)
while signal.SIGTERM not in heard:
    time.sleep(0.01)
"""


def child_of(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def waiting_in(pipe: int) -> int:
    """Bytes that can be read from a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"), sys.byteorder)


@pytest.mark.parametrize("code", [0, 1, 75])
def test_the_exit_code_is_the_trainer_s(code):
    assert ended(start(f"print('x', file=sys.stderr); sys.exit({code})")) == (code, b"x\n")


def test_the_last_words_of_an_abort_and_where_the_program_was_are_in_the_log(tmp_path):
    words = b"F0000 00:00:1 26257 tensor.cc:844] Check failed: dtype() == expected_dtype"
    program = f"os.chdir({str(tmp_path)!r}); os.write(2, {NOISE!r} + b'y' * 100_000 + b'\\n' + {words!r} + b'\\n'); os.abort()"
    code, said = ended(start(program))
    assert code == 128 + signal.SIGABRT
    assert said.startswith(b"y" * 100_000 + b"\n" + words + b"\nFatal Python error: Aborted\n")
    assert b'File "<string>", line' in said
    assert said.endswith(b"\nfovea-train: the trainer was ended by SIGABRT\n")


def test_a_trainer_that_is_killed_ends_the_program_with_137():
    process = start(WAITING)
    os.kill(child_of(process), signal.SIGKILL)
    assert ended(process)[0] == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_is_passed_on(number):
    process = start(WAITING)
    child_of(process)
    process.send_signal(number)
    assert ended(process) == (75, b"heard %d" % number)


def test_ctrl_c_on_a_terminal_comes_once():
    process = start(COUNTING)
    child_of(process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == b"2\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == b"15\n"


def test_a_signal_before_the_trainer_listens_ends_it_and_asks_for_another_attempt():
    process = start("print(os.getpid(), flush=True); time.sleep(60)")
    child_of(process)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 128 + signal.SIGTERM


def test_a_log_that_nobody_reads_holds_up_no_training(tmp_path):
    reading, writing = os.pipe()
    process = start(
        f"for _ in range(100): os.write(2, b'y' * 9999 + b'\\n')\nopen({str(tmp_path / 'trained')!r}, 'w')",
        stderr=writing,
    )
    os.close(writing)
    os.close(reading)
    assert ended(process)[0] == 0
    assert (tmp_path / "trained").exists()


def test_a_log_that_takes_nothing_for_a_while_gets_every_line_later():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = start("for _ in range(100): os.write(2, b'y' * 9999 + b'\\n')", stderr=writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as log:
        until(lambda: waiting_in(reading) > 60_000, what="a full pipe", every=0.01)
        assert log.read() == (b"y" * 9999 + b"\n") * 100
    assert ended(process)[0] == 0


def test_what_the_trainer_started_and_left_behind_holds_up_no_end():
    process = start("print(subprocess.Popen(['sleep', '600']).pid, flush=True); os.write(2, b'done')")
    left = child_of(process)
    try:
        assert (process.wait(timeout=60), process.stderr.read(4)) == (0, b"done")
    finally:
        os.kill(left, signal.SIGKILL)
        process.communicate()


def test_what_the_trainer_left_behind_and_which_writes_without_end_holds_up_no_end():
    program = (
        "for _ in range(3): subprocess.Popen(['sh', '-c', 'exec yes >&2'], stdout=2)\nprint(os.getpid(), flush=True)"
    )
    process = start(program, stderr=subprocess.DEVNULL)
    group = child_of(process)
    try:
        assert process.wait(timeout=60) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        process.kill()
        process.communicate()


def test_a_signal_after_the_trainer_s_end_ends_the_wait_for_a_log_that_takes_nothing():
    reading, writing = os.pipe()
    # More than the log's pipe takes, and less than this pipe and the trainer's.
    process = start(
        "print(os.getpid(), flush=True)\nfor _ in range(11): os.write(2, b'y' * 9999 + b'\\n')", stderr=writing
    )
    os.close(writing)
    try:
        child = child_of(process)
        until(lambda: not Path(f"/proc/{child}").exists(), what="the trainer's end", every=0.01)
        assert process.poll() is None, "its last words are not in the log yet"
        until(lambda: process.send_signal(signal.SIGTERM) or process.poll() is not None, what="the end", every=0.01)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
        os.close(reading)


def test_orphans_are_reaped_as_process_1_has_to():
    program = """
read, write = os.pipe()
if os.fork() == 0:
    if (orphan := os.fork()) == 0:
        os._exit(0)
    os.write(write, b"%d" % orphan)
    os._exit(0)
os.wait()
orphan = os.read(read, 20).decode()
deadline = time.monotonic() + 30
while os.path.exists("/proc/" + orphan):
    assert time.monotonic() < deadline, "still a zombie"
    time.sleep(0.01)
"""
    subreaper = "import ctypes; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"
    head = f"import os, sys, time\n{subreaper}from fovea_trainers import parent\nparent.stand_between()\n"
    done = subprocess.run([sys.executable, "-c", head + program], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_parent_that_is_killed_takes_the_trainer_with_it():
    process = start(WAITING)
    child = child_of(process)
    process.kill()
    process.communicate(timeout=60)  # its end of the pipes is closed too
    until(lambda: not Path(f"/proc/{child}/fd/1").exists(), what="the trainer's end", every=0.01)


KEPT = (
    b"W0000 00:00:1795906194.258177   26257 gpu_device.cc:2432] TensorFlow was not built with CUDA kernels for 12.0",
    b"E0000 00:00:1795906194.258177   26257 cuda_dnn.cc:522] Loaded runtime CuDNN library: 8.9 but source needs 9.1",
    b"F0000 00:00:1795906194.258177   26257 tensor.cc:844] Check failed: dtype() == expected_dtype",
    b"E0000 00:00:1795906194.2 26257 cuda_executor.cc:1228] failed call to cuInit: INTERNAL: CUDA_ERROR_UNKNOWN (303)",
    b"2026-11-29 01:00:00.0: E external/local_xla/xla/stream_executor/cuda/cuda_executor.cc:1] failed call to cuInit: x",
    b"I0000 00:00:1795906194.2 26257 cuda_diagnostics.cc:160] env: CUDA_VISIBLE_DEVICES=",
    b"E0000 00:00:1795906194.2 26257 cuda_diagnostics.cc:319] kernel version 570.1 does not match DSO version 580.2",
    b"the program's own line about JPEG data",
)
AWAY = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    b"I0000 00:00:1795906147.190869   26257 cpu_feature_guard.cc:227] This TensorFlow binary is optimized to use available",
    b"To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the appropriate flags.",
    b"I0000 00:00:1795906147.190869   26257 port.cc:153] oneDNN custom operations are on. You may see slightly different",
    b"E0000 00:00:1795980356.270613   18145 util.cc:131] oneDNN supports DT_UINT8 only on platforms with AVX-512. Falling back",
    b"E0000 00:00:1795906194.258090   26257 jpeg_mem.cc:331] Premature end of JPEG data. Stopped at line 14/64",
    b"Improper call to JPEG library in state 201",
    b"Corrupt JPEG data: premature end of data segment",
    b"Unsupported marker type 0x3c",
    b"W0000 00:00:1795906194.27   26257 local_rendezvous.cc:412] Local rendezvous is aborting with status: INVALID_ARGUMENT: x",
    b"\t [[{{node DecodeImage}}]]",
)


@pytest.mark.parametrize("size", [1, 7, 100_000], ids=["byte by byte", "in pieces", "at once"])
def test_known_chatter_is_kept_out_of_the_log_and_everything_else_passes(size):
    written = b"".join(away + b"\n" + kept + b"\n" for away, kept in zip(AWAY, KEPT * 2, strict=False)) + b"no end"
    chosen = Filter()
    passed = b"".join(chosen.take(written[i : i + size]) for i in range(0, len(written), size)) + chosen.end()
    kept_lines = [kept for _, kept in zip(AWAY, KEPT * 2, strict=False)]
    assert passed.split(b"\n") == [*kept_lines, b"no end"]


def test_a_line_without_an_end_is_not_held_back_for_ever():
    assert Filter().take(b"y" * (1 << 16)) == b"y" * (1 << 16)
