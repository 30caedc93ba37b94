"""Which checkpoints to publish and which to prune: pure planning, and the folder it is planned from."""

import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from fovea_api.contract import environment

from fovea_agent.checkpoint_names import competing, read_name
from fovea_agent.folder import whose
from fovea_agent.listing import Stat


@dataclass(frozen=True)
class Local:
    """A checkpoint on the volume: `names` are its entries in the checkpoint folder."""

    step: int
    names: tuple[str, ...]
    folder: bool
    """Whether it is one folder."""

    @property
    def plain(self) -> bool:
        """Whether it is a folder named by nothing but its step, as Fovea's own are."""
        return self.folder and self.names == (str(self.step),)


@dataclass(frozen=True)
class Survey:
    """What a checkpoint folder holds: checkpoints by step, and what is taken for none (name -> why).

    `damaged`: steps that the program said it cannot read.
    """

    steps: dict[int, Local]
    ignored: dict[str, str]
    damaged: frozenset[int] = frozenset()


_UNFINISHED = re.compile(
    r"(^\.)|(~$)|([-_.]part$)|((^|[-_.])(tmp|temp|partial|incomplete|lock|swp)([-_.0-9]|$))", re.IGNORECASE
)
_DAMAGED = re.compile(re.escape(environment.DAMAGED_PREFIX) + r"([0-9]{1,15})(?:-|$)")
_POINTERS = ("checkpoint",)
"""TensorFlow's record of the newest one; `fetch` writes it for what it restores."""


NO_STEP = "its name gives no step (as 500/, checkpoint-500/ or step_500.pt do)"
NOT_UTF8 = "the name is not UTF-8"
NO_CHECKPOINT = "it belongs to a checkpoint, and there is none of its step"
NO_ORDER = (
    "names in its folder count different things, so that none is known to be the newest: name all checkpoints alike (as 500/, "
    "checkpoint-500/ or step_500.pt)"
)


def survey(folder: Path, apart: Collection[int] = ()) -> Survey:
    """Checkpoints in a folder: sub-folders and files by the step in their names, those of the same step together.

    A folder that cannot be listed holds none, and is itself what is ignored, under the empty name. `apart`: steps of another
    job, which may name its checkpoints as it likes.
    """
    try:
        with os.scandir(folder) as listed:
            present = sorted(listed, key=lambda entry: entry.name)
    except FileNotFoundError:
        return Survey({}, {})
    except PermissionError:
        return Survey({}, {"": whose(folder)})
    except OSError as error:
        return Survey({}, {"": f"it cannot be listed: {error.strerror}"})
    return _sorted(present, apart)


def _sorted(present: Iterable[os.DirEntry[str]], apart: Collection[int]) -> Survey:
    entries: dict[int, list[os.DirEntry[str]]] = {}
    counts: dict[int, set[str]] = {}
    ignored: dict[str, str] = {}
    damaged: set[int] = set()
    for entry in present:
        if aside := _DAMAGED.match(entry.name):
            damaged.add(int(aside[1]))
        if _UNFINISHED.search(entry.name) or entry.name in _POINTERS:
            continue
        told, why = read_name(entry.name), _unusable(entry)
        if why:
            if why == NOT_UTF8 or (told is not None and told.makes):
                ignored[entry.name] = why
        elif told is None:
            ignored[entry.name] = NO_STEP
        else:
            entries.setdefault(told.step, []).append(entry)
            if told.makes:
                counts.setdefault(told.step, set()).add(told.counts)
    own = {step: kinds for step, kinds in counts.items() if step not in apart}
    plain = [step for step in own if any(entry.name == str(step) and entry.is_dir() for entry in entries[step])]
    unordered = competing(own, plain)
    for step, found in entries.items():
        if step not in counts or step in unordered:
            ignored.update(
                dict.fromkeys((entry.name for entry in found), NO_ORDER if step in counts else NO_CHECKPOINT)
            )
    steps = {step: _local(step, entries[step]) for step in counts if step not in unordered}
    return Survey(steps, ignored, frozenset(damaged))


def _unusable(entry: os.DirEntry[str]) -> str:
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return NOT_UTF8
    try:
        if entry.is_symlink():
            return "it is a symbolic link"
        return "" if entry.is_dir() or entry.is_file() else "it is neither a folder nor a file"
    except OSError as error:  # of a folder that may be listed and not entered, where the kernel tells no kinds
        return f"it cannot be read: {error.strerror}"


def _local(step: int, entries: list[os.DirEntry[str]]) -> Local:
    names = tuple(entry.name for entry in entries)
    return Local(step, names, len(entries) == 1 and entries[0].is_dir())


def was_renamed(folder: os.stat_result, stats: Mapping[str, Stat]) -> bool:
    """Whether a folder seems to have got its name after all that is in it was written: then it is whole since it is there.

    A rename changes the folder's ctime and not its mtime; whatever is written to or made in it changes a ctime to a later
    one. Within one tick of the clock (some milliseconds) the two cannot be told apart, which counts as written in place. A
    `chmod` of a folder that is being written looks the same until the next write: what is published for this is looked at again.
    """
    return folder.st_ctime_ns > folder.st_mtime_ns and folder.st_ctime_ns >= last_change(stats)


def last_change(stats: Mapping[str, Stat]) -> int:
    """When something was last written to one of these files, in nanoseconds; 0 without files."""
    return max((stat.changed for stat in stats.values()), default=0)


def last_written(stats: Mapping[str, Stat]) -> int:
    """When the content of one of these files was last written, in nanoseconds; 0 without files.

    Links, modes and renames do not count, nor a time in the future that a program gave a file.
    """
    return max((min(stat.modified, stat.changed) for stat in stats.values()), default=0)


_UNKNOWN: Mapping[str, Stat] = MappingProxyType({})
"""What a checkpoint was when it was published, where that is not known any more: whatever is there now differs."""


class Stillness:
    """Tells when a checkpoint is no longer written to, as nothing else says so."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[int, tuple[Mapping[str, Stat], float]] = {}
        self._taken: dict[int, Mapping[str, Stat]] = {}

    def still_for(self, step: int, stats: Mapping[str, Stat]) -> float:
        """For how many seconds nothing has changed; less than 0 at the first look, and when something has."""
        now = self._clock()
        seen, since = self._seen.get(step, (None, now))
        if seen != stats:
            self._seen[step] = (stats, now)
            return -1.0
        return now - since

    def take(self, step: int, stats: Mapping[str, Stat]) -> None:
        """The checkpoint is published as it is."""
        seen, since = self._seen.get(step, (None, 0.0))
        self._taken[step] = stats
        if seen == stats:
            self._seen[step] = (stats, since)  # one copy is enough
        else:
            self._seen.pop(step, None)

    def take_unknown(self, step: int) -> None:
        """The checkpoint is published, with content that is not known."""
        self._seen.pop(step, None)
        self._taken[step] = _UNKNOWN

    def keep_only(self, present: Collection[int], wanted: Collection[int]) -> None:
        """Forget what steps were that are neither `present` nor `wanted`: a job leaves thousands."""
        for step in [step for step in self._seen if step not in present]:
            del self._seen[step]
        for step, stats in self._taken.items():
            if stats and step not in present and step not in wanted:
                self._taken[step] = _UNKNOWN

    def taken(self, step: int) -> Mapping[str, Stat] | None:
        """What the checkpoint was when it was published; None for one that was not."""
        return self._taken.get(step)

    def forget(self, step: int) -> None:
        """The checkpoint is finished with, or another attempt's: it is watched no more."""
        self._seen.pop(step, None)
        self._taken.pop(step, None)

    def was_written_to(self, step: int, stats: Mapping[str, Stat]) -> bool:
        """Whether a checkpoint was taken too early. One of which files go away is being removed: that is none."""
        taken = self._taken.get(step)
        return taken is not None and taken != stats and taken.keys() <= stats.keys()


def to_publish(
    local: Collection[int], settled: Collection[int], keep: int, unproven: Collection[int] = ()
) -> list[int]:
    """Steps to publish, newest first, because after an outage the newest is worth most.

    Only those that belong to the newest `keep` of all: publishing others would be followed by pruning them.
    `settled` are published, or not to be published. What is `unproven` takes no other's place.
    """
    every = {*local, *settled}
    kept = sorted(every.difference(unproven), reverse=True)[: max(1, keep)]
    oldest = kept[-1] if len(kept) == max(1, keep) else min(every, default=0)
    return sorted((step for step in local if step >= oldest and step not in settled), reverse=True)


def to_prune(published: Collection[int], present: Collection[int], keep: int) -> list[int]:
    """Steps to delete: everything `present` that is older than the newest `keep` `published` ones, oldest first.

    What is present without being published (of a writer that died) goes with its contemporaries, never before them.
    """
    kept = sorted(published, reverse=True)[: max(1, keep)]
    if len(kept) < max(1, keep):
        return []
    return sorted(step for step in present if step < kept[-1])
