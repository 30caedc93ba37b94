"""Publishes a job's checkpoints as they appear, newest first, and prunes those beyond the plan's number.

One that cannot be published is named and left out: it stops neither another one nor anything else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from fovea_api.contract import environment, storage
from fovea_api.contract.plan import TrainingPlan

from fovea_agent import log
from fovea_agent.checkpoints import Local, Stillness, survey, to_publish
from fovea_agent.errors import AgentError, Conflict, Vanished, VolumeProblem
from fovea_agent.folder import Folder
from fovea_agent.left_out import LeftOut
from fovea_agent.prune import prune
from fovea_agent.publish import Publication, publish
from fovea_agent.report import Checkpointed, Reporter
from fovea_agent.restore import Resumed, published_numbers, read_manifest
from fovea_agent.sending import Known, Sending
from fovea_agent.settings import SETTLE, WorkVolume


@dataclass
class Checkpoints:
    """A job's checkpoints, on the volume and in the store."""

    plan: TrainingPlan
    work: WorkVolume
    sending: Sending
    reporter: Reporter
    left_out: LeftOut
    settle: float = SETTLE
    """Seconds for which a checkpoint that does not appear by rename must have stayed the same."""
    _settled: set[int] = field(default_factory=set)
    """Steps of this job that have a checkpoint in the store."""
    _failed: set[int] = field(default_factory=set)
    """Steps that could not be published when they were last tried: they are tried again, and nothing waits for them."""
    _given: set[int] = field(default_factory=set)
    """The step that another job's checkpoint was restored to: not ours to publish, nor to compare with ours."""

    def __post_init__(self) -> None:
        self.job = storage.job(self.plan.namespace, self.plan.job, self.plan.uid)
        self._still = Stillness(self.settle)

    @property
    def newest(self) -> int | None:
        """Step of the newest checkpoint in the store."""
        return max(self._settled, default=None)

    def withdraw_passed_over(self) -> None:
        """Delete the manifests that `fetch` found not to verify: their steps are free again, for this attempt's own.

        The payload stays; it is pruned with its contemporaries.
        """
        resumed = Resumed.read(self.work.restored)
        if resumed is None or not resumed.passed_over:
            return
        for step in resumed.passed_over:
            self._withdraw(step, "this checkpoint did not verify")
        # Before anything is published: a sidecar that is started again must not withdraw what this one put there.
        replace(resumed, passed_over=()).write(self.work.restored)

    def _withdraw(self, step: int, why: str) -> None:
        key = storage.manifest(storage.checkpoint(self.job, step))
        self.sending.store.remove([key])
        self._settled.discard(step)
        log.warning(f"withdrawn: {why}", step=step, manifest=key)

    def find_published(self) -> None:
        """What is published already: of earlier attempts, or of this one before the sidecar was restarted."""
        store, parent = self.sending.store, storage.checkpoints(self.job)
        published = published_numbers(store, parent)
        self._settled.update(published)
        resumed = Resumed.read(self.work.restored)
        if resumed is not None and resumed.step not in published:
            self._given.add(resumed.step)
        if published:
            newest = max(published)
            digest = read_manifest(store, storage.checkpoint(self.job, newest)).digest
            self.reporter.checkpointed(Checkpointed(newest, digest, _rfc3339(published[newest].modified)))

    def waiting(self, *, ended: bool = False) -> dict[int, Local]:
        """Checkpoints on the volume that are finished, by step; `ended`: nobody writes to them any more."""
        found = survey(self.work.directory(environment.CHECKPOINT_DIR))
        for name, why in found.ignored.items():
            self.left_out.put(self._path(name), why)
        return {step: local for step, local in found.steps.items() if self._is_finished(local, ended)}

    def wait(self) -> bool:
        """Whether one is to be published that the last round did not fail to publish."""
        candidates = self.waiting().keys() - self._given - self._failed
        return bool(to_publish(candidates, self._settled, self.plan.checkpoint_keep))

    def _is_finished(self, local: Local, ended: bool) -> bool:
        if local.whole or ended or local.step in self._settled:
            return True
        try:
            return self._still.is_still(local.step, self._folder(local).listing().stats)
        except VolumeProblem:
            return False

    def publish(self, *, ended: bool = False, pause: Callable[[], None] = lambda: None) -> None:
        """Publish what has appeared, newest first, and prune. Looks anew after each: the trainer goes on meanwhile.

        `pause` raises Postponed when something else comes first.
        """
        tried = set(self._given)
        self._take_back()
        while True:
            local = self.waiting(ended=ended)
            steps = to_publish(local.keys() - tried, self._settled, self.plan.checkpoint_keep)
            if not steps:
                return
            tried.add(steps[0])
            if self._publish(local[steps[0]], pause):
                self._failed.discard(steps[0])
                self.prune()
            else:
                self._failed.add(steps[0])

    def _take_back(self) -> None:
        """Withdraw what was taken for finished and was written to afterwards; it is published again."""
        for step, local in survey(self.work.directory(environment.CHECKPOINT_DIR)).steps.items():
            if local.whole or step not in self._settled:
                continue
            try:
                stats = self._folder(local).listing().stats
            except VolumeProblem:
                continue
            if self._still.was_written_to(step, stats):
                self._withdraw(step, "the program wrote to this checkpoint after it was published")

    def _publish(self, local: Local, pause: Callable[[], None]) -> bool:
        step, subject = local.step, self._path(", ".join(local.names))
        publication = Publication(
            storage.checkpoint(self.job, step),
            str(self.plan.attempt),
            self.plan.attempt,
            step=step,
            named=local.names != (str(step),) or not local.whole,
        )
        sending = replace(self.sending, pause=pause, known=Known())
        try:
            with self._folder(local).held() as held:  # the trainer may remove it while it is on its way
                published = publish(sending, held, publication)
                stats = held.listing().stats
        except Vanished as error:
            # If it is still there, the next round tries again: every second, so it is said once.
            self.left_out.put(subject, f"it was removed or changed: {error.message}", lasting=False)
            return False
        except VolumeProblem as error:
            self.left_out.put(subject, error.message)
            return False
        except Conflict as error:
            # An earlier attempt came as far; its checkpoint is as good as ours, and there is only one per step.
            log.warning("checkpoint not published: this step has one", step=step, error=error.message)
            self._settled.add(step)
            return False
        self.left_out.forget(subject)
        if not local.whole:
            self._still.take(step, stats)
        if step > max(self._settled, default=-1):
            self.reporter.checkpointed(Checkpointed(step, published.digest, _rfc3339(datetime.now(UTC))))
        self._settled.add(step)
        return True

    def prune(self) -> None:
        """Delete published checkpoints beyond the plan's number: manifest first, so that no reader starts on one."""
        parent = storage.checkpoints(self.job)
        try:
            prune(self.sending.store, parent, self.plan.checkpoint_keep)
        except AgentError as error:
            # What is left over is pruned with the next; it is no reason to end, least of all a job that has finished.
            log.warning("not pruned", publications=parent, error=error.message)

    def _folder(self, local: Local) -> Folder:
        relative = self.work.relative(environment.CHECKPOINT_DIR)
        if local.whole:
            return Folder(self.work.root, f"{relative}/{local.step}")
        return Folder(self.work.root, relative, local.names)

    def _path(self, names: str) -> str:
        path = f"{environment.DIRECTORIES[environment.CHECKPOINT_DIR]}/{names}"
        return path.encode(errors="backslashreplace").decode()


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
