"""Inputs of a job: users' own data (listed once per job, pinned by ETag) and publications (through their manifest)."""

import difflib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from fovea_api.contract import listing, shards, storage, streams
from fovea_api.contract.plan import INPUT_PUBLICATION, INPUT_STORE, Input

from fovea_agent import log
from fovea_agent.download import Wanted, downloads
from fovea_agent.errors import AgentError, Changed, Corrupt, KeyRefused, Misconfigured, Missing, Replaced, TooNew
from fovea_agent.parallel import run_each
from fovea_agent.pins import Draft, Pin
from fovea_agent.restore import place, read_manifest, restore
from fovea_agent.settings import DEFAULT_TRANSFERS
from fovea_agent.store import Store, StoredObject

NEAR_MATCHES = 3
SINGLE = "file"
"""Path of an input that is one object, until it gets its name."""


@dataclass(frozen=True)
class Inputs:
    """Where the inputs of a job go: `folder` holds one folder or file per name; `job` is the job's prefix in `store`."""

    store: Store
    job: str
    folder: Path
    staging: Path
    transfers: int = DEFAULT_TRANSFERS
    streams: Path | None = None
    """Where listings of streamed inputs stay, for `sync`."""

    def fetch(self, item: Input) -> None:
        """Fetch one input to `<folder>/<name>`, its identity beside it; one that is in its place is whole and stays."""
        try:
            location = storage.Location.parse(item.uri)
            source = self.store.at(location.bucket)
        except ValueError as error:
            raise Misconfigured(
                f"input {item.name!r}: {item.uri!r} cannot be read ({error}): correct spec.inputs.{item.name}"
            ) from error
        if (self.folder / item.name).exists():
            log.info("input is in its place already", input=item.name)
            return
        if item.room and item.kind != INPUT_STORE:
            raise Misconfigured(
                f"input {item.name!r} cannot be streamed, since {item.uri} is what a job or model left: take it out of "
                "spec.inputModes"
            )
        if item.kind == INPUT_PUBLICATION:
            self._fetch_publication(source, item, location)
        elif item.kind == INPUT_STORE:
            self._fetch_listed(source, item, location)
        else:
            raise Misconfigured(
                f"input {item.name!r} is of kind {item.kind!r}: is the agent's image older than the operator?"
            )

    def _fetch_listed(self, source: Store, item: Input, location: storage.Location) -> None:
        work = self.staging / f"input-{item.name}"
        listed = Listed(source, item, location, Pin(self.store, self.job, item.name), work, self.transfers)
        identity = listed.fetch()
        if item.room:
            self._leave_shards(item, listed)
        identity.write(self.folder, item.name)
        place(listed.tree / SINGLE if listed.single else listed.tree, self.folder / item.name)
        shutil.rmtree(work)
        later = {"of_them_shards_later": len(listed.shards)} if item.room else {}
        log.info("input fetched", input=item.name, uri=item.uri, files=identity.files, bytes=identity.size, **later)

    def _leave_shards(self, item: Input, listed: "Listed") -> None:
        """For `sync` the listing, for the program the names and sizes: before the input is in its place."""
        if listed.single or not listed.shards:
            raise Misconfigured(
                f"input {item.name!r} has the mode Stream, but {item.uri} has no shard (a TFRecord file such as "
                "train-00000-of-00010.tfrecord): write shards with fovea data convert and upload their folder, or take the input out "
                "of spec.inputModes"
            )
        if self.streams is None:
            raise ValueError(f"input {item.name!r} is streamed: the place for its listing must be given")
        self.streams.mkdir(parents=True, exist_ok=True)
        shutil.move(listed.file, _listing_of(self.streams, item))
        folder = streams.folder(self.folder, item.name)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o2777)  # the program, which may run as another user, writes here
        streams.write(folder / streams.SHARDS_FILE, streams.Shards(listed.shards, item.room).to_json())

    def _fetch_publication(self, source: Store, item: Input, location: storage.Location) -> None:
        try:
            manifest = read_manifest(source, location.key)
        except Missing:
            raise missing_input(source, item, location) from None
        except TooNew as error:
            raise TooNew(f"input {item.name!r}: {error.message}; or run again what it was published by") from error
        if item.digest and manifest.digest != item.digest:
            raise Corrupt(
                f"input {item.name!r}: {item.uri} has digest {manifest.digest}, expected is {item.digest}: it is not "
                "what was published"
            )
        files = listing.Files()
        for entry in manifest.entries:  # in order of path: one after the other, there may be a million
            files.add(entry.path, entry.size, entry.sha256)
        files.identity().write(self.folder, item.name)
        try:
            restore(source, location.key, manifest, self.folder / item.name, self.staging, self.transfers)
        except (Corrupt, Missing) as error:
            raise Corrupt(f"input {item.name!r}: {error.message}") from error
        log.info("input fetched", input=item.name, uri=item.uri, files=len(manifest.entries), bytes=manifest.size)


class Listed:
    """Users' own data on its way: fetched while it is listed, or by the listing that this job's first attempt published."""

    def __init__(
        self, source: Store, item: Input, location: storage.Location, pin: Pin, work: Path, transfers: int
    ) -> None:
        self._source, self._item, self._location, self._pin = source, item, location, pin
        self._work, self._transfers = work, transfers
        self.tree = work / "tree"
        self.single = False
        """Whether the address is that of one object, not of a folder."""
        self.file = work
        """The listing, once all is fetched."""
        self.shards: dict[str, int] = {}
        """Of a streamed input: sizes of what is left for `sync`, by path."""

    def fetch(self) -> listing.Identity:
        """Fetch it to `tree`; raises Changed when it changes meanwhile, Replaced when it has since the first attempt."""
        while True:
            self._begin()
            published = self._pin.fetch(self._work)
            if published is not None:
                return self._fetch_again(published)
            draft = self._work / "draft.jsonl.gz"
            try:
                identity = self._fetch_first(draft)
            except (Changed, Missing, Corrupt) as error:
                if self._pin.is_published():
                    continue  # by another pod, which has read it as it is now
                raise Changed(
                    f"input {self._item.name!r} changed while it was fetched ({error.message}): the next attempt takes "
                    "it as it is then; don't write to data that a job reads"
                ) from error
            if not identity.files:
                raise missing_input(self._source, self._item, self._location)
            # Only what was fetched whole: until then another attempt may take the data as it is.
            if self._pin.publish(draft):
                return identity
            # Another pod of the job was first. Mostly it has read the same, and nothing is fetched twice.
            published = self._pin.fetch(self._work)
            if published is None or self._pin.identity(published) == identity:
                return identity
            log.warning("another pod of this job has read other data: fetching what it has", input=self._item.name)

    def _begin(self) -> None:
        # Left over from an earlier run of this container. What was listed then may have changed since; partial files
        # carry their ETag in their names and go on.
        self.shards.clear()
        if self.tree.exists():
            shutil.rmtree(self.tree)
        for folder in (self.tree, self._partials):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def _partials(self) -> Path:
        return self._work / "partials"

    def _download(self, wanted: Iterable[Wanted]) -> None:
        # The volume lives and dies with the pod: no fsync for what can be fetched again.
        tasks = downloads(self._source, self._before_the_program(wanted), self.tree, self._partials, durable=False)
        run_each(tasks, self._transfers)

    def _before_the_program(self, wanted: Iterable[Wanted]) -> Iterator[Wanted]:
        for one in wanted:
            if self._item.room and not self.single and shards.is_tfrecord(one.path.rpartition("/")[2]):
                self.shards[one.path] = one.size
            else:
                yield one

    def _fetch_first(self, file: Path) -> listing.Identity:
        key, self.file = self._location.key, file
        with Draft(file, self._item.uri) as draft:

            def noted(planned: Iterable[Wanted]) -> Iterator[Wanted]:
                for one in planned:
                    draft.add("" if self.single else one.path, one.size, one.etag)
                    yield one

            self.single = False
            self._download(noted(plan_listing(key, self._source.listing(f"{key}/" if key else ""))))
            if not draft.files.count and not self._item.uri.endswith("/"):
                found = self._source.find(key)
                if found is not None:
                    self.single = True
                    self._download(noted([_single(found)]))
            return draft.close()

    def _fetch_again(self, file: Path) -> listing.Identity:
        identity, self.file = self._pin.identity(file), file
        objects = self._pin.objects(file, self._location)
        first = next(objects)
        self.single = first.key == self._location.key
        wanted = [_single(first)] if self.single else plan_listing(self._location.key, chain([first], objects))
        try:
            self._download(wanted)
        except (Changed, Missing, Corrupt) as error:
            raise replaced(self._item, error) from error
        return identity


def replaced(item: Input, error: AgentError) -> Replaced:
    """Say that an input has changed since the job began, by what was found."""
    return Replaced(
        f"input {item.name!r} is no longer what this job began with ({error.message}); all attempts of a "
        "job read the same data. Submit a new job to train on the data as it is now; with spec.checkpoint.from "
        "it goes on from this job's checkpoint"
    )


def streamed_shards(
    folder: Path, store: Store, item: Input, location: storage.Location
) -> Iterator[tuple[str, StoredObject]]:
    """Path and object of each shard of a streamed input, by the listing that `fetch` left in `folder`; raises Corrupt."""
    base = f"{location.key}/" if location.key else ""
    for found in Pin(store, "", item.name).objects(_listing_of(folder, item), location):
        path = found.key.removeprefix(base)
        if shards.is_tfrecord(path.rpartition("/")[2]):
            yield path, found


def _listing_of(folder: Path, item: Input) -> Path:
    return folder / f"{item.name}.jsonl.gz"


def _single(found: StoredObject) -> Wanted:
    return Wanted(found.key, SINGLE, found.size, etag=found.etag)


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
