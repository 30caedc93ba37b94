"""What to do about a BatchPrediction. Total, synchronous, no clock, no I/O.

The phases, in order; the first that has an answer decides:

1. ended      a prediction that has ended keeps what its status says; its pods are stopped, and at its TTL it goes
2. success    a worker has published the output: SUCCEEDED, or FAILED with too many errors
3. cancel     the Job is deleted; when its pods have gone, the prediction is CANCELLED
4. failure    a worker's permanent failure, too many retries, too many errors for good, the deadline
5. version    it is chosen once, and stands in the status before there is a Job
6. rerun      all workers have ended and none has said where the output is: they are made again, and find it
7. job        it is made, as soon as all that it needs is there
8. stage      what the workers do
"""

from datetime import datetime, timedelta
from typing import Any

from fovea_api.contract import names
from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.batch_prediction_status import WorkerFailure
from fovea_api.v1alpha1.conditions import PredictionReason
from fovea_api.v1alpha1.training_job_status import PublicationStatus

from fovea_operator.desired.batch_job import batch_job, suspension
from fovea_operator.reconcile.batch import progress, stage
from fovea_operator.reconcile.batch.answer import Answer, carry_out
from fovea_operator.reconcile.batch.progress import Totals
from fovea_operator.reconcile.batch.view import Failed, View, expires_at, is_over, worker_of
from fovea_operator.reconcile.shared import platform, times
from fovea_operator.reconcile.shared.decision import (
    BATCH_JOB,
    BATCH_PREDICTION,
    Child,
    Decision,
    Deletion,
    Write,
)
from fovea_operator.reconcile.shared.observed import BatchJobRecord, PredictionObserved
from fovea_operator.reconcile.shared.pods import alive, ended, lost_at
from fovea_operator.settings import Settings

_LAST_SECONDS = 60
"""After a success the other workers end by themselves, since nothing is left to answer; after this time they are stopped."""
_RERUNS = 3
"""So often the workers are made again. They have nothing to do but to say where the output is."""
_DEADLINE = "DeadlineExceeded"
"""Reason of a Job whose activeDeadlineSeconds are over."""


def decide_prediction(observed: PredictionObserved, now: datetime, settings: Settings) -> Decision:
    """The answer to what is observed of a BatchPrediction. Never raises on an observed state, never changes it."""
    if observed.prediction.metadata.deletion_timestamp is not None:
        return Decision()  # Job and pods go by their owner references, once it has gone itself
    view = View(observed, now, settings)
    if is_over(view.status):
        return _ended(view)
    return carry_out(view, _success(view) or _goes_on_or_ends(view, progress.reported(view)))


def _goes_on_or_ends(view: View, totals: Totals) -> Answer:
    return (
        _cancel(view, totals) or _failure(view, totals) or _not_yet(view) or _rerun(view, totals) or _work(view, totals)
    )


# -- 1 -----------------------------------------------------------------------------------------------------------------


def _ended(view: View) -> Decision:
    expiry = expires_at(view.prediction, view.settings.ttl_seconds)
    metadata = view.prediction.metadata
    if expiry is not None and view.now >= expiry:
        gone = Deletion(BATCH_PREDICTION, metadata.namespace, metadata.name, metadata.uid)
        return Decision(deletions=(gone,))
    known = view.status.observed_generation
    status = None
    if known is not None and known < metadata.generation:
        status = view.status.model_copy(update={"observed_generation": metadata.generation}).dump()
    stops = _stops_at(view)
    due = stops is not None and view.now >= stops
    children = tuple(_stop(job) for job in view.observed.jobs if _goes_on(job)) if due else ()
    later = None if due or not any(map(_goes_on, view.observed.jobs)) else stops
    return Decision(children=children, status=status, requeue_at=times.earliest(expiry, later))


def _stops_at(view: View) -> datetime | None:
    end = times.parse(view.status.end_time) or view.now
    return end + timedelta(seconds=_LAST_SECONDS) if view.status.state == JobState.SUCCEEDED else end


def _goes_on(job: BatchJobRecord) -> bool:
    return not (job.complete or job.failed or job.suspended or job.deleting)


def _stop(job: BatchJobRecord) -> Child:
    return Child(Write.PATCH, suspension(job.name, job.namespace, job.uid), is_optional=True)


# -- 2 -----------------------------------------------------------------------------------------------------------------


def _success(view: View) -> Answer | None:
    success = view.success
    if success is None:
        return None
    totals = progress.final(success.termination)
    output = success.output
    changes = _of_workers(view, totals) | {
        "output": PublicationStatus(uri=output.uri, digest=output.digest, bytes=output.size, files=output.files),
        "version": view.pinned,
    }
    if totals.error_ratio > view.spec.max_error_ratio:
        return Answer(
            JobState.FAILED, PredictionReason.TOO_MANY_ERRORS, _too_many(view, totals, output.uri), changes=changes
        )
    without = f", {totals.errors} of them without an answer (errors.jsonl)" if totals.errors else ""
    message = f"{totals.records} records are done{without}; the output is in {output.uri}."
    return Answer(JobState.SUCCEEDED, PredictionReason.PUBLISHED, message, changes=changes)


def _too_many(view: View, totals: Totals, where: str) -> str:
    said = (
        f"{totals.errors} of {totals.records} records have no answer ({totals.error_ratio:.2%}), and spec.maxErrorRatio allows "
        f"{view.spec.max_error_ratio:.2%}"
    )
    if where:
        return f"{said}: errors.jsonl in {where} names them. Correct the input, or submit again with a larger maxErrorRatio."
    return f"{said}, whatever the other records are. Correct the input, or submit again with a larger maxErrorRatio."


def _of_workers(view: View, totals: Totals, pace: float | None = None) -> dict[str, Any]:
    """Fields of the status that are counted of workers."""
    changes: dict[str, Any] = {
        "progress": progress.of(totals, pace),
        "workers": progress.workers(view),
        "start_time": view.start_time,
        "failures": view.failures or None,
    }
    if view.failed:
        changes["last_failure"] = _recorded(view.failed[-1])
    return changes


def _recorded(last: Failed) -> WorkerFailure:
    failure = last.failure
    return WorkerFailure(
        worker=worker_of(last.pod),
        pod=last.pod.name,
        exit_code=failure.exit_code,
        reason=failure.reason,
        message=failure.message,
    )


# -- 3 -----------------------------------------------------------------------------------------------------------------


def _cancel(view: View, totals: Totals) -> Answer | None:
    """Once begun it is finished, even if the field could be taken back."""
    if not (view.spec.cancel or view.status.state == JobState.CANCELLING):
        return None
    changes = _of_workers(view, totals) if view.observed.jobs else {}
    deletions = tuple(
        Deletion(BATCH_JOB, job.namespace, job.name, job.uid) for job in view.observed.jobs if not job.deleting
    )
    left = alive(view.all_pods, view.now)
    if left or view.observed.jobs:
        message = (
            "spec.cancel is set: the workers are being stopped. Answers that are published stay in the object store."
        )
        return Answer(
            JobState.CANCELLING,
            PredictionReason.STOPPING,
            message,
            changes=changes,
            deletions=deletions,
            requeue_at=lost_at(left),
        )
    return Answer(JobState.CANCELLED, PredictionReason.CANCELLED, "spec.cancel was set.", changes=changes)


# -- 4 -----------------------------------------------------------------------------------------------------------------


def _failure(view: View, totals: Totals) -> Answer | None:
    found = _why(view, totals)
    if found is None:
        return None
    reason, message = found
    return Answer(JobState.FAILED, reason, message, changes=_of_workers(view, totals))


def _why(view: View, totals: Totals) -> tuple[str, str] | None:
    """Reason and sentence of the end of a prediction that cannot succeed any more."""
    limit = view.spec.run_policy.backoff_limit
    for each in view.failed:
        if not each.failure.retryable:
            return each.failure.reason, f"Worker {worker_of(each.pod)} failed: {each.failure.message.rstrip('.')}."
    for each in reversed(view.failed):
        worker = worker_of(each.pod)
        if not each.failure.disruption and view.failures.get(str(worker), 0) > limit:
            return PredictionReason.BACKOFF_LIMIT_EXCEEDED, (
                f"Worker {worker} failed more than {limit} times (runPolicy.backoffLimit), last with "
                f"{each.failure.reason}: {each.failure.message.rstrip('.')}."
            )
    if progress.is_lost(view, totals):
        return PredictionReason.TOO_MANY_ERRORS, _too_many(view, totals, "")
    job = view.job
    if job is not None and job.failed == _DEADLINE:
        seconds = view.spec.run_policy.max_running_seconds
        return PredictionReason.MAX_RUNNING_SECONDS, (
            f"The workers did not end within {seconds} s (runPolicy.maxRunningSeconds). Submit again with more time or more "
            "workers (parallelism)."
        )
    if job is not None and job.failed:
        return PredictionReason.PROGRAM_FAILED, f"Job {job.name} failed ({job.failed}): {job.failure.rstrip('.')}."
    return None


# -- 5 -----------------------------------------------------------------------------------------------------------------


def _not_yet(view: View) -> Answer | None:
    """What has to be there before the Job; once the Job is there, nothing of it matters any more."""
    if view.observed.jobs and view.status.version is not None:
        return None
    if refused := platform.not_allowed(view.spec.pod, view.settings):
        message = f"Failed: {refused} Then submit a new prediction."
        return Answer(JobState.FAILED, PredictionReason.INVALID_SPEC, message, admitted=False)
    if view.status.version is None:
        return _chosen(view)
    if view.version is None:
        message = (
            f"Version {view.pinned} of model {view.spec.model!r} answers this prediction, and is gone or has other files now: "
            "register it again, or submit a new prediction."
        )
        return _waits(PredictionReason.NO_VERSION, message)
    if view.machine_type is None:
        observed = view.observed
        message = platform.machine_type_missing(
            view.spec.machine_type, observed.machine_types, observed.unreadable_machine_types
        )
        return _waits(PredictionReason.MACHINE_TYPE_MISSING, message)
    if view.observed.predecessors:
        which = " and ".join(view.observed.predecessors)
        message = f"Waiting for Job {which} of the deleted prediction of this name to go."
        return Answer(JobState.QUEUED, PredictionReason.PREDECESSOR_ENDING, message)
    return None


def _chosen(view: View) -> Answer:
    """The version is written down alone: a Job that is there has the version that the status names."""
    number = view.pinned
    version = view.wanted if number is None else view.observed.versions.find(number)
    if version is None and number is None:
        wanted = view.spec.version
        named = f"no version {wanted}" if isinstance(wanted, int) else "no approved version"
        message = f"Model {view.spec.model!r} has {named} that can be served: the prediction waits for it."
        return _waits(PredictionReason.NO_VERSION, message)
    changes = {"version": number, "digest": None} if version is None else _pins(version)
    message = f"Version {changes['version']} of model {view.spec.model!r} answers."
    return Answer(JobState.QUEUED, PredictionReason.ACCEPTED, message, changes=changes, requeue_at=view.now)


def _pins(version: Any) -> dict[str, Any]:
    return {"version": version.spec.version, "digest": version.spec.digest}


def _waits(reason: PredictionReason, message: str) -> Answer:
    return Answer(JobState.QUEUED, reason, message, admitted=False)


# -- 6 -----------------------------------------------------------------------------------------------------------------


def _rerun(view: View, totals: Totals) -> Answer | None:
    """The pod that said where the output is was deleted before this operator saw it. The next workers find all shards answered.

    First the status counts it: the Job of that number is then the current one, and the one before it goes.
    """
    job = view.job
    if job is None or not job.complete or not all(ended(pod) for pod in view.pods):
        return None
    changes = _of_workers(view, totals)
    if view.rerun >= _RERUNS:
        message = (
            f"All workers ended with exit code 0, {view.rerun + 1} times, and none reported the digest of "
            "the output: the agent's image and the operator's may be of different releases."
        )
        return Answer(JobState.FAILED, PredictionReason.OUTPUT_MISSING, message, changes=changes)
    message = (
        "All workers have ended, and none has said where the output is: they are made again, and find what is answered."
    )
    return Answer(
        JobState.PREPARING,
        PredictionReason.RERUN,
        message,
        changes=changes | {"reruns": view.rerun + 1},
        requeue_at=view.now,
    )


# -- 7 and 8 -----------------------------------------------------------------------------------------------------------


def _work(view: View, totals: Totals) -> Answer:
    name = names.prediction_job(view.prediction.metadata.name, view.rerun)
    job = view.job
    if job is None or job.deleting:
        return _make(view, name)
    answer = stage.of(view, name)
    changes = _of_workers(view, totals, progress.pace(view)) | dict(answer.changes)
    return Answer(
        answer.state,
        answer.reason,
        answer.message,
        running=answer.running,
        changes=changes,
        deletions=_earlier(view),
    )


def _earlier(view: View) -> tuple[Deletion, ...]:
    return tuple(Deletion(BATCH_JOB, job.namespace, job.name, job.uid) for job in view.earlier if not job.deleting)


def _make(view: View, name: str) -> Answer:
    version, machine_type = view.version, view.machine_type
    if version is None or machine_type is None:
        # Only of a rerun, or of a Job that somebody deleted: the first one is not made before both are there.
        missing = "version" if version is None else "machine type"
        reason = PredictionReason.NO_VERSION if version is None else PredictionReason.MACHINE_TYPE_MISSING
        return _waits(reason, f"Job {name} is gone, and the model's {missing} is not there to make it again.")
    if view.observed.refused:
        said = view.observed.refused.rstrip(".")
        cause = platform.cause_of_refusal(said, machine_type.metadata.name)
        message = f"The API server refuses Job {name}: {said}. Fovea tries again. {cause}".rstrip()
        return Answer(JobState.QUEUED, PredictionReason.JOB_REFUSED, message)
    count = view.spec.parallelism
    which = "1 worker waits" if count == 1 else f"{count} workers wait"
    message = f"Job {name} is made; its {which} for nodes."
    child = Child(Write.CREATE, batch_job(view.prediction, version, view.rerun, machine_type, view.settings))
    return Answer(
        JobState.QUEUED,
        PredictionReason.JOB_CREATED,
        message,
        changes={"workers": progress.workers(view)},
        children=(child,),
        deletions=_earlier(view),
    )
