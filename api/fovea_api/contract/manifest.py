"""`manifest.json` of a publication: which objects belong to it, their sizes and digests. Written last, read first."""

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

PLAIN, WITH_NAMES = 1, 2
FORMATS = (PLAIN, WITH_NAMES)
"""Known here. Format 2 is the same with `named`, which a release that knows format 1 only would pass over in silence."""
RELEASE = version("fovea-api")
"""Of the Fovea that writes; in every manifest, so that an older one can say which release reads it."""


class ManifestError(ValueError):
    """A manifest that cannot be read; the message says what is wrong."""


class UnknownFormat(ManifestError):
    """A manifest in a format that this release does not know: a newer Fovea has written it, and nothing is wrong with it.

    Whoever meets one leaves the publication alone; it must not be taken for a corrupt one.
    """


@dataclass(frozen=True)
class Entry:
    """One payload file: path relative to the folder it is restored to, object key relative to the publication's prefix."""

    path: str
    key: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A publication's content. `complete` tells that the program wrote its `_SUCCESS` marker.

    `named`, of a checkpoint: the program gave it another name than its step (`checkpoint-500/`, `500.pt`), and the paths
    begin with that name: they are relative to the folder of all checkpoints.
    """

    attempt: int
    entries: tuple[Entry, ...]
    complete: bool = False
    step: int | None = None
    named: bool = False

    @property
    def size(self) -> int:
        """Bytes of all payload files."""
        return sum(entry.size for entry in self.entries)

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over paths, sizes and digests, in order of path: equal content, equal digest, whatever the attempt."""
        state = hashlib.sha256()
        for entry in sorted(self.entries, key=lambda entry: entry.path):
            state.update(f"{entry.path}\0{entry.size}\0{entry.sha256}\n".encode())
        return f"sha256:{state.hexdigest()}"

    def to_json(self) -> bytes:
        """Serialise, with the digest for people to read."""
        document: dict[str, Any] = {
            "format": WITH_NAMES if self.named else PLAIN,
            "release": RELEASE,
            "attempt": self.attempt,
            "complete": self.complete,
            "digest": self.digest,
            "files": [
                {"path": e.path, "key": e.key, "size": e.size, "sha256": e.sha256}
                for e in sorted(self.entries, key=lambda entry: entry.path)
            ],
        }
        if self.step is not None:
            document["step"] = self.step
        if self.named:
            document["named"] = True
        return json.dumps(document, indent=1, sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Manifest":
        """Read and check; raises ManifestError. A path that leaves the folder it is restored to is refused."""
        try:
            document = json.loads(data)
            if document["format"] not in FORMATS:
                raise UnknownFormat(_unknown(document))
            entries = tuple(
                Entry(_safe(f["path"]), _safe(f["key"]), int(f["size"]), str(f["sha256"])) for f in document["files"]
            )
            step = document.get("step")
            read = cls(
                int(document["attempt"]),
                entries,
                bool(document["complete"]),
                None if step is None else int(step),
                document.get("named") is True,
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ManifestError):
                raise
            raise ManifestError(f"manifest is malformed: {error!r}") from error
        if document.get("digest") != read.digest:
            raise ManifestError(f"manifest says digest {document.get('digest')}, its files add up to {read.digest}")
        return read


def _unknown(document: Any) -> str:
    release = document.get("release")
    written = f"by Fovea {release} " if release else ""
    needed = f"release {release}" if release else "the release that wrote it"
    return (
        f"it was written {written}in manifest format {document['format']!r}, and Fovea {RELEASE} reads formats "
        f"{' and '.join(map(str, FORMATS))} only: install {needed} or a newer one (images included)"
    )


def _safe(path: Any) -> str:
    if not isinstance(path, str) or not path or path.startswith("/") or "\0" in path:
        raise ManifestError(f"manifest path {path!r} is not a relative path")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ManifestError(f"manifest path {path!r} leaves its folder")
    return path
