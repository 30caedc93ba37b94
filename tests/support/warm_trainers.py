"""Trainers as processes of their own that have TensorFlow already: forked off a server that has imported it once.

Most tests that need a trainer in a process of its own need its signals, exit codes and files, not its first four seconds of imports.
`command(...)` is a command line as good as `python -m fovea_trainers …`: the process that it starts passes signals on, ends as
the trainer ends, and takes the trainer with it when it is killed. `program(...)` is one as good as `python -c …`.
Each process of pytest has a server of its own, which ends with it.

python -m support.warm_trainers SOCKET
"""

import array
import atexit
import ctypes
import faulthandler
import json
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NoReturn

from support.polling import until

LAUNCHER = Path(__file__).with_name("warm_trainer.py")
STREAMS = 3
PROGRAM = "-c"
"""The first word where what follows is a program, not the words of `fovea-train`."""
_PR_SET_PDEATHSIG = 1


TRAINERS, BATCH = "fovea_trainers", "fovea_serving.batch.main"


def command(*words: str, module: str = TRAINERS) -> list[str]:
    """A command line that runs `fovea-train` with these words, or another module that has a `__main__`."""
    return [sys.executable, "-S", "-E", str(LAUNCHER), _server(), module, *words]


def program(text: str, *words: str) -> list[str]:
    """A command line that runs a program of Python with these words, TensorFlow imported and nothing done with it."""
    return command(text, *words, module=PROGRAM)


def process_of(launcher: int) -> int:
    """The number of the process that a launcher stands for."""
    path = Path(f"{_server()}.{launcher}")
    until(path.exists, seconds=60, what=f"the trainer of process {launcher} is forked")
    return int(path.read_text())


def trainer_of(launcher: int) -> int:
    """The number of the process that trains, behind its parent."""
    parent = process_of(launcher)
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    return int(children[0]) if children else parent


@cache
def _server() -> str:
    """The socket of this process's server, which is started when it is first asked for."""
    folder = tempfile.mkdtemp(prefix="warm-trainers-")
    path = str(Path(folder) / "socket")
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(LAUNCHER.parents[1]), os.environ.get("PYTHONPATH", "")]),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, path],
        env=variables,
        stdin=subprocess.PIPE,  # closed when this process ends
        stdout=subprocess.DEVNULL,
    )
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(process.kill)
    until(lambda: Path(path).exists() or process.poll() is not None, seconds=400, what="TensorFlow is imported")
    assert process.poll() is None, "the server of trainers has ended"
    return path


def serve(path: str) -> None:
    """Import what trainers need, and fork one for each connection, until standard input is closed."""
    import fovea_trainers

    for module in pkgutil.walk_packages(fovea_trainers.__path__, f"{fovea_trainers.__name__}."):
        if not module.name.endswith("__main__"):
            __import__(module.name)
    import fovea_serving.batch.program  # noqa: F401
    import keras  # noqa: F401
    import tensorflow as tf  # noqa: F401

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"{path}.new")
    listener.listen(64)
    Path(f"{path}.new").rename(path)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        while _reaped():
            pass
        if os.fork() == 0:
            listener.close()
            if module := _module_of_the_trainer(connection, path):
                _run(module)
                return
        connection.close()


def _run(module: str) -> None:
    """The program; a trainer forks once more. Its parent has no TensorFlow elsewhere, whose end could fail at its exit."""
    parent = os.getpid()
    try:
        if module == PROGRAM:
            text = sys.argv[1]
            sys.argv = [PROGRAM, *sys.argv[2:]]
            exec(compile(text, "<program>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if os.getpid() != parent:
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 0)


def _reaped() -> bool:
    """Whether a child that has ended was taken away."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _module_of_the_trainer(connection: socket.socket, path: str) -> str:
    """Fork once more: what to run, in the process that becomes the trainer; the other one answers for it, and never returns."""
    _, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(STREAMS * array.array("i").itemsize))
    streams = array.array("i", ancillary[0][2])
    with connection.makefile("rb", buffering=0) as lines:  # what follows the line are signals
        asked = json.loads(lines.readline())
    supervisor = os.getpid()
    trainer = os.fork()
    if trainer:
        for stream in streams:
            os.close(stream)
        registered = Path(f"{path}.{asked['launcher']}")
        staged = registered.with_name(f"{registered.name}.new")
        staged.write_text(str(trainer))
        staged.rename(registered)
        _answer_for(trainer, connection, registered)
    connection.close()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)
    module, *words = asked["words"]
    _become(streams, asked, words)
    return str(module)


def _become(streams: "array.array[int]", asked: dict[str, object], words: list[str]) -> None:
    """Take over streams, folder, environment and words of the launcher."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115 # type: ignore[misc]
    sys.stdout = sys.__stdout__ = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 # type: ignore[misc]
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115 # type: ignore[misc]
    faulthandler.enable()
    os.chdir(str(asked["folder"]))
    sys.path[0] = str(asked["folder"])  # as `python -m` has it
    os.environ.clear()
    os.environ.update(asked["environment"])  # type: ignore[arg-type]
    sys.argv = ["fovea-train", *words]


def _answer_for(trainer: int, connection: socket.socket, registered: Path) -> NoReturn:
    """Pass signals on, say how the trainer ended, and end it when the launcher is gone."""
    end = os.pidfd_open(trainer)
    while True:
        ready, _, _ = select.select([connection, end], [], [])
        if end in ready:
            _, status = os.waitpid(trainer, 0)
            registered.unlink()  # the number of the launcher may come again
            connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os._exit(0)
        number = connection.recv(1)
        os.kill(trainer, number[0] if number else signal.SIGKILL)
        if not number:
            os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
