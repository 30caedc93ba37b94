"""What a training pod leaves behind: `fovea-agent sync`, the native sidecar.

Publishes checkpoints as they appear; SIGTERM says that the trainer has ended, and then publishes everything else. In a pod
that containers of others keep alive the operator says it first: then all is published before the pod begins to end. What
comes first depends on how it ended. A program that has finished (`_SUCCESS`) needs no checkpoint any more: model and
output go first, the output last, since its manifest tells the operator and the next attempt's `fetch` that all is there;
logs, checkpoint and cache follow and fail nothing. One that was interrupted needs its checkpoint before all else.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from fovea_api.contract import environment, report, storage
from fovea_api.contract.plan import TrainingPlan
from fovea_api.contract.report import Published, Termination

from fovea_agent import log
from fovea_agent.ahead import Ahead
from fovea_agent.cache_publishing import CachePublishing
from fovea_agent.checkpoint_publishing import Checkpoints
from fovea_agent.ending import GRACE, began_at, grace_left, seconds_since
from fovea_agent.errors import AgentError, Fenced, Postponed, Unreadable
from fovea_agent.fence import check_fence
from fovea_agent.folder import is_file
from fovea_agent.following import Following
from fovea_agent.left_out import LeftOut
from fovea_agent.program_log import ProgramLog
from fovea_agent.report import Reporter
from fovea_agent.results import Results
from fovea_agent.sending import Sending
from fovea_agent.settings import DEFAULT_TRANSFERS, POLL, SETTLE, WorkVolume
from fovea_agent.store import Store
from fovea_agent.streams import Streams
from fovea_agent.transfer import earlier_prefixes

CHECKPOINTS, RESULTS, EVALUATIONS = "checkpoints", "results that are there already", "evaluations"
"""What fails as a whole while the program runs, in the job's message."""
LONGEST_PAUSE = 60.0
"""Seconds between two rounds of which the first failed, at most."""


def pause_after(failures: int, poll: float) -> float:
    """Seconds until the next round, after `failures` rounds in a row that failed: a round may read large files in vain."""
    return min(max(poll, LONGEST_PAUSE), poll * 2.0 ** min(failures, 16))


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
    """Called when the result is published, before the rest is: it holds, however this process ends."""
    settle: float = SETTLE
    grace: float = GRACE
    """Seconds of the pod's grace period."""
    streams: Streams | None = None
    """Inputs whose shards arrive while the program runs."""
    program_log: ProgramLog | None = None
    """What the program prints; None: nobody hands it out."""
    ended: threading.Event = field(default_factory=threading.Event)
    """The trainer has ended."""
    _pod_ends: threading.Event = field(default_factory=threading.Event)
    _begun: bool = False
    _told: bool = False
    """Whether something else than SIGTERM said first that the trainer has ended."""
    _hearing: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.job = storage.job(self.plan.namespace, self.plan.job, self.plan.uid)
        self.sending = Sending(self.store, self._check_fence, self.transfers, earlier=self._earlier)
        self.left_out = LeftOut()
        self.reporter.left_out = self.left_out.sentence
        self.results = Results(self.job, self.plan.attempt, self.work, self.sending, self.left_out)
        plain = replace(self.sending, earlier=lambda _: ())
        self.checkpoints = Checkpoints(
            self.plan, self.work, plain, self.reporter, self.left_out, self.settle, self.poll
        )
        self.cache = CachePublishing(
            self.plan, self.work, plain, self.results.say_what_is_left_out, self._result_or_checkpoint_first
        )
        self.ahead = Ahead(
            self.work, self.sending, self.results.publications(), self._is_finished, self._something_else_first
        )

    def trainer_ended(self, grace: float) -> None:
        """The trainer has ended, and the pod ends: publish the rest within `grace` seconds. For a thread, not for a signal handler."""
        with self._hearing:
            self.store.patience.end_at(time.monotonic() + grace)
            self.ended.set()
            self._pod_ends.set()

    def told(self, grace: float) -> None:
        """The trainer has ended, though SIGTERM has not come: publish the rest within `grace` seconds, wait for the pod's end."""
        with self._hearing:
            if self.ended.is_set():
                return
            self._told = True
            self.store.patience.end_at(time.monotonic() + grace)
            self.ended.set()

    def run(self) -> Termination:
        """Publish until the trainer has ended, then the rest; returns what to say. Raises AgentError."""
        try:
            if self.plan.follows:
                return self._follow()
            if not self.plan.publish:
                self.ended.wait()
                return self._end_beside_the_chief("this pod publishes nothing: the chief does")
            return self._publish()
        finally:
            self.reporter.stop(self.store.patience.left())

    def _follow(self) -> Termination:
        """The evaluator's sidecar. Whatever fails is tried again: nobody waits for it."""
        sending = Sending(self.store, transfers=self.transfers)
        following, failures = Following(self.plan, self.work, sending, self.reporter, self.poll), 0
        while not self.ended.is_set():
            failures = 0 if self._lives_through(EVALUATIONS, following.look) else failures + 1
            self._rest(pause_after(failures, self.poll))
        self._lives_through(EVALUATIONS, following.finish)
        return self._end_beside_the_chief("what the evaluator measured is published beside the result of the job")

    def _end_beside_the_chief(self, said: str) -> Termination:
        """Of a pod that publishes no result of the job."""
        try:
            self._end_streams()
        finally:
            self._publish_program_log()
        return self._until_the_pod_ends(Termination(report.REASON_NOTHING_TO_PUBLISH, said))

    def _publish(self) -> Termination:
        failures = 0
        while not self.ended.is_set():
            failures = 0 if self.look() else failures + 1
            self._rest(pause_after(failures, self.poll))
        try:
            termination = self._publish_rest()
            self._end_streams()
        except AgentError as error:
            self.tell(error.termination())  # should the time be over before the log is published
            self._publish_program_log()
            self._until_the_pod_ends(error.termination())
            raise
        self._publish_program_log()
        return self._until_the_pod_ends(termination)

    def _publish_program_log(self) -> None:
        if self.program_log is not None:
            key = storage.program_log(self.job, f"{self.plan.role}-{self.plan.index}", self.plan.attempt)
            self.program_log.publish_last(self.store, key)

    def _end_streams(self) -> None:
        """Once all else is done: raises why the shards of an input came no more, if the program did not finish without them."""
        if self.streams is None:
            return
        self.streams.stop()
        if self.streams.failure is not None and not self._is_finished():
            raise self.streams.failure

    def _rest(self, seconds: float) -> None:
        """Wait for the next round; shorter, when the program has ended."""
        until = time.monotonic() + seconds
        self.look_for_the_end()
        while not self.ended.wait(min(self.poll, max(0.0, until - time.monotonic()))) and time.monotonic() < until:
            self.look_for_the_end()

    def _until_the_pod_ends(self, termination: Termination) -> Termination:
        """Stay, when all was done before SIGTERM: a container of this kind that ends sooner is started again."""
        if self._told and not self._pod_ends.is_set():
            self.tell(termination)
            self.reporter.over(termination)
            log.info("all is done: waiting for the end of the pod", reason=termination.reason)
            self._pod_ends.wait()
        return termination

    def look_for_the_end(self) -> None:
        """In a pod that has begun to end, a program that has finished is not waited for.

        SIGTERM comes after the last container of others has ended, which may take the whole grace period.
        """
        if not self.ended.is_set() and self.work.end_began.exists() and self._is_finished():
            self.told(grace_left(self.grace, seconds_since(self.work.end_began)))

    def look(self) -> bool:
        """Send and publish what is there while the program runs; whether all went well."""
        if not self._lives_through(CHECKPOINTS, self._begin):
            return False
        sent = self._lives_through(RESULTS, self.ahead.send)
        # Whatever was postponed waits for this: it must have its turn in the same round.
        well = self._lives_through(CHECKPOINTS, partial(self.checkpoints.publish, pause=self._result_first)) and sent
        with suppress(Postponed):
            self.cache.publish_ahead()
        return well

    def _begin(self) -> None:
        """Once, before anything is published."""
        if not self._begun:
            self._check_fence()
            self.checkpoints.withdraw_passed_over()
            self.checkpoints.find_published()
            self._begun = True

    def _lives_through(self, what: str, action: Callable[[], object]) -> bool:
        """Whether it went well. What fails while the program runs is reported and tried again: it must not cost the training."""
        try:
            with suppress(Postponed):
                action()
        except Fenced:
            raise
        except (AgentError, OSError) as error:
            self.left_out.put(what, str(error))
            return False
        self.left_out.forget(what)
        return True

    def _is_finished(self) -> bool:
        return is_file(self.work.directory(environment.OUTPUT_DIR) / environment.SUCCESS_MARKER)

    def _result_first(self) -> None:
        """A checkpoint on its way waits for the result of a program that has finished."""
        self.look_for_the_end()
        if self._is_finished() and (self.ended.is_set() or not self.ahead.through):
            raise Postponed

    def _result_or_checkpoint_first(self) -> None:
        """The cache, while the program runs, waits for everything else."""
        self.look_for_the_end()
        if self.ended.is_set() or self._is_finished() or self.checkpoints.wait():
            raise Postponed

    def _something_else_first(self, name: str) -> None:
        """What is sent ahead waits for the checkpoint of a program that has not finished, a finished one's logs for its result."""
        self.look_for_the_end()
        if self._is_finished():
            waits = name == environment.LOG_DIR and self.ended.is_set()
        else:
            waits = self.ended.is_set() or self.checkpoints.wait()
        if waits:
            raise Postponed

    def _earlier(self, prefix: str) -> list[str]:
        return earlier_prefixes(self.store, prefix, self.plan.attempt)

    def _check_fence(self) -> None:
        check_fence(self.store, self.job, self.plan.attempt)

    # -- the end ----------------------------------------------------------------------------------------------------

    def _publish_rest(self) -> Termination:
        finished = self._is_finished()
        if self.streams is not None:
            self.streams.stop()
        log.info("the trainer has ended: publishing the rest", finished=finished)
        self.reporter.publishing()
        for what in (CHECKPOINTS, RESULTS):  # from now on they are published, or this ends with the reason
            self.left_out.forget(what)
        self._begin()
        if not finished:
            self.checkpoints.doubt()
            self.checkpoints.publish(ended=True)
        problems: list[str] = []
        model = self.results.publish(environment.MODEL_DIR, problems)
        if not finished:
            self.results.publish(environment.LOG_DIR, [])
        output = self.results.publish(environment.OUTPUT_DIR, problems, finished=finished, empty=True)
        if problems:
            self._afterwards(finished)
            raise Unreadable(f"{problems[0]}; submit the job again then. {_published_parts(model, output)}")
        measured = self.results.measured()
        marker = "complete" if finished else f"without {environment.SUCCESS_MARKER}"
        termination = Termination(
            report.REASON_PUBLISHED,
            f"published the output ({marker})" + (" and the model" if model else ""),
            output=output,
            model=model,
            checkpoint_step=self.checkpoints.newest,
            complete=finished,
            metrics=measured.metrics,
            metrics_left_out=measured.left_out,
            main_metric=measured.main,
            model_problem=self.results.model_problem() if model else "",
            progress=self.reporter.current(),
            end_began=self._end_began(),
        )
        self.tell(termination)
        self._afterwards(finished)
        return replace(termination, checkpoint_step=self.checkpoints.newest, progress=self.reporter.current())

    def _end_began(self) -> str:
        began = began_at(self.work.end_began, datetime.now(UTC))
        return f"{began:%Y-%m-%dT%H:%M:%SZ}" if began else ""

    def _afterwards(self, finished: bool) -> None:
        """What a finished program's result does not need, and a cache that is whole. Never worth failing for."""
        if not finished:
            if self.cache.is_due():
                self.publish_cache()
            return
        self._try("the logs", lambda: self.results.publish(environment.LOG_DIR, []))
        self._try("the last checkpoint", lambda: self.checkpoints.publish(ended=True, finished=True))
        if self.plan.cache:
            self.publish_cache()

    def _try(self, what: str, action: Callable[[], object]) -> None:
        try:
            action()
        except (AgentError, OSError) as error:
            log.warning(f"{what} not published", error=str(error))
            self.left_out.put(what, str(error))
        except Exception:  # noqa: BLE001 - a defect, said with its traceback: the output that is published holds
            log.error(f"{what} not published", with_traceback=True)

    def publish_cache(self) -> None:
        """Publish the cache as its next generation, unless the newest holds the same. Never worth failing for."""
        self._try(f"the cache {self.plan.cache}", self.cache.publish)


def _published_parts(model: Published | None, output: Published | None) -> str:
    found = [f"{what} {published.uri}" for what, published in (("model", model), ("output", output)) if published]
    return f"What can be read is published: {' and '.join(found)}" if found else ""
