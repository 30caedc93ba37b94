"""maxRunningSeconds over all attempts, maxWaitSeconds for a node."""

from datetime import datetime, timedelta

from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.reconcile import report
from fovea_operator.reconcile.decision import Decision
from fovea_operator.reconcile.view import View


def running_deadline(view: View) -> datetime | None:
    """When the current program has run too long; None: no limit, or none runs."""
    limit = view.spec.run_policy.max_running_seconds
    if limit is None or view.program_started is None or view.program_ended is not None:
        return None
    return view.program_started + timedelta(seconds=limit - (view.status.running_seconds or 0))


def ran_too_long(view: View) -> Decision | None:
    """Fail a job whose programs ran longer than allowed, all attempts together."""
    limit = view.spec.run_policy.max_running_seconds
    if limit is None or view.seconds_run < limit:
        return None
    message = (
        f"Failed: the program ran {view.seconds_run} s in all, and runPolicy.maxRunningSeconds is {limit}. "
        "To go on from its checkpoints submit a new job with a larger limit and checkpoint.from: "
        f"job://{view.job.metadata.name}"
    )
    new = report.over(view, JobState.FAILED, JobReason.MAX_RUNNING_SECONDS, message)
    return report.end(view, new)


def waiting_deadline(view: View, since: datetime | None = None) -> datetime | None:
    """When the job has waited too long, since then or since it was queued; None: no limit."""
    limit = view.spec.run_policy.max_wait_seconds
    return None if limit is None else (since or view.queued_since) + timedelta(seconds=limit)


def waited_too_long(view: View, why: str, since: datetime | None = None) -> Decision | None:
    """Cancel a job that waits, for this reason and since then, longer than allowed."""
    deadline = waiting_deadline(view, since)
    if deadline is None or view.now < deadline:
        return None
    message = (
        f"Cancelled: it waited longer than runPolicy.maxWaitSeconds ({view.spec.run_policy.max_wait_seconds}). {why}"
    )
    new = report.over(view, JobState.CANCELLED, JobReason.MAX_WAIT_SECONDS, message)
    return report.end(view, new)
