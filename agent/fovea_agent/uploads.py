"""Big files on their way in parts, and what happens to an abandoned upload."""

import hashlib
import json
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from fovea_agent import log
from fovea_agent.arrived import Arrived
from fovea_agent.connections import Readable
from fovea_agent.errors import Changed, Corrupt, Misconfigured, Missing, Vanished
from fovea_agent.folder import Chunk, Fingerprint, Folder, Window
from fovea_agent.parallel import check_cancelled
from fovea_agent.sending import Sending, Tally
from fovea_agent.shortcuts import COPYING, LISTING_PARTS
from fovea_agent.store import Part, StoredObject

PARTS_AHEAD = 2
"""Parts of one file that are hashed and wait for a thread, beyond one for each thread."""


@dataclass(frozen=True)
class BigFile:
    """A file that goes in parts: `holder` is the file with the content, `key` its object's."""

    folder: Folder
    path: str
    holder: str
    key: str
    record: str
    """Key of the record of its upload."""
    begun: bool
    """Whether the store has that record."""
    source: Arrived | None
    """What an earlier attempt sent of it."""


def is_there(content: Fingerprint, found: Arrived | StoredObject | None) -> bool:
    """Whether an object has this content, by size and ETag."""
    return found is not None and (found.size, found.etag) == (content.size, content.etag)


def record_key(prefix: str, key: str) -> str:
    """Key of the record of a begun multipart upload to `key`, an object of the publication at `prefix`."""
    return f"{prefix}/uploads/{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def salvage(sending: Sending, record: str) -> None:
    """Make an object of the parts that an attempt before this one sent of a file, as far as they are without a gap."""
    store = sending.store
    try:
        begun = json.loads(store.read(record))
        key, upload = str(begun["key"]), str(begun["upload"])
        parts = sending.shortcuts.take(LISTING_PARTS, store.patience, lambda: store.parts(key, upload))
        if parts is None:
            return
        etags: list[str] = []
        for number, part in sorted(parts.items()):
            if number != len(etags) + 1:
                break
            etags.append(part.etag)
        if etags:
            store.finish_multipart(key, upload, etags)
            log.info("an earlier attempt sent the beginning of a file", key=key, parts=len(etags))
    except (Missing, ValueError, KeyError, TypeError):
        pass  # the upload is no more: completed, or dropped by the store
    except Misconfigured as error:  # a store with rules of its own for parts: there is nothing to copy then
        log.info("what an earlier attempt sent of a file cannot be used", record=record, why=error.message)
    store.remove([record])


class Upload:
    """One big file in parts. A record in the store keeps the upload's id, so that a restarted agent, and the attempt
    after this one, find what has arrived; asking the store for begun uploads would need a right on the whole bucket.
    """

    def __init__(self, sending: Sending, file: BigFile, tally: Tally) -> None:
        self._sending, self._store, self._file, self._tally = sending, sending.store, file, tally
        self._key, self._record, self._source = file.key, file.record, file.source
        self._id = ""
        self._present: dict[int, Part] = {}
        self._etags: dict[int, str] = {}

    def send(self, known: Fingerprint | None, pool: ThreadPoolExecutor) -> Fingerprint:
        """Send what is missing; `known` is what the file contains, None to find out while it is sent."""
        self._begin()
        content = self._send_missing(known, pool)
        try:
            self._finish(content)
        except Missing:
            # Either the answer to an earlier, successful request was lost: then the object is there. Or the store has
            # dropped the upload; what is there then is of another writer.
            if not is_there(content, self._store.find(self._key)):
                self._begin(again=True)
                self._finish(self._send_missing(content, pool))
        self._store.remove([self._record])
        return content

    def _begin(self, *, again: bool = False) -> None:
        """Find the parts that the store has of an earlier try, or begin another upload."""
        self._etags = {}
        if self._file.begun and not again and self._went_on():
            return
        self._id, self._present = self._store.begin_multipart(self._key), {}
        record = json.dumps({"key": self._key, "upload": self._id}).encode()
        self._store.remove([self._record])
        self._store.put_if_absent(self._record, record)

    def _went_on(self) -> bool:
        """Whether the upload of an earlier try is still there, and what has arrived of it is known."""
        try:
            self._id = str(json.loads(self._store.read(self._record))["upload"])
            present = self._sending.shortcuts.take(
                LISTING_PARTS, self._store.patience, lambda: self._store.parts(self._key, self._id)
            )
        except (ValueError, KeyError, TypeError, Missing):
            return False  # dropped by the store
        self._present = present or {}
        return present is not None

    def _send_missing(self, known: Fingerprint | None, pool: ThreadPoolExecutor) -> Fingerprint:
        waiting: deque[Future[None]] = deque()
        reading = self._file.folder.parts(self._file.holder) if known is None else _again(known)
        try:
            while True:
                try:
                    chunk = next(reading)
                except StopIteration as end:
                    content: Fingerprint = end.value
                    break
                if self._present.get(chunk.number) == Part(chunk.size, chunk.md5.hex()):
                    self._etags[chunk.number] = chunk.md5.hex()
                    continue
                check_cancelled()
                if len(waiting) >= self._sending.transfers + PARTS_AHEAD:
                    waiting.popleft().result()
                waiting.append(pool.submit(self._send, chunk))
            while waiting:
                waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
        self._tally.sent += 1
        return content

    def _send(self, chunk: Chunk) -> None:
        what = f"write {self._key} part {chunk.number}"
        self._sending.check(what)
        if self._copied(chunk):
            return

        def body() -> Readable:
            window = Window(self._file.folder, self._file.holder, chunk.offset, chunk.size)
            return self._sending.body(window, what)

        try:
            etag = self._store.put_part(self._key, self._id, chunk.number, body, chunk.size, chunk.md5)
        except Changed as error:
            raise Vanished(f"{self._file.folder}/{self._file.path} changed while it was published") from error
        self._etags[chunk.number] = etag

    def _copied(self, chunk: Chunk) -> bool:
        """Whether the store could copy this part from what an earlier attempt sent; its ETag shows that it is the same."""
        source = self._source
        if source is None or source.size < chunk.offset + chunk.size:
            return False
        try:
            etag = self._sending.shortcuts.take(
                COPYING,
                self._store.patience,
                lambda: self._store.copy_part(
                    source.key, source.etag, self._key, self._id, chunk.number, chunk.offset, chunk.size
                ),
            )
        except (Changed, Missing, Corrupt) as error:
            log.info("sent instead of copied", key=self._key, source=source.key, why=error.message)
            self._source = None
            return False
        if etag is None:
            return False
        if etag != chunk.md5.hex():
            self._source = None  # another content: the part is sent over it, and the rest is not tried
            return False
        self._etags[chunk.number] = etag
        self._tally.copied += 1
        return True

    def _finish(self, content: Fingerprint) -> None:
        etags = [self._etags[number] for number in sorted(self._etags)]
        if len(etags) != len(content.md5s):
            raise Vanished(f"{self._file.folder}/{self._file.path} changed while it was published")
        self._store.finish_multipart(self._key, self._id, etags)


def _again(content: Fingerprint) -> Generator[Chunk, None, Fingerprint]:
    """The parts of a file that was read before; returns what it contains, as `Folder.parts` does."""
    for number, md5 in enumerate(content.md5s, start=1):
        offset = (number - 1) * content.part_size
        yield Chunk(number, offset, min(content.part_size, content.size - offset), md5)
    return content
