"""What a job has cost: hours of its pods on their nodes, times the weight of their machine types.

The cost of an attempt is added to the sum of ended ones by the status that gives the attempt up, so a new operator goes on
where the last one stopped. The pods of attempts that go on are reckoned from what is seen of them.
"""

from collections.abc import Mapping

from fovea_api.v1alpha1.training_job_status import CostStatus, MemberState, TrainingJobStatus

from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.pods import MemberPods, ended, trainer_started
from fovea_operator.reconcile.training.view import View

_DIGITS = 6
_HOUR = 3600


def cost(view: View, new: TrainingJobStatus) -> CostStatus | None:
    """The cost beside the rest of the status that is about to be written; None for a job that has had no pod on a node."""
    before = view.status.cost or CostStatus(total=0.0)
    over = new.state is not None and new.state.ended
    given_up = before.ended
    under_way = 0.0
    for each in view.pods:
        if _is_counted(each, view.status.ended_programs):
            continue
        amount = _weight(view, each) * _seconds(view, each) / _HOUR
        if over or _is_counted(each, new.ended_programs) or _attempt(new, each) > each.attempt:
            given_up += amount
        else:
            under_way += amount
    if over:
        # A pod that is gone, and that nobody remembers, has cost what the status said last.
        given_up = max(given_up, before.total)
    total = max(given_up + under_way, before.total)
    if total == 0 and view.status.cost is None:
        return None
    return CostStatus(total=round(total, _DIGITS), ended=round(given_up, _DIGITS))


def _is_counted(each: MemberPods, ended_programs: Mapping[str, int] | None) -> bool:
    """Whether the status that has these ended programs counts the member among the ended ones: its pod may go at any time."""
    return not each.member.publishes and each.member.key in (ended_programs or {})


def _attempt(status: TrainingJobStatus, each: MemberPods) -> int:
    return (status.attempts or {}).get(each.member.key, 0)


def _weight(view: View, each: MemberPods) -> float:
    machine_type = view.machine_type(each.member.role)
    return machine_type.spec.cost_weight if machine_type is not None else 1.0


def _seconds(view: View, each: MemberPods) -> int:
    """For how long the pod of the current attempt had its node: until now, its end, or when it was last known to be there."""
    pod = each.pod
    if pod is not None:
        finished = [record.finished for record in pod.containers.values() if record.finished is not None]
        end = max(finished, default=None) if ended(pod) else view.now
        return times.seconds_between(pod.scheduled or trainer_started(pod), end)
    if each is view.chief:
        return times.seconds_between(view.program_started, view.program_ended)
    known = (view.status.members or {}).get(each.member.key)
    if known is None or known.attempt != each.attempt or known.state != MemberState.RUNNING:
        return 0
    return times.seconds_between(times.parse(known.since), view.observed.vanished)
