"""Which checkpoints to publish and which to prune: pure planning, and the folder it is planned from."""

import os
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from fovea_agent.folder import Stat

_MOST_DIGITS = 15
"""Of a step: as many as a JSON number holds exactly."""


@dataclass(frozen=True)
class Local:
    """A checkpoint on the volume: `names` are its entries in the checkpoint folder."""

    step: int
    names: tuple[str, ...]
    whole: bool
    """Whether it is whole since it is there: a folder named by nothing but its step appears by rename."""


@dataclass(frozen=True)
class Survey:
    """What a checkpoint folder holds: checkpoints by step, and what is taken for none (name -> why)."""

    steps: dict[int, Local]
    ignored: dict[str, str]


_SHARD = re.compile(r"([-_.]data)?-[0-9]+-of-[0-9]+(?=$|\.)")
"""`ckpt-7.data-00000-of-00002`, `model-00001-of-00002.safetensors`: which piece of a checkpoint, not which step."""
_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9_]*$")
_BY_WORD = re.compile(
    r"(?:^|[^A-Za-z])(?:global|train)?[-_]?(?:steps?|iter|iters|iteration|update)[-_=.]?([0-9]+)", re.IGNORECASE
)
"""`model_step_200`, `epoch=3-step=1000`, `global_step100`, `iter_0000500`."""
_BY_END = re.compile(r"(?:^|[^-_=.][-_=.]|(?:^|[-_=.])(?:ckpt|checkpoint|epoch|model|weights))([0-9]+)$", re.IGNORECASE)
"""`500`, `000100`, `checkpoint-500`, `ckpt-7`, `epoch10`: the only number, and at the end."""
_UNFINISHED = re.compile(
    r"(^\.)|(~$)|((^|[-_.])(tmp|temp|part|partial|incomplete|lock|swp)([-_.0-9]|$))", re.IGNORECASE
)
_POINTERS = ("checkpoint",)
"""TensorFlow's record of the newest one; `fetch` writes it for what it restores."""


def step_of(name: str) -> int | None:
    """The step that the name of a checkpoint's file or folder tells; None when it tells none."""
    if "tfevents" in name:  # TensorBoard's, named by the time
        return None
    stem = _SHARD.sub("", name)
    while (shorter := _ENDING.sub("", stem)) != stem:
        stem = shorter
    words = _BY_WORD.findall(stem)
    numbers = re.findall(r"[0-9]+", stem)
    found = words[-1:] or (_BY_END.findall(stem) if len(numbers) == 1 else [])
    return int(found[0]) if found and len(found[0]) <= _MOST_DIGITS else None


def survey(folder: Path) -> Survey:
    """Checkpoints in a folder: sub-folders and files by the step in their names, those of the same step together."""
    entries: dict[int, list[os.DirEntry[str]]] = {}
    ignored: dict[str, str] = {}
    if folder.is_dir():
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if _UNFINISHED.search(entry.name) or entry.name in _POINTERS:
                continue
            step, why = step_of(entry.name), _unusable(entry)
            if why:
                if step is not None:
                    ignored[entry.name] = why
            elif step is None:
                ignored[entry.name] = "no step can be told from its name (as from 500/, checkpoint-500/ or step_500.pt)"
            else:
                entries.setdefault(step, []).append(entry)
    return Survey({step: _local(step, found) for step, found in entries.items()}, ignored)


def _unusable(entry: os.DirEntry[str]) -> str:
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return "the name is not UTF-8"
    if entry.is_symlink():
        return "it is a symbolic link"
    return "" if entry.is_dir() or entry.is_file() else "it is neither a folder nor a file"


def _local(step: int, entries: list[os.DirEntry[str]]) -> Local:
    names = tuple(entry.name for entry in entries)
    return Local(step, names, names == (str(step),) and entries[0].is_dir())


class Stillness:
    """Tells when a checkpoint that was written in its place is no longer written to, as nothing else says so."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`seconds`: for how long its files must have stayed the same."""
        self._seconds, self._clock = seconds, clock
        self._seen: dict[int, tuple[Mapping[str, Stat], float]] = {}
        self._taken: dict[int, Mapping[str, Stat]] = {}

    def is_still(self, step: int, stats: Mapping[str, Stat]) -> bool:
        """Whether nothing changed since an earlier look, long enough ago."""
        now = self._clock()
        seen, since = self._seen.get(step, (None, now))
        if seen != stats:
            self._seen[step] = (dict(stats), now)
            return False
        return now - since >= self._seconds

    def take(self, step: int, stats: Mapping[str, Stat]) -> None:
        """The checkpoint is published as it is."""
        self._taken[step] = dict(stats)

    def was_written_to(self, step: int, stats: Mapping[str, Stat]) -> bool:
        """Whether a checkpoint was taken too early. One of which files go away is being removed: that is none."""
        taken = self._taken.get(step)
        return taken is not None and taken != stats and taken.keys() <= stats.keys()


def to_publish(local: Collection[int], settled: Collection[int], keep: int) -> list[int]:
    """Steps to publish, newest first, because after an outage the newest is worth most.

    Only those that belong to the newest `keep` of all: publishing others would be followed by pruning them.
    `settled` are published, or not to be published.
    """
    newest = sorted({*local, *settled}, reverse=True)[: max(1, keep)]
    return [step for step in newest if step in local and step not in settled]


def to_prune(published: Collection[int], present: Collection[int], keep: int) -> list[int]:
    """Steps to delete: everything `present` that is older than the newest `keep` `published` ones, oldest first.

    What is present without being published (of a writer that died) goes with its contemporaries, never before them.
    """
    kept = sorted(published, reverse=True)[: max(1, keep)]
    if len(kept) < max(1, keep):
        return []
    return sorted(step for step in present if step < kept[-1])
