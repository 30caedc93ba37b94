"""What `fetch` leaves beside an input: its identity, `$FOVEA_INPUT_DIR/.fovea/<input>.json`.

Code that must know whether an input has changed reads this instead of every file: a data set may have millions.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from .skew import known

FOLDER = ".fovea"
"""Beside the inputs, below `$FOVEA_INPUT_DIR`; no input has this name (names of inputs begin with a letter or digit)."""


@dataclass(frozen=True)
class Identity:
    """Which data an input is. Equal digests: the same paths with the same sizes and contents.

    `digest` is `sha256:<hex>` over path, size and ETag of every file in order of path (a publication's files have a
    SHA-256 instead of an ETag); `files` is their number, `size` the sum of their bytes.
    """

    digest: str
    files: int
    size: int

    def to_json(self) -> str:
        """Serialise."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read; raises ValueError naming what is wrong."""
        try:
            document = known(cls, json.loads(text))
            return cls(str(document["digest"]), int(document["files"]), int(document["size"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the identity of an input is malformed: {error!r}") from error

    def write(self, inputs: Path, name: str) -> None:
        """Leave it for the input `name` in the folder of inputs; whole or not at all."""
        file = file_of(inputs, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".tmp")
        unfinished.write_text(self.to_json())
        unfinished.rename(file)


class Files:
    """Sums up an identity, one file after the other in order of path, without holding any of them."""

    def __init__(self) -> None:
        self._state = hashlib.sha256()
        self.count = 0
        self.size = 0

    def add(self, path: str, size: int, etag: str) -> None:
        """Count in one file; `path` is relative to the input, `size` in bytes."""
        self._state.update(f"{path}\0{size}\0{etag}\n".encode())
        self.count += 1
        self.size += size

    def identity(self) -> Identity:
        """What was counted in so far."""
        return Identity(f"sha256:{self._state.hexdigest()}", self.count, self.size)


def file_of(inputs: Path, name: str) -> Path:
    """The file that holds the identity of the input `name`; `inputs` is `$FOVEA_INPUT_DIR`."""
    return inputs / FOLDER / f"{name}.json"


def read(inputs: Path, name: str) -> Identity | None:
    """Identity of the input `name`; None where no agent has left one (a run on one's own machine, an older agent).

    Raises ValueError, naming the file, when it is malformed.
    """
    file = file_of(inputs, name)
    try:
        text = file.read_text()
    except FileNotFoundError:
        return None
    try:
        return Identity.from_json(text)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
