"""Which checkpoints to publish and which to prune: pure planning, and the folder it is planned from."""

from collections.abc import Collection
from pathlib import Path

from fovea_agent.restore import is_number


def local_steps(folder: Path) -> set[int]:
    """Steps of the checkpoints in a folder: sub-folders with a decimal name, which appear by rename."""
    if not folder.is_dir():
        return set()
    return {int(e.name) for e in folder.iterdir() if is_number(e.name) and e.is_dir() and not e.is_symlink()}


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
