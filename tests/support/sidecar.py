"""The sidecar of a training pod on a store in memory, and a test in the part of the trainer."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fovea_agent.report import Reporter
from fovea_agent.restore import published_numbers, read_manifest
from fovea_agent.settings import WorkVolume
from fovea_agent.sync import Sync
from fovea_api.contract import environment, storage
from fovea_api.contract.plan import TrainingPlan
from support.memory_store import MemoryStore

PLAN = TrainingPlan(namespace="vision", job="digits", uid="uid", attempt=1, checkpoint_keep=3, cache="features")


class Store(MemoryStore):
    """Calls `before` ahead of each write (what, as in `writes`)."""

    before: Callable[[str], None] = staticmethod(lambda _: None)

    def _write(self, what: str, effect: Callable[[], None]) -> None:
        self.before(what)
        super()._write(what, effect)


class Pod:
    """A sidecar's view of its pod, and the trainer's."""

    def __init__(self, folder: Path, plan: TrainingPlan = PLAN, store: Store | None = None) -> None:
        self.folder = folder
        self.work = WorkVolume(folder / "work", folder / "state")
        folder = self.work.root
        mask = os.umask(0o022)
        self.work.prepare()
        os.umask(mask)
        self.store = store or Store()
        self.sync = Sync(
            plan, self.store, self.work, Reporter("", folder, folder, self.work.progress), transfers=1, settle=0
        )

    def write(self, directory: str, files: dict[str, bytes]) -> Path:
        folder = self.work.directory(directory)
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder

    def checkpoint(self, *steps: int, data: bytes | None = None) -> None:
        """Checkpoints that appear by rename."""
        folder = self.work.directory(environment.CHECKPOINT_DIR)
        for step in steps:
            unfinished = (
                self.write(environment.CHECKPOINT_DIR, {f".{step}/weights": data or b"w%d" % step}) / f".{step}"
            )
            os.utime(unfinished, (1, 1))  # as if it had been written more than a tick of the clock before
            unfinished.rename(folder / str(step))

    def named(self, name: str, data: bytes = b"w") -> None:
        """A checkpoint that is written in its place, under any name: a folder when the name ends in a slash."""
        self.write(environment.CHECKPOINT_DIR, {f"{name}weights" if name.endswith("/") else name: data})

    def next_attempt(self) -> "Pod":
        """The pod of the attempt after this one: the same store, an empty volume."""
        plan = replace(self.sync.plan, attempt=self.sync.plan.attempt + 1)
        return Pod(self.folder.with_name(f"attempt-{plan.attempt}"), plan, self.store)

    def remove(self, *steps: int) -> None:
        for step in steps:
            shutil.rmtree(self.work.directory(environment.CHECKPOINT_DIR) / str(step))

    def published(self) -> dict[int, bytes]:
        """Steps that can be restored, with the content of their only file."""
        parent = storage.checkpoints(self.sync.job)
        found = {}
        for step in published_numbers(self.store, parent):
            (entry,) = read_manifest(self.store, f"{parent}/{step}").entries
            found[step] = self.store.read(f"{parent}/{step}/{entry.key}")
        return found

    def published_steps(self) -> set[int]:
        """Steps that can be restored."""
        parent = storage.checkpoints(self.sync.job)
        return set(published_numbers(self.store, parent))

    def end(self) -> None:
        self.sync.ended.set()
        self.termination = self.sync.run()
