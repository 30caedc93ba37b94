"""The turns: in each round every server is started, measured and ended, and each has a ceiling just before it.

The next round begins with the next server. The machine may be faster at some minutes than at others, so a share is that
of a ceiling of the same minutes.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from served import ceiling, model, processes
from served.ceiling import Limit
from served.load import Call, Load, LoadFailed, send_number

from peers import environment, fovea
from peers.asked import SIGNATURES, SIZE, Inputs, WrongAnswer, answer, checked
from peers.server import NotStarted, Server, sized, started

WARM = 3
"""Requests of each client that are not measured; their rate says how many make the seconds of a measurement."""
FAILURES = (LoadFailed, OSError, WrongAnswer, subprocess.SubprocessError)

Limits = Mapping[tuple[str, int], Limit]
"""The ceiling, by kind of input and number of clients."""


@dataclass(frozen=True)
class Key:
    """What is measured: a row of the table, the kind of its input, and the number of clients."""

    row: str
    kind: str
    clients: int


@dataclass(frozen=True)
class Cell:
    """One measurement; processor milliseconds of the server for each request where its processes are ours."""

    load: Load
    limit: Limit
    cpu_ms: float | None


@dataclass
class Found:
    """All measurements: those of each row and of the ceiling, and what went wrong, by server or row."""

    cells: dict[Key, list[Cell]] = field(default_factory=dict)
    limits: dict[tuple[str, int], list[Limit]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    versions: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Of the server and of TensorFlow, by server."""


@dataclass(frozen=True)
class Remote:
    """A server that runs already: its row, its address, and the name that a gateway goes by."""

    row: str
    address: str
    host: str = ""


@dataclass(frozen=True)
class Plan:
    """What is asked of a run."""

    servers: Sequence[Server]
    remotes: Sequence[Remote]
    clients: Sequence[int]
    rounds: int
    seconds: float


class Turns:
    """One run of a plan."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.model = plan, folder / model.NAME / "1"
        self.inputs, self.found = Inputs.made(), Found()
        model.save_cnn3(self.model, SIZE, pixels=True)
        self.runs = in_process(self.model)
        self.expected = {kind: self.runs[kind](_batch(self.inputs.one(kind)))[0][0] for kind in SIGNATURES}

    def run(self) -> Found:
        """All rounds."""
        pythons = self._pythons()
        turns: list[tuple[str, Callable[[], None]]] = [
            (server.name, lambda server=server: self._server(server, pythons[server.name]))
            for server in self.plan.servers
            if server.name in pythons
        ]
        turns += [(remote.row, lambda remote=remote: self._remote(remote)) for remote in self.plan.remotes]
        for number in range(self.plan.rounds):
            first = number % max(1, len(turns))
            for name, turn in turns[first:] + turns[:first]:
                said = f"round {number + 1} of {self.plan.rounds}, load {os.getloadavg()[0]:.1f}: {name}"
                print(said, file=sys.stderr, flush=True)
                turn()
        return self.found

    def _pythons(self) -> Mapping[str, Path]:
        """Interpreters of the servers that can be measured."""
        found = {}
        for server in self.plan.servers:
            try:
                python = environment.python_of(server.peer) if server.peer else Path(sys.executable)
                own = environment.version(python, server.package) if server.package else "this tree"
                self.found.versions[server.name] = (own, environment.version(python, "tensorflow-cpu"))
                found[server.name] = python
            except (environment.NotInstalled, subprocess.SubprocessError) as error:
                self.found.failures[server.name] = str(error)
        return found

    def _ceilings(self) -> Limits:
        found = {}
        for kind in SIGNATURES:
            for clients in self.plan.clients:
                limit = ceiling.best(self.runs[kind], self.inputs.one(kind), clients, self.plan.seconds)
                found[kind, clients] = limit
                self.found.limits.setdefault((kind, clients), []).append(limit)
        return found

    def _server(self, server: Server, python: Path) -> None:
        limits = self._ceilings()
        try:
            with started(server, python, self.model, self.inputs, self.expected) as running:
                for (kind, way), call in running.calls.items():
                    self._loads(f"{server.name}, {way}", kind, call, limits, lambda: processes.spent(running.pid))
        except NotStarted as error:
            self.found.failures[server.name] = f"not started: {error}"

    def _remote(self, remote: Remote) -> None:
        limits = self._ceilings()
        for (kind, way), call in fovea.elsewhere(remote.address, self.inputs, remote.host).items():
            try:
                right = answer(call, 60)
                checked(fovea.grpc_scores(right), self.expected[kind])
            except (OSError, WrongAnswer) as error:
                self.found.failures[remote.row] = f"{remote.address}: {error}"
                return
            self._loads(f"{remote.row}, {way}", kind, sized(call, right), limits, None)

    def _loads(self, row: str, kind: str, call: Call, limits: Limits, spent: Callable[[], float] | None) -> None:
        for clients in self.plan.clients:
            try:
                warm = send_number(call, clients, WARM * clients)
                before = spent() if spent else 0.0
                load = send_number(call, clients, max(WARM * clients, round(warm.rate * self.plan.seconds)))
                cpu = (spent() - before) / load.requests * 1e3 if spent else None
            except FAILURES as error:
                self.found.failures[f"{row}, {kind}, {clients} clients"] = str(error).partition(":\n")[0]
            else:
                cell = Cell(load, limits[kind, clients], cpu)
                self.found.cells.setdefault(Key(row, kind, clients), []).append(cell)


def in_process(folder: Path) -> Mapping[str, Callable[[Any], Any]]:
    """The model, called without a server, by kind of input."""
    from fovea_serving.server.servable import SessionSettings
    from fovea_serving.server.servable import load as load_servable

    servable = load_servable(folder, SessionSettings())

    def run_of(name: str) -> Callable[[Any], Any]:
        signature = servable.signatures[name]
        # The scores first: answers are compared with them.
        outputs = tuple(sorted(signature.outputs, key=lambda output: output != "scores"))
        return lambda feed: servable.run(signature, [feed], outputs)

    return {kind: run_of(name) for kind, (name, _) in SIGNATURES.items()}


def _batch(one: Any) -> Any:
    import numpy as np

    return np.array([one], dtype=object) if isinstance(one, bytes) else one[None]


def measured(plan: Plan) -> Found:
    """The run of a plan, in a folder that goes with it."""
    with tempfile.TemporaryDirectory() as name:
        return Turns(plan, Path(name)).run()


def rows(found: Found, kind: str) -> Iterator[str]:
    """Names of the rows that have measurements, in the order in which they came."""
    yield from dict.fromkeys(key.row for key in found.cells if key.kind == kind)
