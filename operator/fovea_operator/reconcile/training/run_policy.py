"""spec.runPolicy: retries with a growing pause, the time that programs may run, the time that a job may wait.

The next attempt is written to the status before the failed pod is replaced or deleted, so that a crash never runs an
attempt twice and never forgets one.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fovea_api.contract import names
from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import JobReason
from fovea_api.v1alpha1.training_job_status import FailureStatus

from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.conditions import MAX_MESSAGE
from fovea_operator.reconcile.shared.decision import Deadline
from fovea_operator.reconcile.shared.pods import MemberPods, ended, refused_by_node, trainer_started
from fovea_operator.reconcile.training import cause, quota, same_step, stage
from fovea_operator.reconcile.training.answer import ACCEPTED, Answer, Changes, Ends, GoesOn, Waiting, pods_seen
from fovea_operator.reconcile.training.outcome import Failure
from fovea_operator.reconcile.training.view import View
from fovea_operator.settings import Settings

_LARGEST_EXPONENT = 30
JITTER = 0.5
"""The largest part of a pause that is added to it."""


def back_off(retries: int, settings: Settings) -> timedelta:
    """Pause before the next attempt, after `retries` retries: 10 s, 20 s, 40 s, … 360 s."""
    seconds = settings.backoff_base_seconds * 2 ** min(max(retries, 0), _LARGEST_EXPONENT)
    return timedelta(seconds=min(seconds, settings.backoff_max_seconds))


def retry_or_fail(view: View, member: MemberPods, failure: Failure) -> Answer:
    """The next attempt, or the end, after the failure of a member."""
    if view.suspending:
        # The pod ended since the job was suspended, and the suspension was taken back meanwhile: no retry is counted.
        message = "Resumed: the next pod goes on from the newest checkpoint."
        return next_attempt(view, view.now, message, JobReason.RESUMED)
    attempt = Attempt(view, member, failure)
    if failure.retryable and failure.disruption:
        return _after_disruption(view, attempt)
    retries = view.status.retries or 0
    limit = view.spec.run_policy.backoff_limit
    if not failure.retryable:
        return _fail(attempt, failure.reason, f"Failed: {attempt.said} {_remedy(view, failure)}")
    if retries >= limit:
        message = f"Failed after {retries} of {limit} retries (runPolicy.backoffLimit): {attempt.said}"
        return _fail(attempt, JobReason.BACKOFF_LIMIT_EXCEEDED, f"{message} {_remedy(view, failure)}")
    return _again(view, attempt, retries + 1)


@dataclass(frozen=True)
class Attempt:
    """An attempt of a member that failed."""

    view: View
    member: MemberPods
    failure: Failure

    @property
    def name(self) -> str:
        """How a message calls it: by its member as well, where there are several."""
        number = f"Attempt {self.member.attempt}"
        return number if self._alone else f"{number} of {self.member.member.key}"

    @property
    def said(self) -> str:
        """Why it failed, as a sentence."""
        sentence = _sentence(self.failure) + same_step.sentence(self.view, self.failure)
        return sentence if self._alone else f"{self.member.member.key}: {sentence}"

    @property
    def record(self) -> FailureStatus:
        """What a status remembers of it."""
        # The step is the chief's: it says nothing of an evaluator.
        again = "" if self.member.member.follows else same_step.sentence(self.view, self.failure)
        return FailureStatus(
            member=None if self._alone else self.member.member.key,
            attempt=self.member.attempt,
            exit_code=self.failure.exit_code,
            reason=self.failure.reason,
            message=(f"{_sentence(self.failure)}{again}" if again else self.failure.message)[:MAX_MESSAGE],
        )

    @property
    def changes(self) -> Changes:
        """What a status remembers of a failure that counts."""
        return Changes(last_failure=self.record, failing_step=same_step.after(self.view, self.failure))

    @property
    def _alone(self) -> bool:
        return len(self.view.pods.members) == 1


def restarted(view: View, member: MemberPods) -> tuple[MemberPods, ...]:
    """The members that begin their next attempt when this one has failed: all of them, or those of runPolicy.restartScope."""
    loose = view.spec.distribution == "ParameterServer" and not view.spec.sync
    default = "Replica" if loose and member.member.role == names.ROLE_WORKER else "Job"
    match view.spec.run_policy.restart_scope or default:
        case "Replica":
            return (member,)
        case "Role":
            return tuple(each for each in view.pods if each.member.role == member.member.role)
        case _:
            return view.pods.members


def _after_disruption(view: View, attempt: Attempt) -> Answer:
    """Another attempt, however often that happens: a job that runs for weeks outlives many drains of its nodes."""
    failure, pod = attempt.failure, attempt.member.pod
    before = view.status.disruptions or 0
    started = view.program_started if attempt.member is view.chief or pod is None else trainer_started(pod)
    ran = times.seconds_between(started, failure.at or view.now)
    begin = _begin(view, attempt, 0 if ran >= view.settings.backoff_max_seconds else before)
    message = (
        f"{attempt.name} was disrupted: {_sentence(failure)} The next attempt starts at {times.text(begin)}; this does not count "
        "as a retry."
    )
    counted = Changes(disruptions=before + 1, last_failure=attempt.record)
    if again := _apart(view, attempt.member):
        return _while_others_go_on(view, again, begin, message, counted)
    if not _no_node_took_it(view):
        return next_attempt(view, begin, message, JobReason.RETRYING, counted)
    counted["queue_time"] = times.text(view.queued_since)  # it waits as long as it did
    waits = next_attempt(view, begin, message, JobReason.RETRYING, counted)
    # A job that is to be suspended waits for its user from now on.
    return waits if view.spec.suspend else replace(waits, waiting=until_next_attempt(view, failure.message))


def until_next_attempt(view: View, failed: str) -> Waiting:
    """The wait in the pause before an attempt: only where a node refused the pod it has begun already."""
    return Waiting(f"{failed[:1].upper()}{failed[1:].rstrip('.')}.", view.queued_since)


def _no_node_took_it(view: View) -> bool:
    """Whether a node refused a pod at once. One that ran may be refused as well, after its node has restarted."""
    pods = view.pods.current
    records = [record for pod in pods for record in pod.containers.values()]
    began = view.program_started or any(each.running_since or each.exit_code is not None for each in records)
    return not began and any(refused_by_node(pod) for pod in pods)


def _again(view: View, attempt: Attempt, retry: int) -> Answer:
    begin = _begin(view, attempt, retry - 1)
    message = (
        f"{attempt.name} failed: {_sentence(attempt.failure)}{same_step.sentence(view, attempt.failure)} "
        f"Retry {retry} of {view.spec.run_policy.backoff_limit} starts at {times.text(begin)}."
    )
    counted = attempt.changes | Changes(retries=retry)
    if again := _apart(view, attempt.member):
        return _while_others_go_on(view, again, begin, message, counted)
    return next_attempt(view, begin, message, JobReason.RETRYING, counted)


def _begin(view: View, attempt: Attempt, repeated: int) -> datetime:
    """When the next attempt starts, after `repeated` failures like this one. Deciding twice gives the same time twice.

    Jobs that failed together do not come back together: each has a delay of its own beside the pause, in whole seconds
    like all times of a status.
    """
    return (attempt.failure.at or view.now) + pause(view, attempt.member.attempt, repeated)


def pause(view: View, attempt: int, repeated: int) -> timedelta:
    """The pause after an attempt, with the part of it that is the job's own."""
    plain = back_off(repeated, view.settings)
    own = zlib.crc32(f"{view.job.metadata.uid} {attempt}".encode()) / 2**32
    return plain + timedelta(seconds=int(JITTER * own * plain.total_seconds()))


def next_attempt(
    view: View, begin: datetime, message: str, reason: JobReason, counted: Changes | None = None
) -> GoesOn:
    """Write that all members begin another attempt at that time."""
    changes = Changes(
        attempts=view.pods.next_attempts(),
        suspending=None,
        ended_programs=view.evaluator_ended,
        next_attempt_time=times.text(begin),
        next_attempt_times=None,
        queue_time=times.text(begin),
        start_time=view.start_time,
        running_seconds=view.seconds_run,
    )
    return GoesOn(
        JobState.QUEUED,
        reason,
        message,
        ACCEPTED,
        changes | (counted or Changes()),
        # A job that is suspended or loses its quota does not wait for a retry: it goes on once the attempt is written.
        requeue_at=view.now if view.spec.suspend or quota.eviction(view) else begin,
    )


def _apart(view: View, member: MemberPods) -> tuple[MemberPods, ...]:
    """The members that begin again while others go on; none where all do, or no other one is there."""
    again = restarted(view, member)
    others = (each.pod for each in view.pods.needed if each not in again)
    return again if any(pod is not None and not ended(pod) for pod in others) else ()


def _while_others_go_on(
    view: View, again: Sequence[MemberPods], begin: datetime, message: str, counted: Changes
) -> GoesOn:
    """Another attempt of some members; the rest of the job does not notice."""
    where = stage.of_set(view.pods, view.job, heard=view.observed.progress is not None)
    seen = pods_seen(view)
    begins = {each.member.key: times.text(begin) for each in again}
    programs = {key: code for key, code in (view.status.ended_programs or {}).items() if key not in begins}
    changes = Changes(
        attempts=view.pods.next_attempts(again),
        next_attempt_times={**(seen["next_attempt_times"] or {}), **begins},
        ended_programs=programs or None,
    )
    if view.chief in again:
        changes["running_seconds"] = view.seconds_run
    return GoesOn(
        where.state,
        JobReason.RETRYING,
        f"{message} The others go on.",
        ACCEPTED,
        {**seen, **changes, **counted},
        running=where.running,
        requeue_at=view.now,  # for what else the others wait for
    )


def begin_later(view: View) -> str:
    """A sentence, with a space before it, on the members whose next attempt is still to begin; empty where there are none."""
    later = view.pods.later(view.now)
    if not later:
        return ""
    return f" The next attempt of {', '.join(sorted(later))} starts at {times.text(min(later.values()))}."


def _fail(attempt: Attempt, reason: str, message: str) -> Answer:
    return Ends(JobState.FAILED, reason, message, attempt.changes)


def _sentence(failure: Failure) -> str:
    return failure.message if failure.message.endswith(("?", "!")) else failure.message.rstrip(".") + "."


def _remedy(view: View, failure: Failure) -> str:
    if failure.reason in (JobReason.PROGRAM_FAILED, JobReason.OUTPUT_MISSING):
        return f"See the program's log with: fovea jobs stream-logs {view.job.metadata.name}. Correct the program and submit a new job."
    if failure.reason == JobReason.OUT_OF_MEMORY:
        return "Submit a new job with a machine type that has more memory, or let the program use less."
    if failure.retryable or failure.reason == JobReason.AGENT_FAILED:
        # Nothing of the job's own is wrong.
        return (
            "Submit a new job that goes on from its checkpoints with checkpoint.from: "
            f"job://{view.job.metadata.name}, and with a larger runPolicy.backoffLimit if this happens often."
        )
    return "Then submit a new job."


def running_deadline(view: View) -> datetime | None:
    """When the current program has run too long; None: no limit, or none runs."""
    return None if view.program_ended is not None else _end_of_time(view)


def _end_of_time(view: View) -> datetime | None:
    """The same, whether or not it still runs."""
    limit = view.spec.run_policy.max_running_seconds
    if limit is None or view.program_started is None:
        return None
    return view.program_started + timedelta(seconds=limit - (view.status.running_seconds or 0))


def ran_too_long(view: View) -> Answer | None:
    """Fail a job whose programs ran longer than allowed, all attempts together."""
    limit = view.spec.run_policy.max_running_seconds
    stopped = cause.stopped_in_time(view)
    if limit is None or (view.seconds_run < limit and not stopped):
        return None
    ran = f"ran {view.seconds_run} s in all" if view.seconds_run >= limit else "was stopped when its time was over"
    message = (
        f"Failed: the program {ran}, and runPolicy.maxRunningSeconds is {limit}. "
        "To go on from its checkpoints submit a new job with a larger limit and checkpoint.from: "
        f"job://{view.job.metadata.name}"
    )
    due = times.earliest(_end_of_time(view), *(pod.active_deadline for pod in stopped)) or view.now
    return Ends(JobState.FAILED, JobReason.MAX_RUNNING_SECONDS, message, deadline=Deadline("maxRunningSeconds", due))


def within_wait(view: View, answer: Answer) -> Answer:
    """What a job answers that waits: it is woken when it has waited longer than allowed, and is cancelled then."""
    if isinstance(answer, Ends) or answer.waiting is None or view.waiting_limit is None:
        return answer
    deadline = answer.waiting.since + view.waiting_limit
    if view.now < deadline:
        return replace(answer, requeue_at=times.earliest(answer.requeue_at, deadline))
    limit = view.spec.run_policy.max_wait_seconds
    message = f"Cancelled: the job waited longer than runPolicy.maxWaitSeconds ({limit}). {answer.waiting.why}"
    missed = Deadline("maxWaitSeconds", deadline)
    return Ends(JobState.CANCELLED, JobReason.MAX_WAIT_SECONDS, message, deadline=missed)
