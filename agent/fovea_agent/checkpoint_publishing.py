"""Publishes a job's checkpoints as they appear, newest first, and prunes those beyond the plan's number.

One that cannot be published is named and left out: it stops neither another one nor anything else.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from fovea_api.contract import environment, storage
from fovea_api.contract.plan import TrainingPlan

from fovea_agent import log
from fovea_agent.begun import Begun
from fovea_agent.checkpoints import (
    Local,
    Stillness,
    Survey,
    last_change,
    last_written,
    survey,
    to_publish,
    was_renamed,
)
from fovea_agent.errors import AgentError, Conflict, Corrupt, Missing, TooNew, Vanished, VolumeProblem
from fovea_agent.folder import Folder
from fovea_agent.held import held_steps
from fovea_agent.known import Known
from fovea_agent.left_out import LeftOut
from fovea_agent.listing import Stat
from fovea_agent.proof import doubt, is_unproven, prove, unprove, unproven_numbers
from fovea_agent.prune import prune
from fovea_agent.publish import Publication, publish
from fovea_agent.report import Checkpointed, Reporter
from fovea_agent.restore import Resumed, published_numbers, read_manifest
from fovea_agent.sending import Sending
from fovea_agent.settings import POLL, SETTLE, WorkVolume

LONG_STILL = 12
"""Times as long as before it is published a checkpoint that was written in its place must stay the same to be known to be
whole: no pause within the writing of one lasts a minute."""


@dataclass(frozen=True)
class State:
    """The files of a checkpoint on the volume, and whether it seems to have got its name after they were written."""

    stats: Mapping[str, Stat]
    renamed: bool


@dataclass(frozen=True)
class Ready:
    """A checkpoint to be published."""

    local: Local
    proven: bool = False
    """Whether it is known to be whole."""
    again: bool = False
    """Whether it was published before, and written to since."""
    renamed: bool = False


@dataclass(frozen=True)
class Look:
    """One look at the volume: all steps, those that are watched, and those that are ready to be published."""

    found: Survey
    states: Mapping[int, State | None]
    ready: dict[int, Ready] = field(default_factory=dict)

    def went_on_after(self, step: int, stats: Mapping[str, Stat], settle: float) -> bool:
        """Whether the program wrote to another checkpoint when these files had stayed the same for `settle` seconds."""
        then = last_change(stats) + int(settle * 1e9)
        others = (state for other, state in self.states.items() if other != step and state is not None)
        return any(last_written(state.stats) > then for state in others)

    def seems_renamed(self, step: int) -> bool:
        """Whether it is expected to be whole, though it may have to be looked at again."""
        state = self.states.get(step)
        return state is not None and state.renamed


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
    poll: float = POLL
    """Seconds for which one look at the folder answers `wait`."""
    _settled: set[int] = field(default_factory=set)
    """Steps of this job that have a checkpoint in the store."""
    _unproven: set[int] = field(default_factory=set)
    """Those of them that may be torn."""
    _failed: set[int] = field(default_factory=set)
    """Steps that could not be published when they were last tried: they are tried again, and nothing waits for them."""
    _given: set[int] = field(default_factory=set)
    """The step that another job's checkpoint was restored to: not ours to publish, nor to compare with ours."""
    _ignored: set[str] = field(default_factory=set)
    """Names of what was no checkpoint at the last look."""
    _doubted: set[int] = field(default_factory=set)
    """Steps of this job that have a checkpoint which `fetch` passed over: this attempt's own takes its place."""
    _begun: Begun | None = None

    def __post_init__(self) -> None:
        self.job = storage.job(self.plan.namespace, self.plan.job, self.plan.uid)
        self._still = Stillness()
        self._lock = threading.Lock()
        self._waits, self._waits_until = False, 0.0

    @property
    def newest(self) -> int | None:
        """Step of the newest checkpoint in the store."""
        return max(self._settled, default=None)

    def withdraw_passed_over(self) -> None:
        """Delete the manifests of what did not verify when it was fetched: their steps are free again, for this attempt's own.

        The payload stays; it is pruned with its contemporaries.
        """
        resumed = Resumed.read(self.work.restored)
        if resumed is None or not resumed.passed_over:
            return
        for step in resumed.passed_over:
            prefix = storage.checkpoint(self.job, step)
            key = storage.manifest(prefix)
            self.sending.store.remove([key])
            prove(self.sending.store, prefix)  # what takes its place is not torn because of it
            log.warning("withdrawn: this checkpoint was passed over", step=step, manifest=key)
        # Before anything is published: a sidecar that is started again must not withdraw what this one put there.
        replace(resumed, passed_over=()).write(self.work.restored)

    def find_published(self) -> None:
        """What is published already: of earlier attempts, or of this one before the sidecar was restarted."""
        store, parent = self.sending.store, storage.checkpoints(self.job)
        published = published_numbers(store, parent)
        resumed = Resumed.read(self.work.restored)
        restored = resumed.step if resumed is not None else None
        doubted = (step for step in (resumed.doubted if resumed is not None else ()) if step in published)
        self._doubted = {step for step in doubted if not self._is_own(step)}
        self._settled.update(published.keys() - self._doubted)
        self._unproven = unproven_numbers(store, parent, self._settled)
        if restored is not None and restored not in self._settled:
            self._given.add(restored)
        if resumed is not None:
            self._begun = Begun(resumed, own=restored in self._settled)
        for step in self._unproven - {restored}:
            self._still.take_unknown(step)  # of this sidecar before it was restarted: it may have been written to since
        newest = self.newest
        if newest is not None:
            try:
                digest = read_manifest(store, storage.checkpoint(self.job, newest)).digest
            except (Corrupt, Missing, TooNew) as error:  # the next attempt's `fetch` decides on it
                log.warning("the newest checkpoint cannot be read", step=newest, error=error.message)
                return
            self.reporter.checkpointed(Checkpointed(newest, digest, _rfc3339(published[newest].modified)))

    def _is_own(self, step: int) -> bool:
        """Whether this attempt has published this step, before its sidecar was started again."""
        try:
            manifest = read_manifest(self.sending.store, storage.checkpoint(self.job, step))
        except (Corrupt, Missing, TooNew):
            return False
        return manifest.attempt == self.plan.attempt

    def wait(self) -> bool:
        """Whether one is to be published that the last round did not fail to publish. For any thread, at any rate."""
        with self._lock:
            if time.monotonic() >= self._waits_until:
                look = self._look()
                candidates, unsure = look.ready.keys() - self._given - self._failed, self._unsure(look)
                self._waits = bool(to_publish(candidates, self._settled, self.plan.checkpoint_keep, unsure))
                self._waits_until = time.monotonic() + self.poll
            return self._waits

    def publish(self, *, ended: bool = False, finished: bool = False, pause: Callable[[], None] = lambda: None) -> None:
        """Publish what has appeared, newest first, and prune. Looks again after each: the trainer goes on meanwhile.

        `ended`: the program writes to them no more. `finished`: nor was the program killed while it did. `pause` raises
        Postponed when something else comes first.
        """
        tried = set(self._given)
        self._waits_until = 0.0
        while True:
            look = self._look(ended=ended, finished=finished)
            self._prove(look, ended=ended, finished=finished)
            settled = self._settled - {step for step, ready in look.ready.items() if ready.again}
            steps = to_publish(look.ready.keys() - tried, settled, self.plan.checkpoint_keep, self._unsure(look))
            if not steps:
                return
            tried.add(steps[0])
            if self._publish(look.ready[steps[0]], pause):
                self._failed.discard(steps[0])
                self.prune()
            else:
                self._failed.add(steps[0])

    def _unsure(self, look: "Look") -> set[int]:
        """Steps that take no other's place among those that are published."""
        unproven = self._unproven | {step for step, ready in look.ready.items() if not ready.proven}
        return {step for step in unproven if not look.seems_renamed(step)}

    def _look(self, *, ended: bool = False, finished: bool = False) -> "Look":
        """What is on the volume, and what of it is ready to be published."""
        found = survey(self.work.directory(environment.CHECKPOINT_DIR), self._given)
        for name in self._ignored - found.ignored.keys():
            self.left_out.forget(self._path(name))
        for name, why in found.ignored.items():
            self.left_out.put(self._path(name), why)
        self._ignored = set(found.ignored)
        watched = {
            s: local for s, local in found.steps.items() if s not in self._settled or self._still.taken(s) is not None
        }
        look = Look(found, {step: self._state(local) for step, local in watched.items()})
        for step, local in watched.items():
            ready = self._ready(local, look, ended=ended, finished=finished)
            if ready is not None:
                look.ready[step] = ready
        self._still.keep_only(found.steps.keys(), self._unproven)
        return look

    def _ready(self, local: Local, look: "Look", *, ended: bool, finished: bool) -> "Ready | None":
        """Whether a checkpoint is to be published, and what is known of it; None while it may still be written to."""
        step, state = local.step, look.states[local.step]
        again = step in self._settled
        if state is None:  # publishing says what is wrong with it
            return None if again else Ready(local)
        if again and not self._still.was_written_to(step, state.stats):
            return None
        # Once the program has ended everything stays the same, which shows nothing any more.
        still = -1.0 if ended else self._still.still_for(step, state.stats)
        renamed = state.renamed and not again
        proven = finished or (ended and renamed) or self._is_whole(step, state.stats, still, look, renamed=renamed)
        if not (proven or ended or renamed or still >= self.settle):
            return None
        if again and not proven and step not in self._unproven:
            return None  # what may be torn takes no whole one's place
        return Ready(local, proven=proven, again=again, renamed=renamed)

    def _is_whole(self, step: int, stats: Mapping[str, Stat], still: float, look: "Look", *, renamed: bool) -> bool:
        enough = self.settle if renamed else self.settle * LONG_STILL
        return still >= enough or look.went_on_after(step, stats, self.settle)

    def _state(self, local: Local) -> "State | None":
        """What a checkpoint consists of; None when that cannot be read."""
        folder = self._folder(local)
        try:
            stats = folder.listing().stats
            top = folder.root / folder.relative / ("" if local.plain else local.names[0])
            return State(stats, local.folder and was_renamed(top.lstat(), stats))
        except (VolumeProblem, OSError):
            return None

    def _prove(self, look: "Look", *, ended: bool, finished: bool) -> None:
        """Say of published checkpoints that they are whole, once something shows it."""
        if self._begun is not None and self._begun.look(look.found.steps, self.reporter.step(), look.found.damaged):
            self._doubt(self._begun, self._begun.against)
        for step in sorted(self._unproven):
            if not (finished or self._is_proven(step, look, ended=ended)):
                continue
            self._proven(step)
            local = look.found.steps.get(step)
            if local is not None and local.plain and look.seems_renamed(step):
                self._still.forget(step)  # those that are as Fovea asks for them are finished with
            self.prune()

    def _is_proven(self, step: int, look: "Look", *, ended: bool) -> bool:
        taken, state = self._still.taken(step), look.states.get(step)
        if taken is None:
            return self._begun is not None and step == self._begun.resumed.step and self._begun.went_on
        if not taken or (state is not None and self._still.was_written_to(step, state.stats)):
            return False
        if state is None:
            return look.went_on_after(step, taken, self.settle)
        still = -1.0 if ended else self._still.still_for(step, state.stats)
        return (ended and state.renamed) or self._is_whole(step, taken, still, look, renamed=state.renamed)

    def _proven(self, step: int) -> None:
        """Take the mark of a checkpoint away. A store that removes nothing is no reason to publish nothing either."""
        self._unproven.discard(step)
        try:
            prove(self.sending.store, storage.checkpoint(self.job, step))
        except AgentError as error:
            log.warning("this checkpoint stays marked as one that may be torn", step=step, error=error.message)

    def doubt(self) -> None:
        """The program has ended and has not finished: tell the next attempts what speaks against what it began with."""
        if self._begun is None:
            return
        found = self._look().found
        self._begun.look(found.steps, self.reporter.step(), found.damaged)
        by = self._begun.doubt(self.plan.attempt)
        if by:
            self._doubt(self._begun, by)

    def _doubt(self, begun: Begun, by: str) -> None:
        step, store = begun.resumed.step, self.sending.store
        try:
            self.sending.fence()
            if begun.own and step is not None:
                unprove(store, storage.checkpoint(self.job, step))  # nothing goes because of it from now on
                self._unproven.add(step)
            doubt(store, self.job, begun.resumed.digest, by)
        except AgentError as error:
            log.warning("the next attempt may begin with this checkpoint again", step=step, error=error.message)

    def _publish(self, ready: "Ready", pause: Callable[[], None]) -> bool:
        local, step = ready.local, ready.local.step
        prefix, subject = storage.checkpoint(self.job, step), self._path(", ".join(local.names))
        publication = Publication(
            prefix,
            str(self.plan.attempt),
            self.plan.attempt,
            step=step,
            named=not local.plain,
            replaces=ready.again or step in self._doubted,
        )
        sending = replace(self.sending, pause=pause, known=Known())
        try:
            with self._folder(local).held() as held:  # the trainer may remove it while it is on its way
                free = step in self._doubted or sending.store.find(storage.manifest(prefix)) is None
                if free and not ready.proven:
                    sending.fence()  # a newer attempt's checkpoint of this step must not be doubted by this one
                    unprove(sending.store, prefix)
                published = publish(sending, held, publication)
                stats = held.listing().stats
        except Vanished as error:
            # If it is still there, the next round tries again: every second, so it is logged once.
            self.left_out.put(subject, f"it was removed or changed: {error.message}", lasting=False)
            return False
        except VolumeProblem as error:
            self.left_out.put(subject, error.message)
            return False
        except Conflict as error:
            # An earlier attempt came as far; its checkpoint is as good as ours, and there is only one per step.
            log.warning("checkpoint not published: this step has one", step=step, error=error.message)
            self._settled.add(step)
            self._still.forget(step)
            return False
        self.left_out.forget(subject)
        self._published(ready, stats)
        if step >= max(self._settled, default=-1):
            self.reporter.checkpointed(Checkpointed(step, published.digest, _rfc3339(datetime.now(UTC))))
        self._settled.add(step)
        return True

    def _published(self, ready: "Ready", stats: Mapping[str, Stat]) -> None:
        """Remember what is known of a checkpoint that is in the store now."""
        store, step = self.sending.store, ready.local.step
        prefix = storage.checkpoint(self.job, step)
        self._doubted.discard(step)
        if not (ready.proven and ready.renamed and ready.local.plain):  # those are finished with
            self._still.take(step, stats)
        if not ready.proven:
            self._unproven.update({step} if is_unproven(store, prefix) else ())
            return
        self._proven(step)  # a publication of this step that was broken off before may have left the mark

    def prune(self) -> None:
        """Delete published checkpoints beyond the plan's number: manifest first, so that no reader starts on one."""
        parent = storage.checkpoints(self.job)
        try:
            store = self.sending.store
            prune(store, parent, self.plan.checkpoint_keep, held_steps(store, self.job))
        except AgentError as error:
            # What is left over is pruned with the next; it is no reason to end, least of all a job that has finished.
            log.warning("not pruned", publications=parent, error=error.message)

    def _folder(self, local: Local) -> Folder:
        relative = self.work.relative(environment.CHECKPOINT_DIR)
        if local.plain:
            return Folder(self.work.root, f"{relative}/{local.step}")
        return Folder(self.work.root, relative, local.names)

    def _path(self, names: str) -> str:
        path = f"{environment.DIRECTORIES[environment.CHECKPOINT_DIR]}/{names}".rstrip("/")
        return path.encode(errors="backslashreplace").decode()


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
