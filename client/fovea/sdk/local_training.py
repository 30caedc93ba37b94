"""A training as processes of this machine: the tasks of a distributed job, with the TF_CONFIG that a cluster gives them."""

import errno
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fovea_api.contract import environment
from fovea_api.contract.cluster_spec import ClusterSpec

from .errors import InvalidError

CHIEF = "chief"
PORTS = range(20000, 32768)
"""Below those that the kernel gives to outgoing connections: it takes none of them between its choice and its use."""
LEAVING_SECONDS = 15.0
_DRAWN = random.SystemRandom()
"""Not Python's own generator: a recipe that has run in this process has set its seed, to the same value in all of them."""
_BOUND = Path(__file__).with_name("bound_program.py")


@dataclass
class Member:
    """A process of the training."""

    role: str
    index: int
    process: subprocess.Popen[bytes]
    reader: threading.Thread = field(default_factory=threading.Thread)

    @property
    def name(self) -> str:
        """Such as `worker 1`."""
        return self.role if self.role == CHIEF else f"{self.role} {self.index}"


class LocalTraining:
    """Starts the processes; they end with this one, even if that is killed (Linux)."""

    def __init__(
        self,
        command: Sequence[str],
        roles: Mapping[str, int],
        *,
        variables: Mapping[str, str] | None = None,
        write: Callable[[str], None],
        leaving_seconds: float = LEAVING_SECONDS,
    ) -> None:
        """`command` is the same for all; `roles` are numbers of processes, with one chief; `write` gets lines of output.

        `leaving_seconds`: for so long the others may run on when the chief has ended.

        Raises InvalidError for a command that cannot be started.
        """
        self._write = write
        self._leaving_seconds = leaving_seconds
        self._stopped = 0
        self._ports = _Ports(sum(roles.values()))
        cluster = _addresses(roles, self._ports.numbers)
        self.members: list[Member] = []
        for role, addresses in cluster.items():
            for index in range(len(addresses)):
                own = {environment.TF_CONFIG: ClusterSpec(cluster, role, index).to_env(), **(variables or {})}
                if role == "ps":
                    own["CUDA_VISIBLE_DEVICES"] = "-1"  # it would take the workers' memory
                self.members.append(Member(role, index, self._start(command, own)))
        for member in self.members:
            member.reader = threading.Thread(target=self._pass_on, args=(member,), daemon=True)
            member.reader.start()
        self.chief = next(member for member in self.members if member.role == CHIEF)

    def wait(self) -> int:
        """Until the chief has ended, and then the others; returns the chief's exit code, 128+n for signal n."""
        said: set[str] = set()
        while (code := self.chief.process.poll()) is None:
            time.sleep(0.1)
            for member in self.members:
                if member.process.poll() and member.name not in said:
                    said.add(member.name)
                    ended = f"{member.name} has ended with exit code {_exit_code(member.process.returncode)}"
                    self._write(f"{ended}; nothing starts it again here, Ctrl-C ends the training")
            if self.workers_failed() and not self._stopped:
                self._write("no worker is left: the chief is asked to stop")
                self.stop()
        self._end_others()
        return _exit_code(code)

    def workers_failed(self) -> bool:
        """Whether there were workers, and all of them have failed."""
        workers = [member for member in self.members if member.role == "worker"]
        return bool(workers) and all(member.process.poll() for member in workers)

    def stop(self) -> None:
        """Ask the chief to save and stop, after which the others end; the second time, kill all."""
        self._stopped += 1
        if self._stopped == 1:
            self.chief.process.terminate()
        else:
            self.kill()

    def kill(self) -> None:
        """End all processes now."""
        for member in self.members:
            member.process.kill()

    def _end_others(self) -> None:
        until = time.monotonic() + self._leaving_seconds
        for member in self.members:
            with suppress(subprocess.TimeoutExpired):
                member.process.wait(max(0.0, until - time.monotonic()))
        self.kill()
        for member in self.members:
            member.process.wait()
            member.reader.join(timeout=5)
        self._ports.give_back()

    def _start(self, command: Sequence[str], variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                _bound(command),
                env={**os.environ, "PYTHONUNBUFFERED": "1", **variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,  # a terminal's Ctrl-C comes to this process alone
            )
        except OSError as error:
            self.kill()
            raise InvalidError(f"cannot start {command[0]}: {error.strerror or error}") from error

    def _pass_on(self, member: Member) -> None:
        if member.process.stdout is not None:
            with member.process.stdout as lines:
                for line in lines:
                    self._write(f"{member.name} | {line.decode('utf-8', 'replace').rstrip()}")


def _bound(command: Sequence[str]) -> list[str]:
    """A command whose process the kernel ends when this one ends, however. Only Linux offers that."""
    if sys.platform != "linux":
        return list(command)
    program = shutil.which(command[0])
    if program is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return [sys.executable, "-I", "-S", str(_BOUND), str(os.getpid()), program, *command[1:]]


def _addresses(roles: Mapping[str, int], ports: Sequence[int]) -> dict[str, tuple[str, ...]]:
    free = iter(ports)
    return {role: tuple(f"127.0.0.1:{next(free)}" for _ in range(count)) for role, count in roles.items() if count}


class _Ports:
    """Ports of TCP that nobody uses. No other training chooses them meanwhile: each holds the same ports of UDP.

    The processes take seconds to listen, and TensorFlow's servers would share a port with those of another training.
    """

    def __init__(self, count: int) -> None:
        self._held: dict[int, socket.socket] = {}
        for port in _DRAWN.sample(PORTS, len(PORTS)):
            if len(self._held) == count:
                break
            held = socket.socket(type=socket.SOCK_DGRAM)
            try:
                held.bind(("127.0.0.1", port))
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            except OSError:
                held.close()
            else:
                self._held[port] = held

    @property
    def numbers(self) -> list[int]:
        """As many as were asked for, if there are as many."""
        return list(self._held)

    def give_back(self) -> None:
        """The training has ended."""
        for held in self._held.values():
            held.close()


def _exit_code(code: int) -> int:
    return code if code >= 0 else 128 - code
