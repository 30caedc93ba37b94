"""How a folder becomes a publication: payload objects first, `manifest.json` last and only once.

Whatever the moment at which the writer dies, a reader sees nothing (no manifest) or the whole. A second try sends only
what is missing: objects and parts that the store holds with the right size and ETag stay.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from fovea_api.contract import storage
from fovea_api.contract.manifest import Entry, Manifest
from fovea_api.contract.report import Published

from fovea_agent import log
from fovea_agent.errors import Changed, Conflict, Missing, TooNew, Vanished
from fovea_agent.folder import Fingerprint, Folder, Window
from fovea_agent.parallel import run_all
from fovea_agent.restore import read_manifest
from fovea_agent.settings import DEFAULT_TRANSFERS
from fovea_agent.store import Part, Store, StoredObject


@dataclass(frozen=True)
class Publication:
    """What a folder is published as. `payload` names the folder of the payload objects below the prefix."""

    prefix: str
    payload: str
    attempt: int
    complete: bool = False
    step: int | None = None

    def key(self, path: str) -> str:
        """Key of a payload file, relative to the prefix."""
        return f"{self.payload}/{path}"


@dataclass(frozen=True)
class Sending:
    """How publications are sent: `uploads` keeps the records of begun multipart uploads, `fence` raises Fenced."""

    store: Store
    uploads: Path
    fence: Callable[[], None] = field(default=lambda: None)
    transfers: int = DEFAULT_TRANSFERS


def to_send(wanted: Mapping[str, Fingerprint], present: Mapping[str, StoredObject]) -> list[str]:
    """Keys whose object is absent, or differs in size or ETag."""

    def is_there(key: str, content: Fingerprint) -> bool:
        found = present.get(key)
        return found is not None and (found.size, found.etag) == (content.size, content.etag)

    return sorted(key for key, content in wanted.items() if not is_there(key, content))


def parts_to_send(content: Fingerprint, present: Mapping[int, Part]) -> list[int]:
    """Numbers (from 1) of the parts that are absent or differ."""

    def is_there(number: int) -> bool:
        found = present.get(number)
        expected = Part(_part_length(content, number), content.md5s[number - 1].hex())
        return found == expected

    return [number for number in range(1, len(content.md5s) + 1) if not is_there(number)]


def manifest_of(publication: Publication, files: Mapping[str, Fingerprint]) -> Manifest:
    """The manifest of a folder's files (path -> content)."""
    entries = (Entry(path, publication.key(path), c.size, c.sha256) for path, c in sorted(files.items()))
    return Manifest(publication.attempt, tuple(entries), publication.complete, publication.step)


def describe(store: Store, prefix: str, manifest: Manifest) -> Published:
    """Say to the operator where a publication is and what it contains."""
    uri = str(storage.Location(store.bucket, prefix))
    return Published(uri, manifest.digest, manifest.size, len(manifest.entries))


def contents(sending: Sending, folder: Folder, holders: Mapping[str, str]) -> dict[str, Fingerprint]:
    """Read what the files of a folder (`Folder.files`) contain, by path."""

    def read(path: str) -> Fingerprint:
        sending.store.patience.check(f"read {folder}/{path}")
        return folder.fingerprint(holders[path])

    paths = sorted(holders)
    return dict(zip(paths, run_all((partial(read, path) for path in paths), sending.transfers), strict=True))


def publish(sending: Sending, folder: Folder, publication: Publication) -> Published:
    """Publish a folder; a publication of the same content in the same place is success.

    Raises Conflict when the place holds other content, Fenced when a newer attempt writes, Vanished when a file
    went away.
    """
    began = time.monotonic()
    store = sending.store
    holders = folder.files()
    if publication.step is not None and not holders:
        raise Vanished(f"{folder} has no files: a checkpoint appears by rename, with its files in it")
    sending.fence()
    files = contents(sending, folder, holders)
    manifest = manifest_of(publication, files)
    published = describe(store, publication.prefix, manifest)
    if _is_published(store, publication.prefix, manifest):
        log.info("published already", prefix=publication.prefix, digest=manifest.digest)
        return published

    base = f"{publication.prefix}/"
    wanted = {base + publication.key(path): content for path, content in files.items()}
    present = {item.key: item for item in store.objects(f"{base}{publication.payload}/")} if wanted else {}
    sources = {base + publication.key(path): holders[path] for path in files}
    keys = to_send(wanted, present)
    _send(sending, folder, [(key, sources[key], wanted[key]) for key in keys])

    sending.fence()
    if folder.files() != holders:
        raise Vanished(f"{folder} changed while it was published: files were removed or added")
    key = storage.manifest(publication.prefix)
    if not store.put_if_absent(key, manifest.to_json()) and not _is_published(store, publication.prefix, manifest):
        raise Conflict(f"s3://{store.bucket}/{key} was removed by somebody while it was written; try again")
    log.info(
        "published",
        prefix=publication.prefix,
        digest=manifest.digest,
        files=len(files),
        sent=len(keys),
        bytes=manifest.size,
        seconds=round(time.monotonic() - began, 2),
    )
    return published


def _is_published(store: Store, prefix: str, manifest: Manifest) -> bool:
    key = storage.manifest(prefix)
    if store.find(key) is None:
        return False
    try:
        found = read_manifest(store, prefix)
    except TooNew as error:
        raise Conflict(f"{error.message}; attempt {manifest.attempt} leaves it alone") from error
    if found.digest != manifest.digest:
        raise Conflict(
            f"s3://{store.bucket}/{key} was published by attempt {found.attempt} with digest {found.digest}; attempt "
            f"{manifest.attempt} has {manifest.digest} and leaves it alone"
        )
    return True


def _send(sending: Sending, folder: Folder, items: list[tuple[str, str, Fingerprint]]) -> None:
    uploads = [_Upload(sending, folder, key, path, content) for key, path, content in items if content.part_size]
    run_all([upload.begin for upload in uploads], sending.transfers)
    small = [
        partial(_put, sending, folder, key, path, content) for key, path, content in items if not content.part_size
    ]
    parts = [partial(upload.send, number) for upload in uploads for number in upload.missing]
    run_all([*parts, *small], sending.transfers)
    run_all([upload.finish for upload in uploads], sending.transfers)


def _put(sending: Sending, folder: Folder, key: str, path: str, content: Fingerprint) -> None:
    def body() -> Window:
        return Window(folder, path, 0, content.size)

    try:
        sending.store.put(key, body, content.size, content.md5s[0])
    except Changed as error:
        raise Vanished(f"{folder}/{path} changed while it was published") from error


def _part_length(content: Fingerprint, number: int) -> int:
    return min(content.part_size, content.size - (number - 1) * content.part_size)


class _Upload:
    """One big file in parts. Its upload id is kept on the working volume: a restarted agent goes on where it stopped.

    Asking the store for begun uploads instead would need a right on the whole bucket.
    """

    def __init__(self, sending: Sending, folder: Folder, key: str, path: str, content: Fingerprint) -> None:
        self._store, self._folder, self._key, self._path, self._content = sending.store, folder, key, path, content
        name = hashlib.sha256(f"{key}\0{content.sha256}".encode()).hexdigest()
        self._record = sending.uploads / f"{name}.json"
        self._id = ""
        self._etags: dict[int, str] = {}
        self.missing: list[int] = []

    def begin(self) -> None:
        """Find the parts that the store has of an earlier try, or start anew."""
        present: dict[int, Part] = {}
        try:
            self._id = str(json.loads(self._record.read_text())["upload"])
            present = self._store.parts(self._key, self._id)
        except (FileNotFoundError, ValueError, KeyError, Missing):
            self._id = self._store.begin_multipart(self._key)
            self._record.write_text(json.dumps({"key": self._key, "upload": self._id}))
        self.missing = parts_to_send(self._content, present)
        self._etags = {number: part.etag for number, part in present.items() if number not in self.missing}

    def send(self, number: int) -> None:
        """Send part `number`."""
        offset, size = (number - 1) * self._content.part_size, _part_length(self._content, number)

        def body() -> Window:
            return Window(self._folder, self._path, offset, size)

        try:
            md5 = self._content.md5s[number - 1]
            self._etags[number] = self._store.put_part(self._key, self._id, number, body, size, md5)
        except Changed as error:
            raise Vanished(f"{self._folder}/{self._path} changed while it was published") from error

    def finish(self) -> None:
        """Make the object of its parts."""
        try:
            self._complete()
        except Missing:
            # Either the answer to an earlier, successful request was lost: then the object is there. Or the store has
            # dropped the upload; what is there then is of somebody else.
            found = self._store.find(self._key)
            if found is None or (found.size, found.etag) != (self._content.size, self._content.etag):
                self._record.unlink(missing_ok=True)
                self.begin()
                for number in self.missing:
                    self.send(number)
                self._complete()
        self._record.unlink(missing_ok=True)

    def _complete(self) -> None:
        self._store.finish_multipart(self._key, self._id, [self._etags[n] for n in sorted(self._etags)])
