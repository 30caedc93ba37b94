"""The payload of one publication on its way: each file is hashed and sent in one pass.

What is hashed is what arrives: every request carries the MD5 of the bytes that went into the file's SHA-256, so the store
refuses what changed in between. Nothing is sent that the store has: objects and parts of an earlier try stay, and what an
earlier attempt of the job sent of the same result is copied by the store itself (ADR 38).
"""

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from fovea_agent import log
from fovea_agent.errors import AgentError, Changed, Missing, StoreUnreachable, Vanished
from fovea_agent.folder import Chunk, Fingerprint, Folder, Listing, Stat, Window
from fovea_agent.parallel import check_cancelled, run_all
from fovea_agent.settings import DEFAULT_TRANSFERS
from fovea_agent.store import Part, Store, StoredObject

PARTS_AHEAD = 2
"""Parts of one file that are hashed and wait for a thread, beyond one for each thread."""
UNCHANGED_SECONDS = 2.0
"""A file that was written later than this before it was read may be written again without another time stamp."""


@dataclass
class Known:
    """What files contain that were read before and have not changed since: the end of a job need not read them again."""

    clock: Callable[[], float] = time.time
    _by_stat: dict[Stat, Fingerprint] = field(default_factory=dict)

    def get(self, stat: Stat) -> Fingerprint | None:
        """What the file contained when it had this stat."""
        return self._by_stat.get(stat)

    def put(self, stat: Stat, content: Fingerprint, began: float) -> None:
        """Remember a file that was read from the time `began` on."""
        if content.size == stat.size and began - stat.changed / 1e9 > UNCHANGED_SECONDS:
            self._by_stat[stat] = content


@dataclass(frozen=True)
class Sending:
    """How publications are sent: `fence` raises Fenced, `pause` raises Postponed when something else comes first.

    `earlier`: prefixes of the same result as earlier attempts sent it, newest first, by the publication's prefix.
    """

    store: Store
    fence: Callable[[], None] = field(default=lambda: None)
    transfers: int = DEFAULT_TRANSFERS
    pause: Callable[[], None] = field(default=lambda: None)
    known: Known = field(default_factory=Known)
    earlier: Callable[[str], Collection[str]] = field(default=lambda _: ())

    def check(self, what: str) -> None:
        """Raise what stands against going on: GraceExceeded, Postponed."""
        self.store.patience.check(what)
        self.pause()


def is_there(content: Fingerprint, found: StoredObject | None) -> bool:
    """Whether an object has this content, by size and ETag."""
    return found is not None and (found.size, found.etag) == (content.size, content.etag)


def record_key(prefix: str, key: str) -> str:
    """Key of the record of a begun multipart upload to `key`, an object of the publication at `prefix`."""
    return f"{prefix}/uploads/{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


@dataclass
class Transfer:
    """The payload of one publication: `keys` are the objects' keys by path."""

    sending: Sending
    folder: Folder
    prefix: str
    payload: str
    listing: Listing
    keys: Mapping[str, str]
    present: Mapping[str, StoredObject]
    """What the store has below `prefix`."""
    sent: int = 0
    """Files that were sent, in whole or in part."""
    copied: int = 0
    """Files or parts that the store copied from an earlier attempt's."""
    sources: dict[str, StoredObject] = field(default_factory=dict)
    """What earlier attempts sent, by path."""

    def run(self) -> dict[str, Fingerprint]:
        """Bring everything there; returns what each path contains."""
        paths = sorted(self.keys)
        if not paths:
            return {}
        for prefix in self.sending.earlier(self.prefix):
            self.sources = self._of_earlier(prefix) | self.sources
        threads = max(1, self.sending.transfers)
        # Those that hash files wait for those that send parts, never the other way round.
        with ThreadPoolExecutor(threads, thread_name_prefix="part") as pool:
            tasks = (partial(self._bring, path, pool) for path in paths)
            return dict(zip(paths, run_all(tasks, threads), strict=True))

    def _of_earlier(self, prefix: str) -> dict[str, StoredObject]:
        """What an earlier attempt sent below `prefix`, by path; what it had only begun to send becomes objects first."""
        store, base = self.sending.store, f"{prefix}/{self.payload}/"
        for record in store.objects(f"{prefix}/uploads/"):
            _salvage(store, record.key)
        return {item.key.removeprefix(base): item for item in store.objects(base)}

    def _bring(self, path: str, pool: ThreadPoolExecutor) -> Fingerprint:
        self.sending.check(f"write {self.keys[path]}")
        holder, stat, began = self.listing.files[path], self.listing.stats[path], self.sending.known.clock()
        known, found = self.sending.known.get(stat), self.present.get(self.keys[path])
        if not self.folder.goes_in_parts(stat.size) or (found is not None and found.size == stat.size):
            content = known or self.folder.fingerprint(holder)
            if not is_there(content, found):
                if content.part_size:
                    content = _Upload(self, path).send(content, pool)
                else:
                    self._put(path, holder, content)
        else:
            content = _Upload(self, path).send(known, pool)
        self.sending.known.put(stat, content, began)
        return content

    def _put(self, path: str, holder: str, content: Fingerprint) -> None:
        store, key, source = self.sending.store, self.keys[path], self.sources.get(path)
        if source is not None and is_there(content, source) and content.size:
            try:
                store.copy(source.key, source.etag, key)
            except (Changed, Missing) as error:
                log.info("sent instead of copied", key=key, source=source.key, why=error.message)
            else:
                self.copied += 1
                return
        self.sent += 1
        try:
            store.put(key, lambda: Window(self.folder, holder, 0, content.size), content.size, content.md5s[0])
        except Changed as error:
            raise Vanished(f"{self.folder}/{path} changed while it was published") from error


def _salvage(store: Store, record: str) -> None:
    """Make an object of the parts that an attempt before this one sent of a file, as far as they are without a gap."""
    try:
        begun = json.loads(store.read(record))
        key, upload = str(begun["key"]), str(begun["upload"])
        etags: list[str] = []
        for number, part in sorted(store.parts(key, upload).items()):
            if number != len(etags) + 1:
                break
            etags.append(part.etag)
        if etags:
            store.finish_multipart(key, upload, etags)
            log.info("an earlier attempt sent the beginning of a file", key=key, parts=len(etags))
    except (Missing, ValueError, KeyError, TypeError):
        pass  # the upload is no more: completed, or dropped by the store
    store.remove([record])


class _Upload:
    """One big file in parts. A record in the store keeps the upload's id, so that a restarted agent, and the attempt
    after this one, find what has arrived; asking the store for begun uploads would need a right on the whole bucket.
    """

    def __init__(self, transfer: Transfer, path: str) -> None:
        self._transfer, self._path = transfer, path
        self._sending, self._store = transfer.sending, transfer.sending.store
        self._key, self._holder = transfer.keys[path], transfer.listing.files[path]
        self._record = record_key(transfer.prefix, self._key)
        self._source = transfer.sources.get(path)
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
            # dropped the upload; what is there then is of somebody else.
            if not is_there(content, self._store.find(self._key)):
                self._begin(anew=True)
                self._finish(self._send_missing(content, pool))
        self._store.remove([self._record])
        return content

    def _begin(self, *, anew: bool = False) -> None:
        """Find the parts that the store has of an earlier try, or begin another upload."""
        self._etags = {}
        if not anew and self._record in self._transfer.present:
            try:
                self._id = str(json.loads(self._store.read(self._record))["upload"])
                self._present = self._store.parts(self._key, self._id)
            except (ValueError, KeyError, Missing):
                pass  # dropped by the store
            else:
                return
        self._id, self._present = self._store.begin_multipart(self._key), {}
        record = json.dumps({"key": self._key, "upload": self._id}).encode()
        self._store.remove([self._record])
        self._store.put_if_absent(self._record, record)

    def _send_missing(self, known: Fingerprint | None, pool: ThreadPoolExecutor) -> Fingerprint:
        waiting: deque[Future[None]] = deque()
        reading = self._transfer.folder.parts(self._holder) if known is None else _again(known)
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
        self._transfer.sent += 1
        return content

    def _send(self, chunk: Chunk) -> None:
        self._sending.check(f"write {self._key} part {chunk.number}")
        if self._copied(chunk):
            return

        def body() -> Window:
            return Window(self._transfer.folder, self._holder, chunk.offset, chunk.size)

        try:
            etag = self._store.put_part(self._key, self._id, chunk.number, body, chunk.size, chunk.md5)
        except Changed as error:
            raise Vanished(f"{self._transfer.folder}/{self._path} changed while it was published") from error
        self._etags[chunk.number] = etag

    def _copied(self, chunk: Chunk) -> bool:
        """Whether the store could copy this part from what an earlier attempt sent; its ETag tells that it is the same."""
        source = self._source
        if source is None or source.size < chunk.offset + chunk.size:
            return False
        try:
            etag = self._store.copy_part(
                source.key, source.etag, self._key, self._id, chunk.number, chunk.offset, chunk.size
            )
        except StoreUnreachable:
            raise
        except AgentError as error:
            log.info("sent instead of copied", key=self._key, source=source.key, why=error.message)
            self._source = None
            return False
        if etag != chunk.md5.hex():
            self._source = None  # another content: the part is sent over it, and the rest is not tried
            return False
        self._etags[chunk.number] = etag
        self._transfer.copied += 1
        return True

    def _finish(self, content: Fingerprint) -> None:
        etags = [self._etags[number] for number in sorted(self._etags)]
        if len(etags) != len(content.md5s):
            raise Vanished(f"{self._transfer.folder}/{self._path} changed while it was published")
        self._store.finish_multipart(self._key, self._id, etags)


def _again(content: Fingerprint) -> Generator[Chunk, None, Fingerprint]:
    """The parts of a file that was read before; returns what it contains, as `Folder.parts` does."""
    for number, md5 in enumerate(content.md5s, start=1):
        offset = (number - 1) * content.part_size
        yield Chunk(number, offset, min(content.part_size, content.size - offset), md5)
    return content


def earlier_prefixes(store: Store, prefix: str, attempt: int, most: int = 3) -> list[str]:
    """Prefixes of the same result of earlier attempts, newest first: `…/model/2` has `…/model/1` and `…/model/0`."""
    parent, _, number = prefix.rpartition("/")
    if number != str(attempt) or not attempt:
        return []
    found = (key.removeprefix(f"{parent}/").strip("/") for key in store.children(f"{parent}/"))
    numbers = sorted((int(name) for name in found if name.isdecimal() and int(name) < attempt), reverse=True)
    return [f"{parent}/{earlier}" for earlier in numbers[:most]]
