"""A server: how it is started, and the ways to ask it."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fovea_dev.ports import free_ports
from served import processes
from served.load import FRAME_HEAD, Call

from peers.asked import JPEG, Inputs, Way, WrongAnswer, answer, checked

START_SECONDS = 600.0
"""The import of TensorFlow alone takes a minute on a machine that is busy."""
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}


class NotStarted(Exception):
    """A server that does not answer; the message has the end of its log."""


@dataclass(frozen=True)
class Place:
    """What a server is started with: its interpreter, the model, a folder of its own, and ports on loopback."""

    python: Path
    model: Path
    """The SavedModel: a version's folder, below one with the model's name."""
    folder: Path
    ports: Sequence[int]

    @property
    def program(self) -> Path:
        """The folder with the programs of the interpreter's environment."""
        return self.python.parent


@dataclass(frozen=True)
class Server:
    """A model server under measure. `ways`: for each kind of input, the ways to ask, by their names."""

    name: str
    says: str
    command: Callable[[Place], Sequence[str]]
    ways: Mapping[str, Mapping[str, Way]]
    peer: str | None = None
    """Its name among the pins; None: it runs in our own environment."""
    package: str | None = None
    """The distribution whose version the table names."""
    variables: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Running:
    """A server that answers: its process, and a request for each kind and way that is known to be answered rightly."""

    pid: int
    calls: Mapping[tuple[str, str], Call]


@contextmanager
def started(
    server: Server, python: Path, model: Path, inputs: Inputs, expected: Mapping[str, Any]
) -> Iterator[Running]:
    """The server, once it has given the right answer to each kind of request in each way."""
    with tempfile.TemporaryDirectory(prefix="fovea-peer-", ignore_cleanup_errors=True) as name:
        place = Place(python, model, Path(name), free_ports(3))
        log = place.folder / "server.log"
        # What servers keep for themselves, they keep in their home.
        variables = {**QUIET, "HOME": name, "MODEL_FOLDER": str(model), **(server.variables or {})}
        with processes.running(server.command(place), variables, log, place.folder) as process:
            deadline = time.monotonic() + START_SECONDS
            calls = {}
            for kind, ways in sorted(server.ways.items(), key=lambda item: item[0] != JPEG):
                for way, asked in ways.items():
                    call = asked.call(place, inputs)
                    try:
                        found = first(call, deadline, lambda: process.poll() is None)
                        checked(asked.scores(found), expected[kind])
                    except (OSError, WrongAnswer, ValueError, LookupError) as error:
                        tail = log.read_text(errors="replace")[-1500:]
                        raise NotStarted(f"{kind}, {way}: {error}\n{tail}") from error
                    calls[kind, way] = sized(call, found)
            yield Running(process.pid, calls)


def sized(call: Call, found: bytes) -> Call:
    """The call, with the bytes that each answer has to have where that is known."""
    return call if call.answer is None else replace(call, answer=FRAME_HEAD + len(found))


def first(call: Call, deadline: float, alive: Callable[[], bool]) -> bytes:
    """The first answer; OSError when the server ends before it, or the time is up."""
    while True:
        try:
            return answer(call, 60)
        except OSError as error:
            if not alive():
                raise OSError("its process has ended") from error
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)
