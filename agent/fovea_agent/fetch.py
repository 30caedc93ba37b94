"""What a training pod needs before its trainer starts: `fovea-agent fetch`, the init container."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fovea_api.contract import environment, exit_codes, report, saved_model, storage
from fovea_api.contract.manifest import Manifest
from fovea_api.contract.plan import TrainingPlan
from fovea_api.contract.report import Published, Termination

from fovea_agent import log
from fovea_agent.errors import Corrupt, Misconfigured, Missing, TooNew
from fovea_agent.evaluation import Measured, metrics_of, too_large
from fovea_agent.fence import raise_fence
from fovea_agent.following import restore_measured
from fovea_agent.inputs import Inputs
from fovea_agent.leavings import Leavings
from fovea_agent.proof import Doubt, doubted, is_unproven
from fovea_agent.publish import describe
from fovea_agent.restore import Restored, Resumed, newest_first, published_numbers, read_manifest, restore_newest
from fovea_agent.settings import DEFAULT_TRANSFERS, WorkVolume
from fovea_agent.store import Store


@dataclass(frozen=True)
class Fetch:
    """One run of `fetch`."""

    plan: TrainingPlan
    store: Store
    work: WorkVolume
    transfers: int = DEFAULT_TRANSFERS

    @property
    def job(self) -> str:
        """Prefix of everything the job publishes."""
        return storage.job(self.plan.namespace, self.plan.job, self.plan.uid)

    def run(self) -> tuple[Termination, int]:
        """Fetch everything; returns what to say and the exit code. Raises AgentError."""
        self.work.prepare()
        if self.plan.publish:
            # The others do not look for themselves: the member that publishes says that nothing is left to do.
            complete = self.find_complete()
            if complete is not None:
                return complete, exit_codes.ALREADY_COMPLETE
            # Only it is fenced: the attempts of the other members are counted for themselves.
            raise_fence(self.store, self.job, self.plan.attempt)
        restored, says = self.restore_checkpoint() if self.plan.restore else (None, "needs no checkpoint")
        folder = self.work.directory(environment.INPUT_DIR)
        inputs = Inputs(self.store, self.job, folder, self.work.staging, self.transfers, self.work.streams)
        leavings = Leavings(self.plan, self.store)
        for item in map(leavings.publication, self.plan.inputs):
            inputs.fetch(item)
        self.restore_cache()
        if self.plan.follows:
            restore_measured(self.store, self.plan, self.work, self.transfers)
        step = restored.number if restored else None
        return Termination(report.REASON_FETCHED, says, checkpoint_step=step), exit_codes.OK

    def find_complete(self) -> Termination | None:
        """The output that an attempt of this job published as complete, if there is one.

        One that cannot be read is passed over, whatever it was: the job goes on from its checkpoint. Raises TooNew for
        one that a newer Fovea has written: it may be complete.
        """
        outputs = storage.outputs(self.job)
        for attempt in newest_first(published_numbers(self.store, outputs)):
            try:
                complete = self._complete(attempt)
            except (Corrupt, Missing) as error:
                log.warning("passed over: this attempt's output cannot be read", attempt=attempt, error=error.message)
                continue
            if complete is not None:
                return complete
        return None

    def _complete(self, attempt: int) -> Termination | None:
        prefix = storage.output(self.job, attempt)
        manifest = read_manifest(self.store, prefix)
        if not manifest.complete:
            return None
        log.info("already complete", publication=prefix, digest=manifest.digest)
        model, problem = self._published_model(attempt)
        measured = self._measured(prefix, manifest)
        return Termination(
            report.REASON_ALREADY_COMPLETE,
            f"attempt {attempt} of this job finished and published its output: nothing is run again",
            output=describe(self.store, prefix, manifest),
            model=model,
            model_problem=problem,
            complete=True,
            metrics=measured.metrics,
            metrics_left_out=measured.left_out,
            main_metric=measured.main,
        )

    def _published_model(self, attempt: int) -> tuple[Published | None, str]:
        """The model, and why it cannot be served."""
        prefix = storage.model(self.job, attempt)
        try:
            manifest = read_manifest(self.store, prefix)
        except Missing:
            return None, ""
        problem = saved_model.problem([entry.path for entry in manifest.entries], f"${environment.MODEL_DIR}")
        return describe(self.store, prefix, manifest), problem

    def _measured(self, prefix: str, manifest: Manifest) -> Measured:
        for entry in manifest.entries:
            if entry.path == environment.EVALUATION_FILE and not too_large(entry.size):
                try:
                    return metrics_of(self.store.read(f"{prefix}/{entry.key}"))
                except Missing as error:
                    # A user deleted it, which is no order to run the job again.
                    log.warning("the metrics of the output are gone", error=error.message)
        return Measured()

    def restore_checkpoint(self) -> tuple[Restored | None, str]:
        """The newest valid checkpoint of this job, else of the job it continues; and a sentence about it."""
        parent = storage.checkpoints(self.job)
        doubts = doubted(self.store, parent, [(self.store, self.job)])
        given_up = [step for step, doubt in doubts.items() if doubt.firm]
        own = self._newest(self.store, parent, doubts, given_up)
        if own is not None:
            self._remember(self.store, parent, own, own.passed_over, own.doubted)
            return own, f"resumed from this job's checkpoint {own.number}{_said_of(own, doubts)}"
        if not self.plan.checkpoint_from:
            if doubts:
                Resumed(None, "", doubted=tuple(doubts)).write(self.work.restored)
            return None, f"started from the beginning{_passed_over(_reasons(doubts))}"
        begin = Leavings(self.plan, self.store).checkpoints()
        try:
            location = storage.Location.parse(begin)
            source = self.store.at(location.bucket)
        except ValueError as error:
            raise Misconfigured(f"spec.checkpoint.from, {begin!r}: {error}") from error
        parent = storage.checkpoints(location.key)
        others = doubted(source, parent, [(source, location.key), (self.store, self.job)])
        other = self._newest(source, parent, others)
        if other is None:
            raise Missing(
                f"no checkpoint is at {begin}: that job never existed, it published none, or its data was deleted; "
                "spec.checkpoint.from must name a job that has published one",
                reason="CheckpointMissing",
            )
        # What was passed over there is another job's, and that job's to replace.
        self._remember(source, parent, other, (), doubts)
        return other, f"continues from checkpoint {other.number} of {begin}{_said_of(other, others)}"

    def _newest(
        self, store: Store, parent: str, doubts: Mapping[int, Doubt], given_up: Collection[int] = ()
    ) -> Restored | None:
        folder, why = self.work.directory(environment.CHECKPOINT_DIR), _reasons(doubts)
        try:
            return restore_newest(
                store, parent, folder, self.work.staging, self.transfers, doubted=why, given_up=given_up
            )
        except Corrupt as error:
            raise Corrupt(
                f"{error.message}; delete {storage.Location(store.bucket, parent)} to start from the beginning",
                reason="CheckpointCorrupt",
            ) from error
        except TooNew as error:
            raise TooNew(
                f"{error.message}; then submit a job that goes on from it with spec.checkpoint.from. To go on without it "
                f"instead, delete it: {storage.Location(store.bucket, parent)}/<step>"
            ) from error

    def _remember(
        self, store: Store, parent: str, restored: Restored, passed_over: Collection[int], doubts: Collection[int]
    ) -> None:
        unproven = is_unproven(store, f"{parent}/{restored.number}")
        resumed = Resumed(restored.number, restored.manifest.digest, tuple(passed_over), tuple(doubts), unproven)
        resumed.write(self.work.restored)

    def restore_cache(self) -> None:
        """The newest generation of the job's cache, if it has one; a cache that does not verify is an empty one."""
        if not self.plan.cache:
            return
        parent = storage.cache(self.plan.namespace, self.plan.cache)
        generations = self.work.staging / "cache"
        try:
            found = restore_newest(self.store, parent, generations, self.work.staging, self.transfers)
        except (Corrupt, TooNew) as error:
            log.warning("the cache starts empty: no generation of it can be read", cache=parent, error=error.message)
            return
        if found is None:
            return
        target = self.work.directory(environment.CACHE_DIR)
        for item in (generations / str(found.number)).iterdir():
            item.rename(target / item.name)


def _reasons(doubts: Mapping[int, Doubt]) -> dict[int, str]:
    return {step: doubt.why for step, doubt in doubts.items()}


def _said_of(restored: Restored, doubts: Mapping[int, Doubt]) -> str:
    """What there is to say of one that was restored: what was passed over, and that it is doubted itself."""
    passed_over = _passed_over(restored.passed_over | restored.doubted)
    if restored.number not in doubts:
        return passed_over
    return f"{passed_over}, as there is no other one that can be read; doubted: {doubts[restored.number].why}"


def _passed_over(steps: Mapping[int, str]) -> str:
    if not steps:
        return ""
    return f" (passed over {', '.join(map(str, steps))}: {'; '.join(steps.values())})"
