"""Where each member of a distributed job stands, as the job's status lists it."""

from collections.abc import Mapping
from datetime import datetime

from fovea_api.contract import names
from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.training_job_status import MemberState, MemberStatus, TrainingJobStatus

from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.shared.pods import MemberPods, ended, trainer_ended, trainer_started
from fovea_operator.reconcile.training import pace, progress, stage
from fovea_operator.reconcile.training.view import View

_ENDED = (MemberState.SUCCEEDED, MemberState.FAILED)


def states(view: View, new: TrainingJobStatus) -> dict[str, MemberStatus] | None:
    """The members beside the rest of the status that is about to be written; None for a job of one pod."""
    if len(view.pods.members) == 1:
        return None
    behind = _stragglers(view)
    return {each.member.key: _status(view, new, each, behind) for each in view.pods}


def without_evaluator(view: View) -> str:
    """A sentence, with a space before it, on an evaluator that is left out; empty where it is not."""
    each, last = view.pods.evaluator, view.status.last_failure
    if each is None or not (view.status.ended_programs or {}).get(each.member.key):
        return ""
    why = f": {last.message.rstrip('.')}" if last is not None and last.member == each.member.key else ""
    return f" The evaluator is left out{why}."


def _status(view: View, new: TrainingJobStatus, each: MemberPods, behind: Mapping[str, int]) -> MemberStatus:
    key = each.member.key
    known = (view.status.members or {}).get(key)
    attempt = (new.attempts or {}).get(key, 0)
    if attempt > each.attempt:
        # Its next attempt is yet to be made: what the one before came to stands in lastFailure.
        return MemberStatus(state=MemberState.QUEUED, attempt=attempt, since=times.text(view.now))
    before = known if known is not None and known.attempt == each.attempt else None
    state = _state(view, new, each)
    began = _began(state, each.pod) if state != MemberState.STOPPED else view.now
    if began is None:
        began = times.parse(before.since) if before is not None and before.state == state else None
    return MemberStatus(
        state=state,
        attempt=each.attempt,
        since=times.text(began or view.now),
        node=(each.pod.node if each.pod is not None else before.node if before else None) or None,
        step=_step(view, new, each, before),
        behind_percent=behind.get(key) if state == MemberState.RUNNING else None,
    )


def _state(view: View, new: TrainingJobStatus, each: MemberPods) -> MemberState:
    over = new.state is not None and new.state.ended
    if over and each is view.chief and new.state == JobState.SUCCEEDED:
        return MemberState.SUCCEEDED
    if each.pod is None:
        return MemberState.SUCCEEDED if each.done else MemberState.STOPPED if over else MemberState.QUEUED
    if ended(each.pod):
        return MemberState.SUCCEEDED if each.pod.phase == "Succeeded" else MemberState.FAILED
    if over:
        return MemberState.STOPPED
    return MemberState(stage.of(each.pod, view.job, heard=each.pod.uid in view.observed.heard).state.value)


def _began(state: MemberState, pod: PodRecord | None) -> datetime | None:
    """When a state began, by what is seen of the pod; None where that does not say it."""
    if pod is None:
        return None
    if state in _ENDED:
        finished = [record.finished for record in pod.containers.values() if record.finished is not None]
        return trainer_ended(pod) or max(finished, default=None)
    return {
        MemberState.QUEUED: pod.created,
        MemberState.PREPARING: pod.scheduled,
        MemberState.RUNNING: trainer_started(pod),
    }.get(state)


def _step(view: View, new: TrainingJobStatus, each: MemberPods, before: MemberStatus | None) -> int | None:
    if each is view.chief and new.state == JobState.SUCCEEDED and new.progress is not None:
        return new.progress.step  # by its sidecar's last words
    heard = view.observed.heard.get(each.pod.uid) if each.pod is not None else None
    reported = progress.fields(heard.report).get("progress") if heard is not None else None
    return reported.step if reported is not None else before.step if before is not None else None


def _stragglers(view: View) -> dict[str, int]:
    """Where workers wait for each other at every step, all are as slow as the slowest: no report says which one that is."""
    if view.spec.distribution != "ParameterServer" or view.spec.sync:
        return {}
    paces = {}
    for each in view.pods:
        heard = view.observed.heard.get(each.pod.uid) if each.pod is not None and not ended(each.pod) else None
        if each.member.role == names.ROLE_WORKER and heard is not None and heard.pace is not None:
            paces[each.member.key] = heard.pace
    return pace.stragglers(paces)
