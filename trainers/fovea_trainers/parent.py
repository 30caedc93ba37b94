"""`fovea-train` is two processes: the trainer, and a small parent that passes on what it writes to descriptor 2, filtered.

TensorFlow's chatter comes from C++ code, straight to that descriptor. A thread of the trainer that filtered it would end
with a trainer that aborts or is killed, and the last words would be lost; so would they in a child, since a container
ends with its process 1. So the parent is process 1: it passes signals on, reaps orphans, reads the pipe to its end and
ends with the trainer's exit code, with 128+n for signal n (ADR 122).
"""

import contextlib
import ctypes
import faulthandler
import fcntl
import os
import select
import selectors
import signal
import sys
import termios
from types import FrameType

from fovea_trainers.chatter import Filter

_PIECE = 1 << 16
_INT = 4
_PASSED_ON = frozenset(
    {
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGTSTP,
        signal.SIGCONT,
    }
)
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
_PR_SET_PDEATHSIG = 1
_TOO_LATE = ": TensorFlow did not connect the processes of the job in time, one of them may have ended meanwhile"
"""What its own alarm (`runtime/rendezvous.py`) cannot say."""


def stand_between() -> None:
    """Return in a new child process, the trainer; the parent stays in here, and exits with the child's exit code."""
    receiving, sending = os.pipe()
    parent = os.getpid()
    # No signal is lost between the two: each process handles them when it is ready to.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_PASSED_ON, signal.SIGCHLD})
    child = os.fork()
    if child:
        os.close(sending)
        sys.exit(_Parent(child, receiving).wait(before))
    os.close(receiving)
    os.setpgid(0, 0)  # a terminal's Ctrl-C comes to the parent alone: passed on, it would come twice
    _end_with(parent)
    _lead_descriptor_2_to(sending)
    faulthandler.enable(
        file=2
    )  # after the last words of an abort inside TensorFlow, the lines of the program that led there
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: int) -> None:
    """Where Linux offers it: a parent that is killed takes the child with it, as one process would have ended."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def _lead_descriptor_2_to(sending: int) -> None:
    """All but Python's own lines and a terminal's bar: those go straight to where descriptor 2 led before."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    os.dup2(sending, 2)
    os.close(sending)


class _NotWaitedFor(Exception):
    """The log took nothing, and a signal says that it is not waited for any more."""


class _Parent:
    def __init__(self, child: int, receiving: int) -> None:
        self._child = child
        self._receiving = receiving
        self._status: int | None = None
        self._filter = Filter()
        self._line_open = False
        self._writing = False
        self._heard = True
        """False once no reader of descriptor 2 is left, or none is waited for. The pipe is read all the same: a full one would hold up training."""

    def wait(self, mask: set[signal.Signals | int]) -> int:
        """Pass on lines and signals until the child has ended; return the exit code."""
        woken, waking = os.pipe()
        os.set_blocking(waking, False)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, self._reap)
        for number in _PASSED_ON:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` wants it
                signal.signal(number, self._pass_on)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._reap()  # it may have ended while SIGCHLD was blocked and had no handler
        with selectors.DefaultSelector() as ready:
            ready.register(woken, selectors.EVENT_READ)
            ready.register(self._receiving, selectors.EVENT_READ)
            while self._status is None:
                for key, _ in ready.select():
                    piece = os.read(key.fd, _PIECE)
                    if key.fd == self._receiving:
                        self._write(self._filter.take(piece))
                        if not piece:
                            ready.unregister(self._receiving)
        self._read_to_the_end()
        code = self._exit_code(os.waitstatus_to_exitcode(self._status))
        for number in _ENDING:  # else one that comes now would end this process with another code than the trainer's
            signal.signal(number, signal.SIG_IGN)
        return code

    def _read_to_the_end(self) -> None:
        """All that the child has written is in the pipe by now; another process that holds it open and writes is not waited for."""
        left = int.from_bytes(fcntl.ioctl(self._receiving, termios.FIONREAD, bytes(_INT)), sys.byteorder)
        while left > 0:
            piece = os.read(self._receiving, min(left, _PIECE))
            left -= len(piece)
            self._write(self._filter.take(piece))
        self._write(self._filter.end())

    def _exit_code(self, code: int) -> int:
        if code >= 0:
            return code
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        why = _TOO_LATE if -code == signal.SIGALRM else ""
        self._write(f"{chr(10) * self._line_open}fovea-train: the trainer was ended by {name}{why}\n".encode())
        return 128 - code

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):  # it is being reaped
                os.kill(self._child, number)
            if number == signal.SIGTSTP:  # Ctrl-Z stops both
                os.kill(os.getpid(), signal.SIGSTOP)
        elif number in _ENDING and self._heard:  # only the log is waited for
            self._heard = False
            if self._writing:
                raise _NotWaitedFor

    def _reap(self, *_: object) -> None:
        """The child, and as process 1 whatever it left behind."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._child:
                    self._status = ended[1]

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(_NotWaitedFor):
            self._writing = True
            while data and self._heard:
                try:
                    written = os.write(2, data)
                    self._line_open = data[written - 1 : written] != b"\n"
                    data = data[written:]
                except BlockingIOError:
                    select.select([], [2], [])
                except OSError:
                    self._heard = False
            self._writing = False
