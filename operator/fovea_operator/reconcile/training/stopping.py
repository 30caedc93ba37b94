"""Pods that are stopped: on spec.cancel, on spec.suspend, and when only the containers of others keep one alive.

A pod ends when all its containers have ended, and only then the kubelet tells the sidecar to publish. Where something else
added containers (a service mesh, an agent), the sidecar learns from the answers to its reports that the program has ended,
publishes, and sends its last report: a success is one then, whatever the pod does. Otherwise the pod is deleted when the
sidecar has said so. The status says so before: it is the memory by which exit code 0 is believed afterwards, though the pod
was deleted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fovea_api.contract import exit_codes, names
from fovea_api.contract.report import REPORT_AT_LEAST_EVERY, ProgressAnswer, Termination
from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.desired.pod import grace_seconds
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import Deletion
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.shared.pods import (
    OTHERS_PATIENCE,
    alive,
    deletion,
    ended,
    lost_at,
    others_due,
    stop,
    trainer_ended,
    trainer_started,
)
from fovea_operator.reconcile.training import quota, stage
from fovea_operator.reconcile.training.answer import ACCEPTED, Admitted, Answer, Changes, Ends, GoesOn, Stays, pods_seen
from fovea_operator.reconcile.training.view import View


def suspend(view: View) -> Answer:
    """Stop the pods, then say that the job is suspended."""
    pods = view.pods.alive(view.now)
    if pods:
        return _suspending(view, pods)
    ending = view.pods.outlived(view.now)
    left = () if ending else quota.leave(view)
    if view.suspended:
        return Stays(deletions=left, requeue_at=lost_at(ending))
    message = f"Suspended: no pod runs. Set spec.suspend to false {_goes_on(view)}.{view.left_out}"
    changes = Changes(
        next_attempt_time=None,
        next_attempt_times=None,
        queue_time=None,
        queue_position=None,
        suspending=None,
        ended_programs=view.evaluator_ended,
    )
    if any(each.pod is not None or each.seen for each in view.pods):
        changes["attempts"] = view.pods.next_attempts()
        changes["running_seconds"] = view.seconds_run
        changes["start_time"] = view.start_time
    not_admitted = Admitted(False, JobReason.SUSPENDED, message)
    return GoesOn(
        JobState.QUEUED,
        JobReason.SUSPENDED,
        message,
        not_admitted,
        changes,
        suspended=True,
        deletions=left,
        requeue_at=lost_at(ending),
    )


def _suspending(view: View, pods: Sequence[PodRecord]) -> Answer:
    where = stage.of_set(view.pods, view.job)
    message = f"Suspending: the program saves a checkpoint and ends. Set spec.suspend to false {_goes_on(view)}."
    return GoesOn(
        where.state,
        JobReason.SUSPENDED,
        message + slow_end(view, pods),
        ACCEPTED,
        pods_seen(view, suspending=True),
        running=where.running,
        deletions=stop(pods, view.now, grace_seconds(view.job, view.settings)),
        requeue_at=times.earliest(slow_end_wake(view, pods), lost_at(pods)),
    )


def _goes_on(view: View) -> str:
    """What happens when the suspension is taken back, by the checkpoint that is published."""
    newest = _published_steps(view)
    if newest:
        return f"to go on from the newest checkpoint (step {max(newest)} at the moment)"
    origin = view.spec.checkpoint.from_ if view.spec.checkpoint else None
    if origin is not None:
        return f"to go on; this job has published no checkpoint yet, so it would begin with the checkpoint of {origin}"
    return (
        "to go on; this job has published no checkpoint yet, so it would start from the beginning (a checkpoint is a "
        "folder or file in $FOVEA_CHECKPOINT_DIR that is named by its step, such as 500/, checkpoint-500/ or 500.pt)"
    )


def _published_steps(view: View) -> list[int]:
    """Steps of the newest checkpoint, as the status, the agent's last report and its termination message have it."""
    reported = view.reported.get("checkpoint")
    pod = view.chief.pod
    sync = pod.containers.get(names.SYNC_CONTAINER) if pod is not None else None
    said = Termination.from_json(sync.termination_message) if sync is not None else None
    found = [
        view.status.checkpoint.step if view.status.checkpoint else None,
        reported.step if reported else None,
        said.checkpoint_step if said else None,
    ]
    return [step for step in found if isinstance(step, int)]


def cancel(view: View) -> Answer:
    """End the pods, then the job."""
    pods = alive(view.observed.pods, view.now)
    if not pods:
        message = "Cancelled as asked. Checkpoints that were published stay; a new job can begin with them."
        return Ends(JobState.CANCELLED, JobReason.CANCELLED, message)
    return GoesOn(
        JobState.CANCELLING,
        JobReason.CANCELLED,
        f"Cancelling: waiting for the pods to end.{slow_end(view, pods)}",
        ACCEPTED,
        pods_seen(view, **view.best),
        running=any(trainer_started(pod) for pod in pods),
        deletions=stop(pods, view.now, view.settings.cancel_grace_seconds),
        requeue_at=times.earliest(slow_end_wake(view, pods), lost_at(pods)),
    )


HEARING = timedelta(seconds=2 * REPORT_AT_LEAST_EVERY)
"""A sidecar that posts its reports has heard of the program's end by then, and has said so."""


def answer(pod: PodRecord) -> ProgressAnswer:
    """What the pod's sidecar is to know."""
    return ProgressAnswer(program_ended=trainer_ended(pod) is not None)


def end_pod(view: View) -> Answer | None:
    """End the chief's pod when its program has ended and others live on in it."""
    pod = view.chief.pod
    if pod is None or ended(pod):
        return None
    time = others_due(pod)
    if not view.chief.had_ended and (time is None or view.now < time):
        return None
    end = _end(view, pod)
    ended_programs = {**(view.status.ended_programs or {}), view.chief.member.key: _exit_code(pod)}
    return GoesOn(
        JobState.RUNNING,
        JobReason.ENDING_POD,
        _ending_message(pod, end) + view.left_out,
        ACCEPTED,
        pods_seen(view, ended_programs=ended_programs),
        running=True,
        deletions=() if end.deletion is None else (end.deletion,),
        requeue_at=times.earliest(end.wait, lost_at([pod])),
    )


def held_up(view: View) -> tuple[Deletion, ...]:
    """Pods of members that are done, and that containers of others keep alive."""
    held = (each.pod for each in view.pods if each.done and each.pod is not None)
    due = [pod for pod in held if (time := others_due(pod)) is not None and view.now >= time]
    return stop(due, view.now, view.settings.cancel_grace_seconds)


@dataclass(frozen=True)
class _End:
    """The pod's deletion, or until when that waits for the sidecar; neither while the pod is being deleted."""

    deletion: Deletion | None = None
    wait: datetime | None = None


def _end(view: View, pod: PodRecord) -> _End:
    if pod.deleting:
        return _End()
    said = view.observed.progress
    if said is not None and said.last_words:
        # The pod's own grace period is not needed any more.
        return _End(deletion(pod, view.settings.cancel_grace_seconds))
    finished = view.program_ended or view.now
    if said is not None and said.publishing:
        until = finished + timedelta(seconds=grace_seconds(view.job, view.settings)) + HEARING
    elif view.settings.report_url:
        until = finished + OTHERS_PATIENCE + HEARING
    else:
        until = finished + OTHERS_PATIENCE
    # A sidecar that has not heard of it learns it by the deletion, and publishes in the pod's own grace period.
    return _End(wait=until) if view.now < until else _End(deletion(pod))


def _exit_code(pod: PodRecord) -> int:
    code = pod.container(names.TRAINER_CONTAINER).exit_code
    return exit_codes.INTERNAL if code is None else code


def _ending_message(pod: PodRecord, end: _End) -> str:
    which = ", ".join(pod.foreign) or "of others"
    then = "once that is done, the pod is deleted" if end.wait else "so the pod is deleted"
    return (
        f"The program ended with exit code {_exit_code(pod)}; what it wrote is being published. Fovea did not add container {which} to "
        f"pod {pod.name}, and it had not ended: {then}."
    )


PATIENCE = timedelta(seconds=30)
"""A program that handles SIGTERM has saved its checkpoint by then, or is about to."""


def _slow_from(pods: Iterable[PodRecord]) -> datetime | None:
    """When the first of the pods that are ending has taken so long that the message says so."""
    return times.earliest(*(pod.told_to_end + PATIENCE for pod in pods if pod.told_to_end and not ended(pod)))


def slow_end_wake(view: View, pods: Iterable[PodRecord]) -> datetime | None:
    """The same, as long as that time lies ahead."""
    time = _slow_from(pods)
    return time if time is not None and time > view.now else None


def slow_end(view: View, pods: Iterable[PodRecord]) -> str:
    """Which pod takes long to end, and when it is killed; empty before that."""
    for pod in pods:
        if not ended(pod) and pod.told_to_end and view.now >= pod.told_to_end + PATIENCE:
            return _slow_pod(view, pod)
    return ""


def _slow_pod(view: View, pod: PodRecord) -> str:
    until = times.text(pod.deletion_deadline) if pod.deletion_deadline else "the end of its grace period"
    trainer = pod.container(names.TRAINER_CONTAINER)
    report = view.observed.progress
    if trainer.exit_code is not None or (report is not None and report.publishing):
        return f" The program has ended; what it left is being published, until {until} at the latest."
    if trainer.running_since is None:
        return f" Kubernetes kills what still runs in pod {pod.name} at {until}."
    # The kubelet does not say which of a pod's containers have ended before all have.
    return (
        f" Pod {pod.name} has been ending since {times.text(pod.told_to_end or view.now)} and still runs: container "
        f"{names.TRAINER_CONTAINER} does not end at SIGTERM, or its files are still being published. Kubernetes kills what "
        f"still runs at {until}. To end sooner, let the program handle SIGTERM: see docs/how-to/own-program.md"
    )
