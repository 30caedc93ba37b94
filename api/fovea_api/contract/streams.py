"""Streamed inputs: shards that arrive while the program runs, in the order in which it wants them.

Program and sidecar share nothing but the working volume, so they talk by files, each written whole by a rename, in
`$FOVEA_INPUT_DIR/.fovea/streams/<input>/`:

- `shards.json`, by the agent before the program starts: the paths and sizes of all shards, and how many bytes of them may
  lie on the disk at once;
- `wanted.json`, by the program: the shards that it reads next, in this order. The first ones are those that it reads now;
- `state.json`, by the sidecar about once a second: a beat by which the program knows that the sidecar lives, what it
  waits for, and why no shard comes any more.

A shard is at `$FOVEA_INPUT_DIR/<input>/<path>` once it is whole and verified. It goes away when others that are wanted need its
room; a program that finds it gone wants it again. Files that are no shards are there from the start.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from .listing import FOLDER
from .skew import known

STREAMS = "streams"
SHARDS_FILE, WANTED_FILE, STATE_FILE = "shards.json", "wanted.json", "state.json"
ROOM = 10 << 30
"""Bytes of shards that may lie on the disk at once, for each streamed input, where the plan says nothing else."""
BEAT_SECONDS = 1.0
"""Between two beats of the sidecar."""
MOST_WANTED = 4096
"""Names in `wanted.json`, at most."""
LARGEST = 16 << 20
"""Bytes of a file of the protocol, at most, but for `shards.json`."""


def folder(inputs: Path, name: str) -> Path:
    """Where the files about the input `name` are; `inputs` is `$FOVEA_INPUT_DIR`."""
    return inputs / FOLDER / STREAMS / name


def input_of(path: Path, inputs: Path) -> tuple[str, str] | None:
    """The streamed input that a path belongs to: its name, and the folder below it ("" for the input itself); None for none."""
    path, inputs = path.absolute(), inputs.absolute()
    if not path.is_relative_to(inputs) or path == inputs:
        return None
    name, *below = path.relative_to(inputs).parts
    return (name, "/".join(below)) if (folder(inputs, name) / SHARDS_FILE).exists() else None


@dataclass(frozen=True)
class Shards:
    """What of an input arrives while the program runs."""

    sizes: Mapping[str, int]
    """In bytes, by the path below the input, in order of path."""
    room: int = ROOM
    """Bytes of shards that may lie on the disk at once. The first shard that is wanted may be larger."""

    def to_json(self) -> str:
        """Serialise."""
        return json.dumps({"room": self.room, "shards": dict(self.sizes)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read; raises ValueError naming what is wrong."""
        try:
            document = json.loads(text)
            return cls({str(path): int(size) for path, size in document["shards"].items()}, int(document["room"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the list of a streamed input's shards is malformed: {error!r}") from error


@dataclass(frozen=True)
class State:
    """How the sidecar is getting on."""

    beat: int = 0
    """Another number at each beat."""
    waits: str = ""
    """What it waits for itself, such as a store that does not answer."""
    failed: str = ""
    """Why no shard comes any more; empty while they do."""
    exit_code: int = 0
    """With `failed`: what a program that needs another shard ends with."""

    def to_json(self) -> str:
        """Serialise."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read; raises ValueError naming what is wrong."""
        try:
            found = known(cls, json.loads(text))
            said = {name: str(found.get(name, "")) for name in ("waits", "failed")}
            return cls(int(found.get("beat", 0)), said["waits"], said["failed"], int(found.get("exit_code", 0)))
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"the state of a streamed input is malformed: {error!r}") from error


def wanted_to_json(names: Sequence[str]) -> str:
    """The paths of shards that are read next, in order."""
    return json.dumps({"wanted": list(names)}, ensure_ascii=False)


def wanted_from_json(text: str) -> list[str]:
    """Read; raises ValueError naming what is wrong."""
    try:
        return [str(name) for name in json.loads(text)["wanted"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the list of wanted shards is malformed: {error!r}") from error


def write(file: Path, text: str) -> None:
    """Let a file of the protocol appear whole, in place of the one before."""
    unfinished = file.with_suffix(".tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.rename(file)
