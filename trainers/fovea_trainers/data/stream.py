"""A streamed input as its program sees it: shards arrive in the order in which they are wanted (`contract.streams`)."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fovea_api.contract import shards as shard_names
from fovea_api.contract import streams as contract

from fovea_trainers.errors import DataError, InputFailed, InputSilent

POLL_SECONDS = 0.1
SAID_SECONDS = 10.0
"""Between two lines of the log about one that waits."""
SILENT_SECONDS = 120.0
"""For so long the sidecar may show no sign of life while a shard is waited for."""


@dataclass
class Stream:
    """The shards in one folder of a streamed input. Several threads may use it."""

    root: Path
    """The folder in which the shards appear."""
    place: Path
    """The folder of the protocol's files."""
    sizes: Mapping[str, int]
    """Bytes of each shard, by its name below `root`, in order of name."""
    room: int
    """Bytes of shards that lie on the disk at once, at most."""
    say: Callable[[str], None]
    check: Callable[[], None] = lambda: None
    """Called while a shard is waited for; may raise to give up."""
    below: str = ""
    """Of the input's folder: where `root` is."""
    clock: Callable[[], float] = time.monotonic
    silent_seconds: float = SILENT_SECONDS
    _next: list[str] = field(default_factory=list)
    _waiting: list[str] = field(default_factory=list)
    _written: list[str] | None = None
    _said: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def want(self, names: Iterable[str]) -> None:
        """Say which shards are read next, in order; those that are read now come first."""
        with self._lock:
            self._next = list(names)
            self._write()

    def wait(self, name: str) -> None:
        """Return when a shard is there; those that are waited for come first.

        Raises InputFailed when it will not come, InputSilent when the sidecar shows no sign of life, and what `check` raises.
        """
        self._change_waiting(name, 1)
        began, beat, beaten = self.clock(), -1, self.clock()
        try:
            while not (self.root / name).exists():
                self.check()
                state = self._state()
                if state.failed:
                    raise InputFailed(f"shard {name} will not come: {state.failed}", state.exit_code)
                now = self.clock()
                if state.beat != beat:
                    beat, beaten = state.beat, now
                if now - beaten > self.silent_seconds:
                    raise InputSilent(
                        f"waiting for shard {name}, but the sidecar, which fetches it, has shown no sign of life for "
                        f"{now - beaten:.0f} s; training goes on from the last checkpoint when the job starts again"
                    )
                self._say(name, now, began, state.waits)
                time.sleep(POLL_SECONDS)
        finally:
            self._change_waiting(name, -1)

    def _change_waiting(self, name: str, by: int) -> None:
        with self._lock:
            if by > 0:
                self._waiting.append(name)
            else:
                self._waiting.remove(name)
            self._write()

    def _write(self) -> None:
        """What is waited for, and then what is read next, as far as the disk has room for it."""
        names: list[str] = []
        left = self.room
        for name in dict.fromkeys([*self._waiting, *self._next]):
            left -= self.sizes[name]
            if names and (left < 0 or len(names) == contract.MOST_WANTED):
                break
            names.append(f"{self.below}/{name}" if self.below else name)
        if names and names != self._written:
            contract.write(self.place / contract.WANTED_FILE, contract.wanted_to_json(names))
            self._written = names

    def _state(self) -> contract.State:
        try:
            return contract.State.from_json((self.place / contract.STATE_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return contract.State()  # the sidecar has not begun
        except ValueError as error:
            raise DataError(f"{self.place / contract.STATE_FILE}: {error}; are the images of one release?") from error

    def _say(self, name: str, now: float, began: float, waits: str) -> None:
        with self._lock:  # one of several threads that wait
            if now - max(began, self._said) < SAID_SECONDS:
                return
            self._said = now
        here = sum((self.root / each).exists() for each in self.sizes)
        self.say(
            f"waiting for shard {name} for {now - began:.0f} s; {here} of {len(self.sizes)} shards are here"
            + (f"; the sidecar waits, too: {waits}" if waits else "")
        )


def find(
    path: Path, inputs: Path, say: Callable[[str], None], check: Callable[[], None] = lambda: None
) -> Stream | None:
    """The stream of the shards in a folder; None where the folder belongs to no streamed input.

    Raises DataError for a list of shards that cannot be read, and where none lies directly in the folder.
    """
    found = contract.input_of(path, inputs)
    if found is None:
        return None
    name, below = found
    place = contract.folder(inputs, name)
    try:
        listed = contract.Shards.from_json((place / contract.SHARDS_FILE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{place / contract.SHARDS_FILE}: {error}; are the images of one release?") from error
    start = f"{below}/" if below else ""
    sizes = {
        each.removeprefix(start): size
        for each, size in listed.sizes.items()
        if each.startswith(start) and "/" not in each.removeprefix(start)
    }
    if not sizes:
        where = ", ".join(sorted({str(Path(each).parent) for each in listed.sizes})[:5])
        raise DataError(
            f"input {name} is streamed, and no shard lies directly in {path}, but in {where}: name that folder with --data, "
            "or in the input's address"
        )
    return Stream(path, place, dict(sorted(sizes.items())), listed.room, say, check, below)


def beside(stream: Stream, suffix: str) -> None:
    """Raises DataError where a shard lacks its file with a suffix, such as an index: without it, all would be read first."""
    missing = [name for name in stream.sizes if not (stream.root / (name + suffix)).is_file()]
    if missing:
        raise DataError(
            f"{stream.root} is streamed, and {len(missing)} of {len(stream.sizes)} shards have no {suffix} file beside them, the "
            f"first is {missing[0]}: without it, every record would be read before the training. Write the shards with fovea data "
            f"convert, which adds {shard_names.INDEX_SUFFIX} and {shard_names.LABELS_SUFFIX} files, or take the input out of "
            "spec.inputModes"
        )
