"""spec.runPolicy: retries with a growing pause, the time that programs may run, the time that a job may wait.

The next attempt is written to the status before the failed pod is replaced or deleted, so that a crash never runs an
attempt twice and never forgets one.
"""

import zlib
from dataclasses import replace
from datetime import datetime, timedelta

from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import JobReason
from fovea_api.v1alpha1.training_job_status import FailureStatus

from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.conditions import MAX_MESSAGE
from fovea_operator.reconcile.shared.pods import MemberPods, lost, refused_by_node
from fovea_operator.reconcile.training import outcome
from fovea_operator.reconcile.training.answer import ACCEPTED, Answer, Changes, Ends, GoesOn, Waiting
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


def failure_of(view: View, each: MemberPods) -> Failure | None:
    """Why the current attempt of a member failed; None when it did not."""
    if each.pod is None:
        return outcome.lost(None) if each.seen and not each.done else None
    if lost(each.pod, view.now):
        return outcome.lost(each.pod)
    result = outcome.of_member(view, each)
    if result is None:
        return outcome.never(each.pod, view.job)
    return result if isinstance(result, Failure) else None


def retry_or_fail(view: View, failure: Failure) -> Answer:
    """The next attempt of all members, or the end."""
    if view.suspending:
        # The pod ended since the job was suspended, and the suspension was taken back meanwhile: no retry is counted.
        message = "Resumed: the next pod goes on from the newest checkpoint."
        return _next_attempt(view, view.now, message, JobReason.RESUMED)
    if failure.retryable and failure.disruption:
        return _after_disruption(view, failure)
    retries = view.status.retries or 0
    limit = view.spec.run_policy.backoff_limit
    if not failure.retryable:
        return _fail(view, failure, failure.reason, f"Failed: {_sentence(failure)} {_remedy(view, failure)}")
    if retries >= limit:
        message = f"Failed after {retries} of {limit} retries (runPolicy.backoffLimit): {_sentence(failure)}"
        return _fail(view, failure, JobReason.BACKOFF_LIMIT_EXCEEDED, f"{message} {_remedy(view, failure)}")
    return _again(view, failure, retries + 1)


def _after_disruption(view: View, failure: Failure) -> Answer:
    """Another attempt, however often that happens: a job that runs for weeks outlives many drains of its nodes."""
    before = view.status.disruptions or 0
    ran = times.seconds_between(view.program_started, failure.at or view.now)
    begin = _begin(view, failure, 0 if ran >= view.settings.backoff_max_seconds else before)
    message = (
        f"Attempt {view.chief.attempt} was disrupted: {_sentence(failure)} The next attempt starts at "
        f"{times.text(begin)}; this does not count as a retry."
    )
    counted = Changes(disruptions=before + 1, last_failure=_record(view, failure))
    if not _no_node_took_it(view):
        return _next_attempt(view, begin, message, JobReason.RETRYING, counted)
    counted["queue_time"] = times.text(view.queued_since)  # it waits as long as it did
    again = _next_attempt(view, begin, message, JobReason.RETRYING, counted)
    # A job that is to be suspended waits for its user from now on.
    return again if view.spec.suspend else replace(again, waiting=until_next_attempt(view, failure.message))


def until_next_attempt(view: View, failed: str) -> Waiting:
    """The wait in the pause before an attempt: only where a node refused the pod it has begun already."""
    return Waiting(f"{failed[:1].upper()}{failed[1:].rstrip('.')}.", view.queued_since)


def _no_node_took_it(view: View) -> bool:
    """Whether a node refused a pod at once. One that ran may be refused as well, after its node has restarted."""
    pods = view.pods.current
    records = [record for pod in pods for record in pod.containers.values()]
    began = view.program_started or any(each.running_since or each.exit_code is not None for each in records)
    return not began and any(refused_by_node(pod) for pod in pods)


def _again(view: View, failure: Failure, retry: int) -> Answer:
    begin = _begin(view, failure, retry - 1)
    message = (
        f"Attempt {view.chief.attempt} failed: {_sentence(failure)} "
        f"Retry {retry} of {view.spec.run_policy.backoff_limit} starts at {times.text(begin)}."
    )
    counted = Changes(retries=retry, last_failure=_record(view, failure))
    return _next_attempt(view, begin, message, JobReason.RETRYING, counted)


def _begin(view: View, failure: Failure, repeated: int) -> datetime:
    """When the next attempt starts, after `repeated` failures like this one. Deciding twice gives the same time twice.

    Jobs that failed together do not come back together: each has a delay of its own beside the pause, in whole seconds
    like all times of a status.
    """
    pause = back_off(repeated, view.settings)
    own = zlib.crc32(f"{view.job.metadata.uid} {view.chief.attempt}".encode()) / 2**32
    delay = timedelta(seconds=int(JITTER * own * pause.total_seconds()))
    return (failure.at or view.now) + pause + delay


def _next_attempt(
    view: View, begin: datetime, message: str, reason: JobReason, counted: Changes | None = None
) -> GoesOn:
    changes = Changes(
        attempts=view.pods.next_attempts(),
        suspending=None,
        ended_programs=None,
        next_attempt_time=times.text(begin),
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
        # A suspended job does not wait for a retry; the status says so once the attempt is written.
        requeue_at=view.now if view.spec.suspend else begin,
    )


def _fail(view: View, failure: Failure, reason: str, message: str) -> Answer:
    return Ends(JobState.FAILED, reason, message, Changes(last_failure=_record(view, failure)))


def _record(view: View, failure: Failure) -> FailureStatus:
    return FailureStatus(
        attempt=view.chief.attempt,
        exit_code=failure.exit_code,
        reason=failure.reason,
        message=failure.message[:MAX_MESSAGE],
    )


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
    limit = view.spec.run_policy.max_running_seconds
    if limit is None or view.program_started is None or view.program_ended is not None:
        return None
    return view.program_started + timedelta(seconds=limit - (view.status.running_seconds or 0))


def ran_too_long(view: View) -> Answer | None:
    """Fail a job whose programs ran longer than allowed, all attempts together."""
    limit = view.spec.run_policy.max_running_seconds
    if limit is None or view.seconds_run < limit:
        return None
    message = (
        f"Failed: the program ran {view.seconds_run} s in all, and runPolicy.maxRunningSeconds is {limit}. "
        "To go on from its checkpoints submit a new job with a larger limit and checkpoint.from: "
        f"job://{view.job.metadata.name}"
    )
    return Ends(JobState.FAILED, JobReason.MAX_RUNNING_SECONDS, message)


def within_wait(view: View, answer: Answer) -> Answer:
    """What a job answers that waits: it is woken when it has waited longer than allowed, and is cancelled then."""
    if isinstance(answer, Ends) or answer.waiting is None or view.waiting_limit is None:
        return answer
    deadline = answer.waiting.since + view.waiting_limit
    if view.now < deadline:
        return replace(answer, requeue_at=times.earliest(answer.requeue_at, deadline))
    limit = view.spec.run_policy.max_wait_seconds
    message = f"Cancelled: the job waited longer than runPolicy.maxWaitSeconds ({limit}). {answer.waiting.why}"
    return Ends(JobState.CANCELLED, JobReason.MAX_WAIT_SECONDS, message)
