"""The payload of one publication on its way: each file is hashed and sent in one pass.

What is hashed is what arrives: every request carries the MD5 of the bytes that went into the file's SHA-256, so the store
refuses what changed in between. Nothing is sent that the store has: objects and parts of an earlier try stay, and what an
earlier attempt of the job sent of the same result is copied by the store itself (ADR 38).
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from fovea_api.contract import storage

from fovea_agent import log
from fovea_agent.errors import Changed, Missing, Vanished
from fovea_agent.folder import Fingerprint, Folder, Listing, Window
from fovea_agent.parallel import run_all
from fovea_agent.sending import Sending, Tally
from fovea_agent.shortcuts import COPYING
from fovea_agent.store import Store, StoredObject
from fovea_agent.uploads import BigFile, Upload, is_there, record_key, salvage


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
    tally: Tally = field(default_factory=Tally)
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
            brought = dict(zip(paths, run_all(tasks, threads), strict=True))
        self._drop_records()
        return brought

    def _drop_records(self) -> None:
        """Of uploads that nobody goes on with: another request has brought the file since. Before the manifest is
        written, since whoever completed one afterwards would write over what is published.
        """
        begun = {key for key in self.present if key.startswith(f"{self.prefix}/uploads/")}
        if begun:
            self.sending.store.remove(begun.intersection(record_key(self.prefix, key) for key in self.keys.values()))

    def _of_earlier(self, prefix: str) -> dict[str, StoredObject]:
        """What an earlier attempt sent below `prefix`, by path; what it had only begun to send becomes objects first."""
        store, base = self.sending.store, f"{prefix}/{self.payload}/"
        if store.find(storage.manifest(prefix)) is None:  # else nothing is written there any more
            for record in store.objects(f"{prefix}/uploads/"):
                salvage(self.sending, record.key)
        return {item.key.removeprefix(base): item for item in store.objects(base)}

    def _bring(self, path: str, pool: ThreadPoolExecutor) -> Fingerprint:
        self.sending.check(f"write {self.keys[path]}")
        holder, stat, began = self.listing.files[path], self.listing.stats[path], self.sending.known.clock()
        known, found = self.sending.known.get(stat), self.present.get(self.keys[path])
        if not self.folder.goes_in_parts(stat.size) or (found is not None and found.size == stat.size):
            content = known or self.folder.fingerprint(holder)
            if not is_there(content, found):
                if content.part_size:
                    content = self._upload(path).send(content, pool)
                else:
                    self._put(path, holder, content)
        else:
            content = self._upload(path).send(known, pool)
        self.sending.known.put(stat, content, began)
        return content

    def _put(self, path: str, holder: str, content: Fingerprint) -> None:
        store, key, source = self.sending.store, self.keys[path], self.sources.get(path)
        if source is not None and is_there(content, source) and content.size and self._copy(source, key):
            self.tally.copied += 1
            return
        self.tally.sent += 1
        try:
            store.put(key, lambda: Window(self.folder, holder, 0, content.size), content.size, content.md5s[0])
        except Changed as error:
            raise Vanished(f"{self.folder}/{path} changed while it was published") from error

    def _copy(self, source: StoredObject, key: str) -> bool:
        store = self.sending.store
        try:
            copied = self.sending.shortcuts.take(
                COPYING, store.patience, lambda: store.copy(source.key, source.etag, key)
            )
        except (Changed, Missing) as error:
            log.info("sent instead of copied", key=key, source=source.key, why=error.message)
            return False
        return copied is not None

    def _upload(self, path: str) -> Upload:
        key = self.keys[path]
        record = record_key(self.prefix, key)
        begun, source = record in self.present, self.sources.get(path)
        file = BigFile(self.folder, path, self.listing.files[path], key, record, begun, source)
        return Upload(self.sending, file, self.tally)


def earlier_prefixes(store: Store, prefix: str, attempt: int, most: int = 3) -> list[str]:
    """Prefixes of the same result of earlier attempts, newest first: `…/model/2` has `…/model/1` and `…/model/0`."""
    parent, _, number = prefix.rpartition("/")
    if number != str(attempt) or not attempt:
        return []
    found = (key.removeprefix(f"{parent}/").strip("/") for key in store.children(f"{parent}/"))
    numbers = sorted((int(name) for name in found if name.isdecimal() and int(name) < attempt), reverse=True)
    return [f"{parent}/{earlier}" for earlier in numbers[:most]]
