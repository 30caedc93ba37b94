"""The sidecar of an evaluator: brings the newest checkpoint of the job into the pod, and publishes what was measured.

One checkpoint at a time: the next one comes when the program has left the folder of the one before, or has put it aside. What
the evaluator needs is *held*: an object in the store says so, and the chief's sidecar prunes no checkpoint that is held. Held
are the checkpoint in the pod and the best one so far.
"""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from fovea_api.contract import environment, storage
from fovea_api.contract.evaluation import Best
from fovea_api.contract.plan import TrainingPlan

from fovea_agent import log
from fovea_agent.checkpoints import survey
from fovea_agent.errors import Corrupt, Missing, Vanished, VolumeProblem
from fovea_agent.evaluation import LARGEST, too_large
from fovea_agent.folder import Folder
from fovea_agent.held import held_before
from fovea_agent.proof import unproven_numbers
from fovea_agent.prune import prune
from fovea_agent.publish import Publication, publish
from fovea_agent.report import Reporter
from fovea_agent.restore import (
    is_number,
    published_numbers,
    read_manifest,
    restore_newest,
    restore_to,
    stored_numbers,
)
from fovea_agent.sending import Sending
from fovea_agent.settings import POLL, WorkVolume
from fovea_agent.store import Store

KEPT = 10
"""Evaluations of an attempt that stay published: the newest one has the numbers of all."""
STORE_EVERY = 5
"""Looks at the volume for each look into the store."""


@dataclass
class Following:
    """One run of the sidecar."""

    plan: TrainingPlan
    work: WorkVolume
    sending: Sending
    reporter: Reporter
    poll: float = POLL
    best: Best | None = None
    _before: Best | None = None
    _published: set[int] = field(default_factory=set)
    """Steps of which the evaluation is published."""
    _placed: int = -1
    """Step of the checkpoint that was brought last."""
    _held: set[int] = field(default_factory=set)
    _alone: bool = False
    """Whether nothing is held any more for attempts before this one."""
    _due: float = 0.0

    def __post_init__(self) -> None:
        self.job = storage.job(self.plan.namespace, self.plan.job, self.plan.uid)
        self.checkpoints = self.work.directory(environment.CHECKPOINT_DIR)

    def look(self) -> None:
        """One round: publish what was measured, then bring the next checkpoint."""
        self._publish_evaluations()
        self._let_go()
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + STORE_EVERY * self.poll
            self._bring()

    def finish(self) -> None:
        """The program has ended: publish the rest."""
        self._publish_evaluations()
        self._placed = -1
        self._let_go()
        folder = Folder(self.work.root, self.work.relative(environment.LOG_DIR))
        if folder.listing().files:
            attempt = self.plan.attempt
            at = storage.evaluator_events(self.job, attempt)
            publish(self.sending, folder, Publication(at, "files", attempt, whole=False, replaces=True))

    def _publish_evaluations(self) -> None:
        output = self.work.directory(environment.OUTPUT_DIR)
        parent = storage.evaluations(self.job, self.plan.attempt)
        steps = sorted(int(path.name) for path in output.iterdir() if is_number(path.name) and path.is_dir())
        for step in steps:
            if step in self._published:
                continue
            folder = Folder(self.work.root, f"{self.work.relative(environment.OUTPUT_DIR)}/{step}")
            publication = Publication(f"{parent}/{step}", "files", self.plan.attempt, whole=False, replaces=True)
            try:
                publish(self.sending, folder, publication)
                self._take_best(folder)
            except Vanished as error:  # the program keeps the newest ones only
                log.info("not published: it is gone", evaluation=step, error=error.message)
            except VolumeProblem as error:  # the next checkpoint comes all the same
                log.warning("not published: it cannot be read", evaluation=step, error=error.message)
            self._published.add(step)
            prune(self.sending.store, parent, KEPT)

    def _take_best(self, folder: Folder) -> None:
        """The best checkpoint by the program's word: one that was pruned before it was measured cannot be kept."""
        with folder.open(environment.EVALUATION_FILE) as file:
            text = file.read(LARGEST + 1)
        found = None if too_large(len(text)) else Best.from_json(text)
        if found is None or found == self.best:
            return
        if self.sending.store.find(storage.manifest(storage.checkpoint(self.job, found.step))) is None:
            log.warning("the best checkpoint is not in the store: the best before it stays", step=found.step)
            return
        self._hold(found.step)
        self._before, self.best = self.best, found
        self.reporter.best = found
        log.info("best checkpoint", step=found.step, metric=found.metric, value=found.value)

    def _hold(self, step: int) -> None:
        self.sending.store.put_if_absent(storage.held(self.job, self.plan.attempt, step), b"")
        self._held.add(step)

    def _let_go(self) -> None:
        """Release what is neither in the pod, yet to be measured, nor the best."""
        # The status may still name the best before.
        needed = {each.step for each in (self.best, self._before) if each}
        if self._placed not in self._published:
            needed.add(self._placed)
        gone = [storage.held(self.job, self.plan.attempt, step) for step in self._held - needed]
        if not self._alone and self.best is not None:
            gone += held_before(self.sending.store, self.job, self.plan.attempt)
            self._alone = True
        if gone:
            self.sending.store.remove(gone)
        self._held &= needed

    def _bring(self) -> None:
        """The newest checkpoint that is known to be whole, once the program is done with the one before."""
        present = survey(self.checkpoints).steps
        if self._placed in present and self._placed not in self._published:
            return
        store, parent = self.sending.store, storage.checkpoints(self.job)
        newer = {step for step in published_numbers(store, parent) if step > max(self._placed, *self._published, -1)}
        whole = newer - unproven_numbers(store, parent, newer)
        if not whole:
            return
        step = max(whole)
        self._hold(step)
        try:
            manifest = read_manifest(store, f"{parent}/{step}")
            restore_to(store, f"{parent}/{step}", manifest, self.checkpoints, self.work.staging, self.sending.transfers)
        except (Corrupt, Missing) as error:  # it was pruned meanwhile, or will be passed over by the chief as well
            log.warning("passed over", checkpoint=step, error=error.message)
        else:
            log.info("brought", checkpoint=step, digest=manifest.digest, bytes=manifest.size)
        self._placed = step
        for other, local in present.items():
            for name in local.names if other != step else ():
                _remove(self.checkpoints / name)


def restore_measured(store: Store, plan: TrainingPlan, work: WorkVolume, transfers: int) -> None:
    """What attempts before this one have measured last: the program goes on from that. What cannot be read is measured again."""
    job = storage.job(plan.namespace, plan.job, plan.uid)
    output = work.directory(environment.OUTPUT_DIR)
    for attempt in sorted(stored_numbers(store, storage.evaluators(job)), reverse=True):
        try:
            if restore_newest(store, storage.evaluations(job, attempt), output, work.staging, transfers):
                return
        except Corrupt as error:
            log.warning("nothing can be read of what was measured", attempt=attempt, error=error.message)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
