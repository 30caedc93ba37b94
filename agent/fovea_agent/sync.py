"""What a training pod leaves behind: `fovea-agent sync`, the native sidecar.

Publishes checkpoints as they appear; SIGTERM says that the trainer has ended, and then publishes everything else. The
output comes last: its manifest is what tells the operator, and the next attempt's `fetch`, that all is there. Only the
cache, which is no part of the result, comes after it.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from fovea_api.contract import environment, report, saved_model, storage
from fovea_api.contract.plan import TrainingPlan
from fovea_api.contract.report import ProgressReport, Published, Termination

from fovea_agent import log
from fovea_agent.checkpoints import local_steps, to_publish
from fovea_agent.errors import AgentError, Conflict, Corrupt, Missing, Vanished, VolumeProblem
from fovea_agent.evaluation import LARGEST, metrics_of, too_large
from fovea_agent.fence import check_fence
from fovea_agent.folder import Folder
from fovea_agent.prune import prune
from fovea_agent.publish import Publication, Sending, contents, manifest_of, publish
from fovea_agent.report import Checkpointed, Reporter
from fovea_agent.restore import Resumed, published_numbers, read_manifest
from fovea_agent.settings import DEFAULT_TRANSFERS, POLL, WorkVolume
from fovea_agent.store import Store

TRIES = 3
KEPT_GENERATIONS = 2
"""Of a cache: the newest, and the one before it, which somebody may be restoring."""


@dataclass
class Sync:
    """One run of `sync`."""

    plan: TrainingPlan
    store: Store
    work: WorkVolume
    reporter: Reporter
    poll: float = POLL
    transfers: int = DEFAULT_TRANSFERS
    tell: Callable[[Termination], object] = lambda _: None
    """Hears that everything is published before the cache is: whatever becomes of this process then, that holds."""
    ended: threading.Event = field(default_factory=threading.Event)
    _settled: set[int] = field(default_factory=set)
    """Steps of this job that have a checkpoint in the store."""
    _given: set[int] = field(default_factory=set)
    """The step that another job's checkpoint was restored to: not ours to publish, nor to compare with ours."""
    _passed_over: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.job = storage.job(self.plan.namespace, self.plan.job, self.plan.uid)
        self.sending = Sending(self.store, self.work.uploads, self._check_fence, self.transfers)

    def trainer_ended(self, grace: float) -> None:
        """The trainer has ended: publish the rest within `grace` seconds. For a thread, not for a signal handler."""
        self.store.patience.end_at(time.monotonic() + grace)
        self.ended.set()

    def run(self) -> Termination:
        """Publish until the trainer has ended, then the rest; returns what to say. Raises AgentError."""
        self.work.uploads.mkdir(parents=True, exist_ok=True)
        self.reporter.start()
        try:
            if not self.plan.publish:
                self.ended.wait()
                return Termination(report.REASON_NOTHING_TO_PUBLISH, "this pod publishes nothing: the chief does")
            return self._publish()
        finally:
            self.reporter.stop(self.store.patience.left())

    def _publish(self) -> Termination:
        self._check_fence()
        self._withdraw_passed_over()
        self._find_published()
        while not self.ended.is_set():
            self.publish_checkpoints()
            self.ended.wait(self.poll)
        return self._publish_rest()

    def _check_fence(self) -> None:
        check_fence(self.store, self.job, self.plan.attempt)

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def _withdraw_passed_over(self) -> None:
        """Delete the manifests that `fetch` found not to verify: their steps are free again, for this attempt's own.

        The payload stays; it is pruned with its contemporaries.
        """
        resumed = Resumed.read(self.work.restored)
        if resumed is None or not resumed.passed_over:
            return
        for step in resumed.passed_over:
            key = storage.manifest(storage.checkpoint(self.job, step))
            self.store.remove([key])
            log.warning("withdrawn: this checkpoint did not verify", step=step, manifest=key)
        # Before anything is published: a sidecar that is started again must not withdraw what this one put there.
        replace(resumed, passed_over=()).write(self.work.restored)

    def _find_published(self) -> None:
        """What is published already: of earlier attempts, or of this one before the sidecar was restarted."""
        parent = storage.checkpoints(self.job)
        published = published_numbers(self.store, parent)
        self._settled.update(published)
        resumed = Resumed.read(self.work.restored)
        if resumed is not None and resumed.step not in published:
            self._given.add(resumed.step)
        if published:
            newest = max(published)
            digest = read_manifest(self.store, storage.checkpoint(self.job, newest)).digest
            self.reporter.checkpointed(Checkpointed(newest, digest, _rfc3339(published[newest].modified)))

    def publish_checkpoints(self) -> None:
        """Publish what has appeared, newest first, and prune. Looks anew after each: the trainer goes on meanwhile."""
        directory, keep = self.work.directory(environment.CHECKPOINT_DIR), self.plan.checkpoint_keep
        tried = set(self._given)
        while steps := to_publish(local_steps(directory) - tried, self._settled, keep):
            tried.add(steps[0])
            if self._publish_checkpoint(steps[0]):
                self.prune_checkpoints()

    def _publish_checkpoint(self, step: int) -> bool:
        publication = Publication(
            storage.checkpoint(self.job, step), str(self.plan.attempt), self.plan.attempt, step=step
        )
        folder = Folder(self.work.root, f"{self.work.relative(environment.CHECKPOINT_DIR)}/{step}")
        try:
            with folder.held() as held:  # the trainer may remove it while it is on its way
                published = publish(self.sending, held, publication)
        except Vanished as error:
            # If it is still there, the next round tries again: every second, so it is said once.
            if step not in self._passed_over:
                log.warning("checkpoint not published: it was removed or changed", step=step, error=error.message)
            self._passed_over.add(step)
            return False
        except Conflict as error:
            # An earlier attempt came as far; its checkpoint is as good as ours, and there is only one per step.
            log.warning("checkpoint not published: this step has one", step=step, error=error.message)
            self._settled.add(step)
            return False
        if step > max(self._settled, default=-1):
            self.reporter.checkpointed(Checkpointed(step, published.digest, _rfc3339(datetime.now(UTC))))
        self._settled.add(step)
        return True

    def prune_checkpoints(self) -> None:
        """Delete published checkpoints beyond the plan's number: manifest first, so that no reader starts on one."""
        parent = storage.checkpoints(self.job)
        try:
            prune(self.store, parent, self.plan.checkpoint_keep)
        except AgentError as error:
            # What is left over is pruned with the next; it is no reason to end, least of all a job that has finished.
            log.warning("not pruned", publications=parent, error=error.message)

    # -- the end ----------------------------------------------------------------------------------------------------

    def _publish_rest(self) -> Termination:
        log.info("the trainer has ended: publishing the rest")
        self.reporter.publishing()
        self.publish_checkpoints()
        complete = (self.work.directory(environment.OUTPUT_DIR) / environment.SUCCESS_MARKER).is_file()
        attempt = self.plan.attempt
        model = self._publish_folder(environment.MODEL_DIR, storage.model(self.job, attempt))
        self._publish_folder(environment.LOG_DIR, storage.tensorboard(self.job, attempt))
        output = self._publish_folder(
            environment.OUTPUT_DIR, storage.output(self.job, attempt), complete=complete, empty=True
        )
        metrics, left_out = self._metrics()
        marker = "complete" if complete else f"without {environment.SUCCESS_MARKER}"
        termination = Termination(
            report.REASON_PUBLISHED,
            f"published the output ({marker})" + (" and the model" if model else ""),
            output=output,
            model=model,
            checkpoint_step=max(self._settled, default=None),
            complete=complete,
            metrics=metrics,
            metrics_left_out=left_out,
            model_problem=self._model_problem() if model else "",
            progress=self._progress(),
        )
        self.tell(termination)
        if complete and self.plan.cache:
            self.publish_cache()
        return termination

    def _publish_folder(
        self, name: str, prefix: str, *, complete: bool = False, empty: bool = False
    ) -> Published | None:
        if not os.path.lexists(self.work.directory(name)):  # the program removed it: it leaves nothing
            self.work.directory(name).mkdir(parents=True)
        folder = Folder(self.work.root, self.work.relative(name))
        if not empty and not folder.files():
            return None
        return self._publish_settled(folder, Publication(prefix, "files", self.plan.attempt, complete))

    def _publish_settled(self, folder: Folder, publication: Publication) -> Published:
        """Publish a folder that nobody should write to any more; a straggler of the trainer may, for a moment."""
        for _ in range(TRIES - 1):
            try:
                return publish(self.sending, folder, publication)
            except Vanished as error:
                log.warning("a file changed while it was published: trying again", error=error.message)
        return publish(self.sending, folder, publication)

    def publish_cache(self) -> None:
        """Publish the cache as its next generation, unless the newest holds the same. Never worth failing for."""
        try:
            self._publish_generation()
        except (AgentError, OSError) as error:
            log.warning("cache not published", cache=self.plan.cache, error=str(error))
        except Exception:  # noqa: BLE001 - a defect, said with its traceback: the output that is published holds
            log.error("cache not published", with_traceback=True, cache=self.plan.cache)

    def _publish_generation(self) -> None:
        folder = Folder(self.work.root, self.work.relative(environment.CACHE_DIR))
        parent = storage.cache(self.plan.namespace, self.plan.cache)
        if not folder.files():
            return
        for _ in range(TRIES):
            newest = max(published_numbers(self.store, parent), default=0)
            # Two jobs may publish the same generation at once: payload folders of their own, and one manifest wins.
            payload = f"{self.plan.uid}-{self.plan.attempt}"
            try:
                if not newest or not self._is_generation(folder, f"{parent}/{newest}"):
                    publish(self.sending, folder, Publication(f"{parent}/{newest + 1}", payload, self.plan.attempt))
                break
            except (Conflict, Vanished) as error:
                log.warning("cache not published: trying again", error=error.message)
        prune(self.store, parent, KEPT_GENERATIONS)

    def _is_generation(self, folder: Folder, prefix: str) -> bool:
        try:
            newest = read_manifest(self.store, prefix)
        except (Corrupt, Missing):
            return False
        files = contents(self.sending, folder, folder.files())
        return manifest_of(Publication(prefix, "", self.plan.attempt), files).digest == newest.digest

    def _progress(self) -> ProgressReport | None:
        try:
            return self.reporter.current()
        except (OSError, VolumeProblem) as error:
            log.warning("the last progress cannot be read", error=str(error))
            return None

    def _model_problem(self) -> str:
        folder = Folder(self.work.root, self.work.relative(environment.MODEL_DIR))
        return saved_model.problem(folder.files(), f"${environment.MODEL_DIR}")

    def _metrics(self) -> tuple[dict[str, float], int]:
        folder = Folder(self.work.root, self.work.relative(environment.OUTPUT_DIR))
        holder = folder.files().get(environment.EVALUATION_FILE)
        if holder is None:
            return {}, 0
        with folder.open(holder) as file:
            return ({}, 0) if too_large(os.fstat(file.fileno()).st_size) else metrics_of(file.read(LARGEST))


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
