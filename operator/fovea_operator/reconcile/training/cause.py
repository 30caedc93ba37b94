"""Which member's failure is the cause, when several members of a job have failed: the end of one makes others fail.
The evaluator fails by itself (`evaluator`).

Members notice within seconds that another one is gone, and end with errors of their own. What came first is the cause. Clocks
of nodes differ by some seconds: of failures that are as close as that, the one that is least likely a consequence is.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from fovea_api.contract import exit_codes

from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.shared.pods import MemberPods, at_deadline, ended, lost, trainer_ended
from fovea_operator.reconcile.training import disruption, outcome
from fovea_operator.reconcile.training.outcome import Failure, Outcome, Success
from fovea_operator.reconcile.training.view import View

SLACK = timedelta(seconds=5)
"""By so much the clocks of two nodes may differ."""
SETTLING = timedelta(seconds=10)
"""A program that asks for a restart may have noticed sooner than the API server that another pod has failed."""


@dataclass(frozen=True)
class Cause:
    """A member, and why its attempt failed."""

    member: MemberPods
    failure: Failure


def find(view: View) -> Cause | datetime | None:
    """The cause, or until when another member may turn out to be; None where none has failed."""
    found = [cause for each in view.pods.needed if (cause := _of(view, each)) is not None]
    if not found or len(view.pods.needed) == 1:
        return found[0] if found else None
    first = min(_time(view, cause) for cause in found)
    together = [cause for cause in found if _time(view, cause) <= first + SLACK]
    cause = min(together, key=_rank)
    if _rank(cause) < _CONSEQUENCE:
        return cause
    ending = next((each for each in view.pods.needed if _is_ended_from_outside(each)), None)
    if ending is not None and ending.pod is not None:
        return Cause(ending, outcome.disrupted(ending.pod))
    settled = first + SETTLING
    return cause if view.now >= settled else settled


def failure_of(view: View, each: MemberPods) -> Failure | None:
    """Why the current attempt of a member failed; None when it did not."""
    found = _judged(view, each)
    return found if isinstance(found, Failure) else None


def _judged(view: View, each: MemberPods) -> Outcome | None:
    """How the current attempt of a member ended, if it did: a pod that is gone, or that can never start, has failed."""
    if each.pod is None:
        return outcome.lost(None) if each.seen and not each.done else None
    if lost(each.pod, view.now):
        return outcome.lost(each.pod)
    return outcome.of_member(view, each) or outcome.never(each.pod, view.job)


def stopped_in_time(view: View) -> tuple[PodRecord, ...]:
    """Pods that their kubelets stopped at the job's deadline; none where the chief's program had ended before.

    Servers are stopped as well while the chief's sidecar still publishes.
    """
    stopped = tuple(pod for pod in view.pods.current if _stopped(view, pod))
    finished = trainer_ended(view.chief.pod) if view.chief.pod is not None else None
    due = [pod.active_deadline for pod in stopped if pod.active_deadline is not None]
    if finished is not None and due and finished < min(due) - SLACK:
        return ()
    return stopped


def _stopped(view: View, pod: PodRecord) -> bool:
    return view.spec.run_policy.max_running_seconds is not None and pod.deadline_is_own and at_deadline(pod)


def _of(view: View, each: MemberPods) -> Cause | None:
    if each.pod is not None and _stopped(view, each.pod):
        return None  # the chief had ended before (`stopped_in_time`), and says how the job ends
    found = _judged(view, each)
    if each.pod is not None and isinstance(found, Success):
        # It does not count: the program had got SIGTERM before. One that counts has ended the job by now.
        return Cause(each, outcome.interrupted(each.pod, found.termination))
    return Cause(each, found) if isinstance(found, Failure) else None


def _time(view: View, cause: Cause) -> datetime:
    """When the attempt failed. One whose pod is gone failed before all others: nothing says when."""
    pod = cause.member.pod
    if pod is None:
        return view.observed.vanished or datetime.min.replace(tzinfo=view.now.tzinfo)
    return pod.told_to_end or cause.failure.at or trainer_ended(pod) or view.now


_CONSEQUENCE = 3


def _rank(cause: Cause) -> int:
    """How likely this failure is a consequence of another one that came at the same time."""
    failure = cause.failure
    if failure.disruption:
        return 0
    if failure.exit_code == exit_codes.RESTART:
        return _CONSEQUENCE
    return 1 if failure.retryable else 2


def _is_ended_from_outside(each: MemberPods) -> bool:
    return each.pod is not None and not ended(each.pod) and disruption.disturbed(each.pod)
