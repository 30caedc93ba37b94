"""How a publication becomes a folder again, and which of several is restored.

Only through its manifest, into a staging folder on the same volume, verified, fsynced, renamed: a folder that is in its
place is whole.
"""

import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Self

from fovea_api.contract import storage
from fovea_api.contract.manifest import Entry, Manifest, ManifestError, UnknownFormat

from fovea_agent import log
from fovea_agent.download import Wanted, downloads
from fovea_agent.errors import Corrupt, Missing, TooNew
from fovea_agent.file_cache import FileCache
from fovea_agent.folder import Folder
from fovea_agent.parallel import run_each
from fovea_agent.settings import DEFAULT_TRANSFERS
from fovea_agent.store import Store, StoredObject

TENSORFLOW_INDEX = ".index"


@dataclass(frozen=True)
class Restored:
    """What was restored, and what was passed over on the way (step -> why): it does not verify, or is doubted."""

    number: int
    manifest: Manifest
    passed_over: dict[int, str]
    doubted: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Resumed:
    """What `fetch` leaves for `sync`: the step restored (None: none was), and steps of this job passed over.

    `passed_over`: those that do not verify. `doubted`: those that may yet be whole.
    """

    step: int | None
    digest: str
    passed_over: tuple[int, ...] = ()
    doubted: tuple[int, ...] = ()
    unproven: bool = False
    """Whether what was restored may be torn."""

    def write(self, file: Path) -> None:
        """Write whole or not at all."""
        unfinished = file.with_suffix(".tmp")
        unfinished.write_text(json.dumps(asdict(self)))
        unfinished.rename(file)

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """Read; None when nothing was restored or passed over."""
        if not file.exists():
            return None
        document = json.loads(file.read_text())
        step = document["step"]
        return cls(
            None if step is None else int(step),
            str(document["digest"]),
            tuple(map(int, document["passed_over"])),
            tuple(map(int, document["doubted"])),
            bool(document["unproven"]),
        )


def stored_numbers(store: Store, parent: str) -> set[int]:
    """Numbers `<parent>/<number>/` below which there is any object, whether published or not.

    Folders are listed, not what is in them: a publication may have a million objects.
    """
    base = f"{parent}/"
    names = (child.removeprefix(base).removesuffix("/") for child in store.children(base) if child.endswith("/"))
    return {int(name) for name in names if is_number(name)}


def published_numbers(store: Store, parent: str) -> dict[int, StoredObject]:
    """Publications `<parent>/<number>`: those with a manifest, number -> its object."""
    manifests = {number: store.find(storage.manifest(f"{parent}/{number}")) for number in stored_numbers(store, parent)}
    return {number: found for number, found in manifests.items() if found is not None}


def is_number(name: str) -> bool:
    """Whether a folder's name is that of a numbered publication: a whole number as Python writes it."""
    return name.isascii() and name.isdecimal() and str(int(name)) == name


def newest_first(numbers: Iterable[int]) -> list[int]:
    """The order in which checkpoints (by step) or generations of a cache are tried."""
    return sorted(numbers, reverse=True)


def read_manifest(store: Store, prefix: str) -> Manifest:
    """Manifest of a publication; Missing when there is none, Corrupt when it cannot be read, TooNew in another format."""
    key = storage.manifest(prefix)
    try:
        return store.reading(key, lambda: Manifest.read(store.stream(key)))
    except UnknownFormat as error:
        raise TooNew(f"s3://{store.bucket}/{key} cannot be read by this release: {error}") from error
    except ManifestError as error:
        raise Corrupt(f"s3://{store.bucket}/{key} is corrupt: {error}") from error


def restore(
    store: Store,
    prefix: str,
    manifest: Manifest,
    target: Path,
    staging: Path,
    transfers: int = DEFAULT_TRANSFERS,
    cache: FileCache | None = None,
) -> None:
    """Put a publication's files into the new folder `target`; Corrupt or Missing names the object that is to blame.

    What the cache has is taken from there first, and verified like the beginning of a file that was interrupted.
    """
    work = staging / f"{target.name}-{manifest.digest.removeprefix('sha256:')[:16]}"
    tree, partials = work / "tree", work / "partials"
    for folder in (tree, partials):
        folder.mkdir(parents=True, exist_ok=True)

    def wanted() -> Iterator[Wanted]:
        for entry in manifest.entries:
            one = Wanted(f"{prefix}/{entry.key}", entry.path, entry.size, sha256=entry.sha256)
            if cache is not None:
                cache.offer(one.sha256, one.size, partials / one.identity)
            yield one

    run_each(downloads(store, wanted(), tree, partials), transfers)
    for directory, _, _ in os.walk(tree, topdown=False):
        _fsync(Path(directory))
    place(tree, target)
    shutil.rmtree(work)


def place(tree: Path, target: Path) -> None:
    """Let a finished folder (or file) appear as `target` by rename, writable for the group."""
    target.parent.mkdir(parents=True, exist_ok=True)
    tree.rename(target)
    _fsync(target.parent)


def matches(folder: Folder, manifest: Manifest, transfers: int = DEFAULT_TRANSFERS) -> bool:
    """Whether a folder holds exactly a manifest's files."""
    listing = folder.listing()
    if len(listing.stats) != len(manifest.entries):
        return False
    if any(path != entry.path for path, entry in zip(listing.stats.paths, manifest.entries, strict=True)):
        return False
    different: list[str] = []

    def compare(entry: Entry) -> None:
        if not different and folder.fingerprint(listing.holder(entry.path)).sha256 != entry.sha256:
            different.append(entry.path)

    run_each((partial(compare, entry) for entry in manifest.entries), transfers)
    return not different


def restore_newest(
    store: Store,
    parent: str,
    destination: Path,
    staging: Path,
    transfers: int = DEFAULT_TRANSFERS,
    *,
    doubted: Mapping[int, str] = MappingProxyType({}),
    given_up: Collection[int] = (),
) -> Restored | None:
    """Restore the newest publication `<parent>/<number>` that verifies to `<destination>/<number>`; None if none is.

    A checkpoint to which the program gave another name appears under that. What is `doubted` (number -> why) is tried last;
    those `given_up` of them only where another one does not verify.

    One that does not verify is passed over for the next older; raises Corrupt when none is left. One that a newer Fovea
    has written is not passed over: raises TooNew.
    """
    numbers = published_numbers(store, parent).keys()
    passed_over: dict[int, str] = {}
    for number in newest_first(numbers - doubted.keys()) + newest_first(numbers & doubted.keys()):
        if number in given_up and not passed_over:
            continue
        prefix = f"{parent}/{number}"
        try:
            manifest = _read_filled(store, prefix)
            restore_to(store, prefix, manifest, destination, staging, transfers)
        except (Corrupt, Missing) as error:
            log.warning("passed over: it does not verify", publication=prefix, error=error.message)
            passed_over[number] = error.message
            continue
        log.info("restored", publication=prefix, digest=manifest.digest, bytes=manifest.size)
        newer = {step: why for step, why in doubted.items() if step > number and step not in passed_over}
        return Restored(number, manifest, passed_over, newer)
    if passed_over:
        raise Corrupt(f"nothing below s3://{store.bucket}/{parent} verifies: {'; '.join(passed_over.values())}")
    return None


def restore_to(store: Store, prefix: str, manifest: Manifest, destination: Path, staging: Path, transfers: int) -> None:
    """Restore the publication at `<parent>/<number>` to `<destination>/<number>`, or to the names that the program gave it."""
    target = destination / prefix.rpartition("/")[2]
    if manifest.named:
        _restore_named(store, prefix, manifest, destination, staging, transfers)
    elif not target.is_dir():
        restore(store, prefix, manifest, target, staging, transfers)


def _restore_named(
    store: Store, prefix: str, manifest: Manifest, destination: Path, staging: Path, transfers: int
) -> None:
    names = {entry.path.partition("/")[0] for entry in manifest.entries}
    if all(os.path.lexists(destination / name) for name in names):
        return
    tree = staging / f"named-{manifest.step}"
    if not tree.is_dir():
        restore(store, prefix, manifest, tree, staging, transfers)
    for name in sorted(names):
        if os.path.lexists(tree / name):  # else it was moved already, before this container was started again
            (tree / name).rename(destination / name)
    indices = sorted(name.removesuffix(TENSORFLOW_INDEX) for name in names if name.endswith(TENSORFLOW_INDEX))
    if indices:
        # TensorFlow finds its newest checkpoint by this file alone, and the one of that time may have named another.
        lines = [f'model_checkpoint_path: "{indices[-1]}"', f'all_model_checkpoint_paths: "{indices[-1]}"', ""]
        (destination / "checkpoint").write_text("\n".join(lines))
    _fsync(destination)
    shutil.rmtree(tree)


def _read_filled(store: Store, prefix: str) -> Manifest:
    """Manifest of a checkpoint or cache: without files it is none (earlier versions could publish an empty one)."""
    manifest = read_manifest(store, prefix)
    if not manifest.entries:
        raise Corrupt(f"s3://{store.bucket}/{storage.manifest(prefix)} names no files")
    return manifest


def _fsync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
