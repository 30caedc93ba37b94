"""Inputs of a job: users' own data (listed once, pinned by ETag) and publications (through their manifest)."""

import difflib
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from fovea_api.contract import listing, storage
from fovea_api.contract.plan import INPUT_PUBLICATION, INPUT_STORE, Input

from fovea_agent import log
from fovea_agent.download import Wanted, download
from fovea_agent.errors import Changed, Corrupt, KeyRefused, Misconfigured, Missing, TooNew
from fovea_agent.parallel import run_all
from fovea_agent.restore import place, read_manifest, restore
from fovea_agent.settings import DEFAULT_TRANSFERS
from fovea_agent.store import Store, StoredObject

NEAR_MATCHES = 3


def fetch_input(store: Store, item: Input, directory: Path, staging: Path, transfers: int = DEFAULT_TRANSFERS) -> None:
    """Fetch one input to `<directory>/<name>`, its identity beside it; one that is in its place is whole and stays."""
    try:
        location = storage.Location.parse(item.uri)
        source = store.at(location.bucket)
    except ValueError as error:
        raise Misconfigured(
            f"input {item.name!r}: {item.uri!r} cannot be read ({error}): correct spec.inputs.{item.name}"
        ) from error
    target = directory / item.name
    if target.exists():
        log.info("input is in its place already", input=item.name)
        return
    if item.kind == INPUT_PUBLICATION:
        _fetch_publication(source, item, location, target, staging, transfers)
    elif item.kind == INPUT_STORE:
        _fetch_listed(source, item, location, target, staging, transfers)
    else:
        raise Misconfigured(
            f"input {item.name!r} is of kind {item.kind!r}: is the agent's image older than the operator?"
        )


def plan_listing(prefix: str, objects: Iterable[StoredObject]) -> Iterator[Wanted]:
    """What to fetch of a listing (in order of key) below `prefix`; Misconfigured for a key that cannot be a file's path.

    One after the other: a data set may have millions of files.
    """
    # Files whose path is how this one begins. In order of key all that begins with `a` follows `a` directly.
    beginnings: list[Wanted] = []
    base = f"{prefix}/" if prefix else ""
    for item in objects:
        path = item.key.removeprefix(base)
        if path.endswith("/") or not path:
            continue  # a console's placeholder for an empty folder
        if any(part in ("", ".", "..") for part in path.split("/")) or "\0" in path:
            raise Misconfigured(
                f"the object {item.key!r} cannot become a file: rename it without empty or dotted parts"
            )
        while beginnings and not path.startswith(beginnings[-1].path):
            beginnings.pop()
        for file in beginnings:
            if path.startswith(f"{file.path}/"):
                raise Misconfigured(f"the object {file.key!r} is a file and a folder at once: rename one of the two")
        wanted = Wanted(item.key, path, item.size, etag=item.etag)
        beginnings.append(wanted)
        yield wanted


def near_matches(name: str, siblings: Iterable[str]) -> list[str]:
    """Siblings that somebody may have meant by `name`, most similar first."""
    names = {sibling.rstrip("/").rpartition("/")[2]: sibling for sibling in siblings}
    return [names[match] for match in difflib.get_close_matches(name, names, n=NEAR_MATCHES, cutoff=0.5)]


def missing_input(store: Store, item: Input, location: storage.Location) -> Missing:
    """Say that an input is not there, and what there is with a similar name."""
    parent, _, name = location.key.rpartition("/")
    try:
        found = near_matches(name, store.children(f"{parent}/" if parent else ""))
    except (KeyRefused, Misconfigured):
        found = []  # the key may read the place itself, not what is around it
    hint = ", ".join(str(storage.Location(location.bucket, key)) for key in found)
    return Missing(
        f"input {item.name!r}: nothing is at {item.uri}; "
        + (f"did you mean {hint}? Else " if hint else "")
        + f"correct spec.inputs.{item.name} or upload the data"
    )


def _fetch_listed(
    store: Store, item: Input, location: storage.Location, target: Path, staging: Path, transfers: int
) -> None:
    work = staging / f"input-{item.name}"
    tree, partials = work / "tree", work / "partials"
    if tree.exists():
        # Left over from an earlier run of this container. What was listed then may have changed since; partial files
        # carry their ETag in their names and go on.
        shutil.rmtree(tree)
    for folder in (tree, partials):
        folder.mkdir(parents=True, exist_ok=True)

    files = listing.Files()

    def counted(planned: Iterable[Wanted]) -> Iterator[Wanted]:
        for one in planned:
            files.add(one.path, one.size, one.etag)
            yield one

    def fetch(one: Wanted) -> int:
        # The volume lives and dies with the pod: no fsync for what can be fetched again.
        download(store, one, tree, partials, durable=False)
        return one.size

    single: StoredObject | None = None
    try:
        wanted = plan_listing(location.key, store.listing(f"{location.key}/" if location.key else ""))
        run_all((partial(fetch, one) for one in counted(wanted)), transfers)
        if not files.count and not item.uri.endswith("/"):
            single = store.find(location.key)
            if single is not None:
                fetch(Wanted(single.key, "file", single.size, etag=single.etag))
                files.add("", single.size, single.etag)
    except (Changed, Missing, Corrupt) as error:
        raise Changed(
            f"input {item.name!r} changed while it was fetched ({error.message}): the next attempt takes it as it is "
            "then; don't write to data that a job reads"
        ) from error
    if not files.count:
        raise missing_input(store, item, location)
    files.identity().write(target.parent, item.name)
    place(tree / "file" if single is not None else tree, target)
    shutil.rmtree(work)
    log.info("input fetched", input=item.name, uri=item.uri, files=files.count, bytes=files.size)


def _fetch_publication(
    store: Store, item: Input, location: storage.Location, target: Path, staging: Path, transfers: int
) -> None:
    try:
        manifest = read_manifest(store, location.key)
    except Missing:
        raise missing_input(store, item, location) from None
    except TooNew as error:
        raise TooNew(f"input {item.name!r}: {error.message}; or run again what it was published by") from error
    if item.digest and manifest.digest != item.digest:
        raise Corrupt(
            f"input {item.name!r}: {item.uri} has digest {manifest.digest}, expected is {item.digest}: it is not what "
            "was published"
        )
    files = listing.Files()
    for entry in sorted(manifest.entries, key=lambda entry: entry.path):
        files.add(entry.path, entry.size, entry.sha256)
    files.identity().write(target.parent, item.name)
    try:
        restore(store, location.key, manifest, target, staging, transfers)
    except (Corrupt, Missing) as error:
        raise Corrupt(f"input {item.name!r}: {error.message}") from error
    log.info("input fetched", input=item.name, uri=item.uri, files=len(manifest.entries), bytes=manifest.size)
