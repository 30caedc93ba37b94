"""The payload of one publication on its way: each file is hashed and sent in one pass.

What is hashed is what arrives: every request carries the MD5 of the bytes that went into the file's SHA-256, so the store
refuses what changed in between. Nothing is sent that the store has: objects and parts of an earlier try stay, and what an
earlier attempt of the job sent of the same result is copied by the store itself (ADR 38).
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from fovea_api.contract import storage

from fovea_agent import log
from fovea_agent.arrived import Arrivals, Arrived
from fovea_agent.connections import Readable
from fovea_agent.errors import Changed, Missing, Vanished
from fovea_agent.folder import Fingerprint, Folder, Window
from fovea_agent.known import Contents
from fovea_agent.listing import Listing
from fovea_agent.parallel import run_each
from fovea_agent.sending import Sending, Tally
from fovea_agent.shortcuts import COPYING
from fovea_agent.store import Store
from fovea_agent.uploads import BigFile, Upload, is_there, record_key, salvage


@dataclass
class Transfer:
    """The payload of one publication. Files are known by their place in the order of the listing: there may be millions."""

    sending: Sending
    folder: Folder
    prefix: str
    payload: str
    listing: Listing
    tally: Tally = field(default_factory=Tally)
    published: bool = False
    """Whether the prefix has a manifest."""

    def __post_init__(self) -> None:
        self._base = f"{self.prefix}/{self.payload}/"
        self._paths = self.listing.stats.paths
        self._present = Arrivals(self._base, self._paths)
        self._records: set[str] = set()
        self._sources: list[Arrivals] = []

    def look(self) -> None:
        """Look what the store has below the prefix."""
        manifest = storage.manifest(self.prefix)
        for item in self.sending.store.listing(f"{self.prefix}/"):
            if item.key.startswith(self._base):
                self._present.put(item.key, item.size, item.etag)
            elif item.key.startswith(f"{self.prefix}/uploads/"):
                self._records.add(item.key)
            self.published = self.published or item.key == manifest

    def run(self) -> Contents:
        """Bring everything there; returns what the files contain."""
        self._contents = self.sending.known.of(self.folder, self.listing)
        if not self._paths:
            return self._contents
        self._sources = [self._of_earlier(prefix) for prefix in self.sending.earlier(self.prefix)]
        threads = max(1, self.sending.transfers)
        # Those that hash files wait for those that send parts, never the other way round.
        with ThreadPoolExecutor(threads, thread_name_prefix="part") as pool:
            run_each((partial(self._bring, number, pool) for number in range(len(self._paths))), threads)
        self._drop_records()
        return self._contents

    def _drop_records(self) -> None:
        """Drop the records of abandoned uploads: another request has brought the file since. This happens before the
        manifest is written: an upload that is completed afterwards would write over what is published.
        """
        if self._records:
            own = (record_key(self.prefix, self._base + path) for path in self._paths)
            self.sending.store.remove(self._records.intersection(own))

    def _of_earlier(self, prefix: str) -> Arrivals:
        """What an earlier attempt sent below `prefix`; what it had only begun to send becomes objects first."""
        store, base = self.sending.store, f"{prefix}/{self.payload}/"
        if store.find(storage.manifest(prefix)) is None:  # else nothing is written there any more
            for record in store.objects(f"{prefix}/uploads/"):
                salvage(self.sending, record.key)
        found = Arrivals(base, self._paths)
        for item in store.listing(base):
            found.put(item.key, item.size, item.etag)
        return found

    def _source(self, number: int) -> Arrived | None:
        """The newest that an earlier attempt sent of a file."""
        return next((found for source in self._sources if (found := source.get(number)) is not None), None)

    def _bring(self, number: int, pool: ThreadPoolExecutor) -> None:
        path = self._paths[number]
        self.sending.check(f"write {self._base}{path}")
        size, began = self.listing.stats.at(number).size, self._contents.clock()
        known, found = self._contents.get(number), self._present.get(number)
        if not self.folder.goes_in_parts(size) or (found is not None and found.size == size):
            content = known or self.folder.fingerprint(self.listing.holder(path))
            if not is_there(content, found):
                if content.part_size:
                    content = self._upload(number).send(content, pool)
                else:
                    self._put(number, content)
        else:
            content = self._upload(number).send(known, pool)
        if known is None:
            self._contents.put(number, content, began)

    def _put(self, number: int, content: Fingerprint) -> None:
        path, source = self._paths[number], self._source(number)
        key, holder = self._base + path, self.listing.holder(path)
        if source is not None and is_there(content, source) and content.size and self._copy(source, key):
            self.tally.copied += 1
            return
        self.tally.sent += 1

        def body() -> Readable:
            return self.sending.body(Window(self.folder, holder, 0, content.size), f"write {key}")

        try:
            self.sending.store.put(key, body, content.size, content.md5s[0])
        except Changed as error:
            raise Vanished(f"{self.folder}/{path} changed while it was published") from error

    def _copy(self, source: Arrived, key: str) -> bool:
        store = self.sending.store
        try:
            copied = self.sending.shortcuts.take(
                COPYING, store.patience, lambda: store.copy(source.key, source.etag, key)
            )
        except (Changed, Missing) as error:
            log.info("sent instead of copied", key=key, source=source.key, why=error.message)
            return False
        return copied is not None

    def _upload(self, number: int) -> Upload:
        path = self._paths[number]
        key = self._base + path
        record = record_key(self.prefix, key)
        begun, source = record in self._records, self._source(number)
        file = BigFile(self.folder, path, self.listing.holder(path), key, record, begun, source)
        return Upload(self.sending, file, self.tally)


def earlier_prefixes(store: Store, prefix: str, attempt: int, most: int = 3) -> list[str]:
    """Prefixes of the same result of earlier attempts, newest first: `…/model/2` has `…/model/1` and `…/model/0`."""
    parent, _, number = prefix.rpartition("/")
    if number != str(attempt) or not attempt:
        return []
    found = (key.removeprefix(f"{parent}/").strip("/") for key in store.children(f"{parent}/"))
    numbers = sorted((int(name) for name in found if name.isdecimal() and int(name) < attempt), reverse=True)
    return [f"{parent}/{earlier}" for earlier in numbers[:most]]
