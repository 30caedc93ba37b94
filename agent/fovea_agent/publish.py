"""How a folder becomes a publication: payload objects first, `manifest.json` last and only once.

Whatever the moment at which the writer dies, a reader sees nothing (no manifest) or the whole. A second try sends only
what is missing: objects and parts that the store holds with the right size and ETag stay.
"""

import hashlib
import time
from dataclasses import dataclass, replace
from functools import partial

from fovea_api.contract import storage
from fovea_api.contract.manifest import Entries, Entry, Manifest
from fovea_api.contract.report import Published

from fovea_agent import log
from fovea_agent.connections import Chunks
from fovea_agent.errors import Conflict, Odd, TooNew, Unreadable, Vanished
from fovea_agent.folder import Folder
from fovea_agent.known import Contents
from fovea_agent.listing import Listing
from fovea_agent.parallel import run_each
from fovea_agent.restore import read_manifest
from fovea_agent.sending import Sending
from fovea_agent.store import Store
from fovea_agent.transfer import Transfer


@dataclass(frozen=True)
class Publication:
    """What a folder is published as. `payload` names the folder of the payload objects below the prefix."""

    prefix: str
    payload: str
    attempt: int
    complete: bool = False
    step: int | None = None
    named: bool = False
    """Of a checkpoint: the files' paths begin with the names that the program gave it, not below its step."""
    whole: bool = True
    """Whether nothing may be missing from it; else what the agent may not read is left out."""
    replaces: bool = False
    """Whether it takes the place of other content that this attempt or an earlier one published there, at one stroke."""

    def key(self, path: str) -> str:
        """Key of a payload file, relative to the prefix."""
        return f"{self.payload}/{path}"

    def beside(self, manifest: Manifest) -> "Publication":
        """The same with a payload folder named by its content: what a published manifest names stays as it is."""
        return replace(self, payload=f"{self.payload}-{manifest.digest.removeprefix('sha256:')[:16]}")


def manifest_of(publication: Publication, contents: Contents) -> Manifest:
    """The manifest of a folder's files."""
    files = contents.sizes_and_digests()
    entries = Entries(Entry(path, publication.key(path), size, sha256) for path, size, sha256 in files)
    return Manifest(publication.attempt, entries, publication.complete, publication.step, publication.named)


def describe(store: Store, prefix: str, manifest: Manifest) -> Published:
    """Say to the operator where a publication is and what it contains."""
    uri = str(storage.Location(store.bucket, prefix))
    return Published(uri, manifest.digest, manifest.size, len(manifest.entries))


def contents(sending: Sending, folder: Folder, listing: Listing) -> Contents:
    """Read what the files of a folder contain."""
    found = sending.known.of(folder, listing)

    def read(number: int, path: str) -> None:
        sending.check(f"read {folder}/{path}")
        if found.get(number) is None:
            began = found.clock()
            found.put(number, folder.fingerprint(listing.holder(path)), began)

    run_each((partial(read, number, path) for number, path in enumerate(listing.stats.paths)), sending.transfers)
    return found


def send_ahead(sending: Sending, folder: Folder, publication: Publication) -> None:
    """Send a folder's files before it is published, so that less is left to do then. Raises as `publish` does."""
    listing = folder.listing()
    if listing.files:
        sending.fence()
        _transfer(sending, folder, publication, listing).run()


def publish(sending: Sending, folder: Folder, publication: Publication) -> Published:
    """Publish a folder; a publication of the same content in the same place is success.

    Raises Conflict when the place holds other content, Fenced when a newer attempt writes, Vanished when a file went
    away or changed, Odd and Unreadable when the publication must be whole and cannot be.
    """
    began = time.monotonic()
    store = sending.store
    listing = _checked(folder, publication)
    sending.fence()
    transfer = _transfer(sending, folder, publication, listing)
    if transfer.published:  # what is published is compared, not sent again
        manifest = manifest_of(publication, contents(sending, folder, listing))
        if _is_published(store, publication, manifest):
            log.info("published already", prefix=publication.prefix, digest=manifest.digest)
            return describe(store, publication.prefix, manifest)
        if publication.replaces:
            publication = publication.beside(manifest)
        transfer = _transfer(sending, folder, publication, listing)
    manifest = manifest_of(publication, transfer.run())

    sending.fence()
    if not folder.is_as(listing):
        raise Vanished(f"{folder} changed while it was published: files were removed or added, or written to")
    write_manifest(store, publication, manifest)
    sending.known.forget(folder)
    log.info(
        "published",
        prefix=publication.prefix,
        digest=manifest.digest,
        files=len(manifest.entries),
        sent=transfer.tally.sent,
        copied=transfer.tally.copied,
        bytes=manifest.size,
        seconds=round(time.monotonic() - began, 2),
    )
    return describe(store, publication.prefix, manifest)


def _checked(folder: Folder, publication: Publication) -> Listing:
    listing = folder.listing()
    if publication.step is not None and not (listing.files or listing.odd or listing.unreadable):
        raise Vanished(f"{folder} has no files: a checkpoint appears by rename, with its files in it")
    if publication.whole and listing.unreadable:
        raise Unreadable(unreadable(folder, listing))
    if publication.step is not None and listing.odd:
        path, why = next(iter(listing.odd.items()))
        raise Odd(f"{at(folder, path)} cannot be published: {why}")
    return listing


def unreadable(folder: Folder, listing: Listing) -> str:
    """The first file of a listing that the agent may not read, whose it is and what to do."""
    path, why = next(iter(listing.unreadable.items()))
    more = f" (and {listing.unreadable.count - 1} more)" if listing.unreadable.count > 1 else ""
    return (
        f"{at(folder, path)}{more} cannot be published: {why}. Let the program write files that its group can read "
        "(umask 027, or chmod g+r), or name its user in spec.trainer.container.runAsUser, as which the agent then runs"
    )


def at(folder: Folder, path: str) -> str:
    """A path for people to read, also one that is not UTF-8."""
    return f"{folder}/{path}".rstrip("/").encode(errors="backslashreplace").decode()


def _transfer(sending: Sending, folder: Folder, publication: Publication, listing: Listing) -> Transfer:
    transfer = Transfer(sending, folder, publication.prefix, publication.payload, listing)
    transfer.look()
    return transfer


def write_manifest(store: Store, publication: Publication, manifest: Manifest) -> None:
    """End a publication whose payload is there; the same content in the same place is success. Raises Conflict."""
    key, body = storage.manifest(publication.prefix), partial(Chunks, manifest.chunks)
    size, md5 = 0, hashlib.md5(usedforsecurity=False)
    for chunk in manifest.chunks():
        size += len(chunk)
        md5.update(chunk)
    if publication.replaces:
        store.put(key, body, size, md5.digest())
    elif not store.create(key, body, size) and not _is_published(store, publication, manifest):
        raise Conflict(f"s3://{store.bucket}/{key} was removed by somebody while it was written; try again")


def _is_published(store: Store, publication: Publication, manifest: Manifest) -> bool:
    """Whether this manifest's content is what the place holds; raises Conflict for other content that must stay."""
    key = storage.manifest(publication.prefix)
    if store.find(key) is None:
        return False
    try:
        found = read_manifest(store, publication.prefix)
    except TooNew as error:
        raise Conflict(f"{error.message}; attempt {manifest.attempt} leaves it alone") from error
    if found.digest != manifest.digest:
        if publication.replaces and found.attempt <= manifest.attempt:
            return False
        raise Conflict(
            f"s3://{store.bucket}/{key} was published by attempt {found.attempt} with digest {found.digest}; attempt "
            f"{manifest.attempt} has {manifest.digest} and leaves it alone"
        )
    return True
