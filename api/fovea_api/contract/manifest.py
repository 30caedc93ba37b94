"""`manifest.json` of a publication: which objects belong to it, their sizes and digests. Written last, read first."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

from fovea_api.contract.entries import Entries, Entry
from fovea_api.contract.json_stream import members

__all__ = ["Entries", "Entry", "Manifest", "ManifestError", "UnknownFormat"]

PLAIN, WITH_NAMES = 1, 2
FORMATS = (PLAIN, WITH_NAMES)
"""Known here. Format 2 is the same with `named`, which a release that knows format 1 only would pass over in silence."""
FILES = "files"
_BATCH = 1000
RELEASE = version("fovea-api")
"""Of the Fovea that writes; in every manifest, so that an older one can say which release reads it."""


class ManifestError(ValueError):
    """A manifest that cannot be read; the message says what is wrong."""


class UnknownFormat(ManifestError):
    """A manifest in a format that this release does not know: a newer Fovea has written it, and nothing is wrong with it.

    A reader of such a manifest leaves the publication alone and does not call it corrupt.
    """


@dataclass(frozen=True)
class Manifest:
    """A publication's content. `complete`: the program wrote its `_SUCCESS` marker.

    `named`, of a checkpoint: the program gave it another name than its step (`checkpoint-500/`, `500.pt`), and the paths
    begin with that name: they are relative to the folder of all checkpoints.
    """

    attempt: int
    entries: Sequence[Entry]
    complete: bool = False
    step: int | None = None
    named: bool = False

    def __post_init__(self) -> None:
        """Pack the entries, in order of path."""
        if not isinstance(self.entries, Entries):
            object.__setattr__(self, "entries", Entries(self.entries))

    @property
    def size(self) -> int:
        """Bytes of all payload files."""
        return sum(entry.size for entry in self.entries)

    @cached_property
    def digest(self) -> str:
        """`sha256:<hex>` over paths, sizes and digests, in order of path: equal content, equal digest, whatever the attempt."""
        state = hashlib.sha256()
        for entry in self.entries:
            state.update(f"{entry.path}\0{entry.size}\0{entry.sha256}\n".encode())
        return f"sha256:{state.hexdigest()}"

    def to_json(self) -> bytes:
        """Serialise, with the digest for people to read."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """The same in pieces: of a million files it is some 200 MB."""
        document: dict[str, Any] = {
            "attempt": self.attempt,
            "complete": self.complete,
            "digest": self.digest,
            "format": WITH_NAMES if self.named else PLAIN,
            "release": RELEASE,
        }
        if self.step is not None:
            document["step"] = self.step
        if self.named:
            document["named"] = True
        head = json.dumps(document, indent=1, sort_keys=True).removesuffix("\n}")
        yield f'{head},\n "{FILES}": ['.encode()
        for first in range(0, len(self.entries), _BATCH):
            lines = map(_line, self.entries[first : first + _BATCH])
            yield ("," * bool(first) + "\n  " + ",\n  ".join(lines)).encode()
        yield b"\n ]\n}"

    @classmethod
    def from_json(cls, data: bytes) -> "Manifest":
        """Read and check; raises ManifestError. A path that leaves the folder it is restored to is refused."""
        return cls.read([data])

    @classmethod
    def read(cls, chunks: Iterable[bytes]) -> "Manifest":
        """The same of a manifest that is read while it arrives."""
        document: dict[str, Any] = {}
        problems: list[Exception] = []
        try:
            entries = Entries(_entries(members(chunks, FILES), document, problems))
            if document["format"] not in FORMATS:
                raise UnknownFormat(_unknown(document))
            if problems:
                raise problems[0]
            step = document.get("step")
            read = cls(
                int(document["attempt"]),
                entries,
                bool(document["complete"]),
                None if step is None else int(step),
                document.get("named") is True,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, ManifestError):
                raise
            raise ManifestError(f"manifest is malformed: {error!r}") from error
        if document.get("digest") != read.digest:
            raise ManifestError(f"manifest says digest {document.get('digest')}, its files add up to {read.digest}")
        return read


def _entries(found: Iterable[tuple[str, Any]], document: dict[str, Any], problems: list[Exception]) -> Iterator[Entry]:
    """The files; all else goes into `document`, and what is wrong with a file into `problems`: the format, which may
    come last, tells whether it is wrong at all.
    """
    for name, value in found:
        if name != FILES:
            document[name] = value
            continue
        try:
            entry = Entry(_safe(value["path"]), _safe(value["key"]), int(value["size"]), str(value["sha256"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            problems += [] if problems else [error]
        else:
            yield entry


def _line(entry: Entry) -> str:
    return json.dumps({"key": entry.key, "path": entry.path, "sha256": entry.sha256, "size": entry.size})


def _unknown(document: Any) -> str:
    release = document.get("release")
    written = f"by Fovea {release} " if release else ""
    needed = f"release {release}" if release else "the release that wrote it"
    return (
        f"it was written {written}in manifest format {document['format']!r}, and Fovea {RELEASE} reads formats "
        f"{' and '.join(map(str, FORMATS))} only: install {needed} or a newer one (images included)"
    )


def _safe(path: Any) -> str:
    if not isinstance(path, str) or not path or path.startswith("/") or "\0" in path or not _encodes(path):
        raise ManifestError(f"manifest path {path!r} is not a relative path")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ManifestError(f"manifest path {path!r} leaves its folder")
    return path


def _encodes(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
