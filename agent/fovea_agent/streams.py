"""Shards of streamed inputs, fetched by `sync` while the program runs, in the order in which it wants them (`contract.streams`).

The program owns the folders in which they appear, while the agent holds keys: every folder is opened without following links.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from fovea_api.contract import environment, storage, streams
from fovea_api.contract.plan import Input, TrainingPlan

from fovea_agent import log
from fovea_agent.beneath import folder_beneath, read_beneath, write_beneath
from fovea_agent.download import Wanted, downloads
from fovea_agent.errors import AgentError, Changed, Corrupt, Misconfigured, Missing, VolumeProblem
from fovea_agent.inputs import replaced, streamed_shards
from fovea_agent.parallel import run_each
from fovea_agent.settings import DEFAULT_TRANSFERS, WorkVolume
from fovea_agent.store import Store, StoredObject

AT_ONCE = 4
"""Shards of an input on their way at once."""
POLL_SECONDS = 0.1
"""Between two looks at what is wanted."""


def choose(
    wanted: Sequence[str], sizes: Mapping[str, int], here: Sequence[str], coming: Collection[str], room: int
) -> tuple[str, list[str]]:
    """The shard to fetch next ("" for none now), and those to remove before: `here` are those on the disk, oldest first.

    The first ones that are wanted stay, as many as the room holds. A shard larger than the room comes when it is wanted
    first, and then lies there alone.
    """
    kept: list[str] = []
    for name in wanted:
        if kept and sum(sizes[each] for each in kept) + sizes[name] > room:
            break
        kept.append(name)
    there = {*here, *coming}
    name = next((each for each in kept if each not in there), "")
    if not name:
        return "", []
    taken = sum(sizes[each] for each in there)
    removed: list[str] = []
    for old in here:
        if taken + sizes[name] <= room:
            break
        if old not in kept:
            removed.append(old)
            taken -= sizes[old]
    if taken and taken + sizes[name] > room:
        return "", removed  # one that is on its way is not wanted any more: it is removed once it is here
    return name, removed


class Streams:
    """The streamed inputs of a pod."""

    def __init__(self, plan: TrainingPlan, store: Store, work: WorkVolume, transfers: int = DEFAULT_TRANSFERS) -> None:
        self._ended = threading.Event()
        self._streams = [_Stream(store, item, work, self._ended, transfers) for item in plan.inputs if item.room]

    def start(self) -> None:
        """Fetch in threads from now on."""
        for stream in self._streams:
            stream.start()

    def stop(self) -> None:
        """Begin no other shard: the program has ended."""
        self._ended.set()

    @property
    def failure(self) -> AgentError | None:
        """Why the shards of an input do not come any more; None while they do."""
        return next((stream.failure for stream in self._streams if stream.failure), None)


class _Stream:
    """One input. The lock is for what is here and what is coming."""

    def __init__(self, store: Store, item: Input, work: WorkVolume, ended: threading.Event, transfers: int) -> None:
        self._item, self._work, self._ended = item, work, ended
        self._location = storage.Location.parse(item.uri)
        self._store = store.at(self._location.bucket)
        self._transfers = max(1, transfers // AT_ONCE)
        self._staging = work.staging / f"stream-{item.name}"
        self._objects: dict[str, StoredObject] = {}
        self._sizes: dict[str, int] = {}
        self._here: OrderedDict[str, None] = OrderedDict()
        self._coming: set[str] = set()
        self._lock = threading.Lock()
        self._wanted: tuple[object, list[str]] = (None, [])
        self._beat = 0
        self.failure: AgentError | None = None
        inputs = WorkVolume.relative(environment.INPUT_DIR)
        self._folder = f"{inputs}/{item.name}"
        self._place = str(streams.folder(Path(inputs), item.name))

    def start(self) -> None:
        """Raises Corrupt for a listing that cannot be read."""
        listed = streamed_shards(self._work.streams, self._store, self._item, self._location)
        self._objects = dict(listed)
        self._sizes = {path: found.size for path, found in self._objects.items()}
        for path in self._sizes:
            if self._is_here(path):  # from an earlier run of this container
                self._here[path] = None
        self._staging.mkdir(parents=True, exist_ok=True)
        for number in range(AT_ONCE):
            threading.Thread(target=self._work_on, daemon=True, name=f"shards-{self._item.name}-{number}").start()
        threading.Thread(target=self._beat_on, daemon=True, name=f"beat-{self._item.name}").start()
        log.info(
            "shards arrive as they are wanted", input=self._item.name, shards=len(self._sizes), room=self._item.room
        )

    def _work_on(self) -> None:
        while not self._ended.is_set() and self.failure is None:
            try:
                name = self._next()
                if name:
                    self._fetch(name)
                else:
                    self._ended.wait(POLL_SECONDS)
            except (Changed, Missing, Corrupt) as error:
                self._fail(replaced(self._item, error))
            except AgentError as error:
                self._fail(error)
            except OSError as error:
                self._fail(
                    VolumeProblem(f"input {self._item.name!r}: the working volume cannot hold its shards: {error}")
                )
            except Exception as error:  # noqa: BLE001 - a defect, said with its traceback, to the operator, too
                log.error("defect", with_traceback=True)
                self._fail(AgentError(f"the agent failed on {error!r}: its log has the traceback; please report it"))

    def _next(self) -> str:
        """A shard to fetch, with room for it made; "" for none now."""
        with self._lock:
            wanted = [name for name in self._read_wanted() if name in self._sizes]
            for name in wanted:
                if name in self._here and not self._is_here(name):  # the program has removed it
                    del self._here[name]
            name, removed = choose(wanted, self._sizes, [*self._here], self._coming, self._item.room)
            for old in removed:
                self._remove(old)
            if name:
                self._coming.add(name)
            return name

    def _fetch(self, name: str) -> None:
        found = self._objects[name]
        wanted = Wanted(found.key, name, found.size, etag=found.etag)
        try:
            run_each(downloads(self._store, [wanted], self._staging, self._staging, durable=False), self._transfers)
            with folder_beneath(self._work.root, str(Path(self._folder, name).parent), make=True) as folder:
                os.rename(self._staging / name, Path(name).name, dst_dir_fd=folder)
            with self._lock:
                self._here[name] = None
        finally:
            with self._lock:
                self._coming.discard(name)

    def _remove(self, name: str) -> None:
        with folder_beneath(self._work.root, str(Path(self._folder, name).parent)) as folder:
            os.unlink(Path(name).name, dir_fd=folder)
        del self._here[name]

    def _is_here(self, name: str) -> bool:
        try:
            with folder_beneath(self._work.root, str(Path(self._folder, name).parent)) as folder:
                return os.stat(Path(name).name, dir_fd=folder, follow_symlinks=False).st_size == self._sizes[name]
        except FileNotFoundError:
            return False

    def _read_wanted(self) -> list[str]:
        before, names = self._wanted
        with folder_beneath(self._work.root, self._place) as folder:
            try:
                status = os.stat(streams.WANTED_FILE, dir_fd=folder, follow_symlinks=False)
                stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
                if stamp == before:
                    return names
                text = read_beneath(folder, streams.WANTED_FILE, streams.LARGEST)
            except FileNotFoundError:
                return []  # the program has not begun
        try:
            self._wanted = stamp, list(dict.fromkeys(streams.wanted_from_json(text)))
        except ValueError as error:
            raise Misconfigured(
                f"input {self._item.name!r}: the program wrote {streams.WANTED_FILE}, but {error}: it must be written whole, by a rename"
            ) from error
        return self._wanted[1]

    def _fail(self, error: AgentError) -> None:
        if self._ended.is_set() or self.failure is not None:
            return  # a shard that nobody waits for any more
        self.failure = error
        log.error("no shard comes any more", input=self._item.name, reason=error.reason, message=error.message)

    def _beat_on(self) -> None:
        while not self._ended.is_set():
            self._beat += 1
            since = self._store.patience.unreachable_since
            state = streams.State(
                self._beat,
                waits=f"the object store has not answered since {since:%Y-%m-%dT%H:%M:%SZ}" if since else "",
                failed=self.failure.message if self.failure else "",
                exit_code=self.failure.exit_code if self.failure else 0,
            )
            try:
                with folder_beneath(self._work.root, self._place) as folder:
                    write_beneath(folder, streams.STATE_FILE, state.to_json())
            except OSError as error:
                self._fail(VolumeProblem(f"input {self._item.name!r}: {streams.STATE_FILE} cannot be written: {error}"))
            self._ended.wait(streams.BEAT_SECONDS if self.failure is None else POLL_SECONDS)
