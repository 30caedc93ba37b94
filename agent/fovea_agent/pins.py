"""The listing of an input by which all attempts and all pods of a job fetch the same data.

The pod that fetches an input first publishes what it was: `<job>/inputs/<input>.jsonl.gz`, by a conditional PUT. Lines of JSON:
a header, `[path, size, ETag]` of each object in order of path, and the identity of all of it, which says that it is whole.
"""

import gzip
import json
import zlib
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fovea_api.contract import listing, storage
from fovea_api.contract.manifest import RELEASE

from fovea_agent.download import Wanted, downloads
from fovea_agent.errors import Corrupt, TooNew
from fovea_agent.parallel import run_each
from fovea_agent.store import Store, StoredObject

FORMAT = 1
_UNKNOWN = datetime.fromtimestamp(0, UTC)
"""When an object was written: a listing does not say."""
LEVEL = 1
"""Of compression: ETags are random, and nothing else is worth more seconds."""


class Draft:
    """A listing that is being written to a file while its objects are fetched."""

    def __init__(self, file: Path, uri: str) -> None:
        self._stream = gzip.open(file, "wt", compresslevel=LEVEL, encoding="utf-8")  # noqa: SIM115 - closed by our own exit
        self._write({"format": FORMAT, "release": RELEASE, "uri": uri})
        self.files = listing.Files()

    def add(self, path: str, size: int, etag: str) -> None:
        """One object more, in order of path; the path of an input that is a single object is empty."""
        self._write([path, size, etag])
        self.files.add(path, size, etag)

    def _write(self, document: Any) -> None:
        self._stream.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")

    def close(self) -> listing.Identity:
        """End it; only then it is whole."""
        identity = self.files.identity()
        self._write(asdict(identity))
        self._stream.close()
        return identity

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


@dataclass(frozen=True)
class Pin:
    """Where the listing of one input of a job is published."""

    store: Store
    job: str
    name: str

    @property
    def key(self) -> str:
        """The object's key."""
        return storage.input_listing(self.job, self.name)

    def publish(self, file: Path) -> bool:
        """Publish a listing that is whole; False when another one, or this one, is published already."""
        return self.store.put_if_absent(self.key, file.read_bytes())

    def is_published(self) -> bool:
        """Whether a pod of the job has published a listing."""
        return self.store.find(self.key) is not None

    def identity(self, file: Path) -> listing.Identity:
        """Identity of what a fetched listing names; reads it once through, and raises as `objects` does."""
        entries = self._entries(file)
        while True:
            try:
                next(entries)
            except StopIteration as end:
                identity: listing.Identity = end.value
                return identity

    def fetch(self, folder: Path) -> Path | None:
        """The published listing as a local file; None when there is none. It is written once: one fetched before stays."""
        found = self.store.find(self.key)
        if found is None:
            return None
        wanted = Wanted(self.key, "listing.jsonl.gz", found.size, etag=found.etag)
        run_each(downloads(self.store, [wanted], folder, folder, durable=False))
        return folder / wanted.path

    def objects(self, file: Path, location: storage.Location) -> Iterator[StoredObject]:
        """The objects of a fetched listing, one after the other; raises Corrupt or TooNew naming the listing."""
        base = f"{location.key}/" if location.key else ""
        for path, size, etag in self._entries(file):
            yield StoredObject(f"{base}{path}" if path else location.key, size, etag, _UNKNOWN)

    def _entries(self, file: Path) -> Generator[tuple[str, int, str], None, listing.Identity]:
        """Path, size and ETag of each object; the identity, if they add up to it, is what the generator returns."""
        where = f"s3://{self.store.bucket}/{self.key}"
        files = listing.Files()
        try:
            with gzip.open(file, "rt", encoding="utf-8") as lines:
                header = json.loads(next(lines))
                if header["format"] != FORMAT:
                    raise TooNew(
                        f"{where} was written by Fovea {header.get('release', 'of a later release')} in format "
                        f"{header['format']!r}, and Fovea {RELEASE} reads format {FORMAT} only: install that release "
                        "or a newer one (images included)"
                    )
                for line in lines:
                    document = json.loads(line)
                    if isinstance(document, dict):
                        identity = listing.Identity(**document)
                        if identity != files.identity() or next(lines, None) is not None:
                            raise Corrupt(f"{where} is corrupt: its objects do not match its own totals")
                        return identity
                    path, size, etag = document
                    files.add(path, size, etag)
                    yield path, size, etag
        except (gzip.BadGzipFile, EOFError, zlib.error, ValueError, KeyError, TypeError, StopIteration) as error:
            raise Corrupt(f"{where} is corrupt: {error!r}") from error
        raise Corrupt(f"{where} is corrupt: it has no end")
