"""Pods that are stopped: on spec.cancel, on spec.suspend, and when only the containers of others keep one alive.

A pod ends when all its containers have ended, and only then the kubelet tells the sidecar to publish. Where something else
added containers (a service mesh, an agent), the sidecar hears in the answers to its reports that the program has ended,
publishes, and reports its last words: a success is one then, whatever the pod does. Otherwise the pod is deleted when the
sidecar has said so. The status says so before: it is the memory by which exit code 0 is believed afterwards, though the pod
was deleted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fovea_api.contract import names
from fovea_api.contract.report import REPORT_AT_LEAST_EVERY, ProgressAnswer, Termination
from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import JobCondition, JobReason

from fovea_operator.desired.pod import grace_seconds
from fovea_operator.reconcile.shared import conditions, times
from fovea_operator.reconcile.shared.decision import Decision, Deletion
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from fovea_operator.reconcile.training import cleanup, progress, run_policy, stage, transition
from fovea_operator.reconcile.training.view import (
    OTHERS_PATIENCE,
    SLACK,
    View,
    ended,
    lost,
    others_due,
    trainer_ended,
    trainer_started,
)


def suspend(view: View) -> Decision:
    """Stop the pod, then say that the job is suspended."""
    pod = view.pod
    if pod is not None and not ended(pod) and not lost(pod, view.now):
        where = stage.of(pod, view.job)
        message = (
            f"Suspending: the program is to save a checkpoint and end. Set spec.suspend to false {_goes_on(view)}."
        )
        message += slow_end(view, [pod])
        new = transition.live(
            view,
            where.state,
            JobReason.SUSPENDED,
            message,
            running=where.running,
            attempts=view.attempts(view.attempt),
            next_attempt_time=None,
            start_time=run_policy.start_time(view),
            **progress.fields(view.observed.progress),
        )
        return transition.decision(
            view,
            new,
            deletions=cleanup.stop([pod], view.now, grace_seconds(view.job, view.settings)),
            requeue_at=times.earliest(
                slow_end_wake(view, [pod]), pod.deletion_deadline + SLACK if pod.deletion_deadline else None
            ),
        )
    if view.suspended:
        return Decision(status=transition.acknowledged(view))
    message = f"Suspended: no pod runs. Set spec.suspend to false {_goes_on(view)}."
    message += progress.left_out(view.observed.progress)
    known = progress.fields(view.observed.progress)
    new = transition.live(
        view, JobState.QUEUED, JobReason.SUSPENDED, message, next_attempt_time=None, queue_time=None, **known
    )
    had_pod = pod is not None or view.seen
    if had_pod:
        ran = {"running_seconds": view.seconds_run, "start_time": run_policy.start_time(view)}
        new = new.model_copy(update={"attempts": view.attempts(view.attempt + 1), **ran})
    held = conditions.put(
        new.conditions,
        JobCondition.SUSPENDED,
        "True",
        JobReason.SUSPENDED,
        message,
        now=view.now,
        generation=view.job.metadata.generation,
    )
    return transition.decision(view, new.model_copy(update={"conditions": held}))


def _goes_on(view: View) -> str:
    """What happens when the suspension is taken back, by the checkpoint that is published."""
    newest = _published_steps(view)
    if newest:
        return f"to go on from the newest checkpoint (step {max(newest)} at the moment)"
    origin = view.spec.checkpoint.from_ if view.spec.checkpoint else None
    if origin is not None:
        return f"to go on; this job has published no checkpoint yet, so it would begin again with that of {origin}"
    return (
        "to go on; this job has published no checkpoint yet, so it would start from the beginning (a checkpoint is a "
        "folder or file in $FOVEA_CHECKPOINT_DIR that is named by its step, such as 500/, checkpoint-500/ or 500.pt)"
    )


def _published_steps(view: View) -> list[int]:
    """Steps of the newest checkpoint, as the status, the agent's last report and its termination message have it."""
    reported = progress.fields(view.observed.progress).get("checkpoint")
    sync = view.pod.containers.get(names.SYNC_CONTAINER) if view.pod is not None else None
    said = Termination.from_json(sync.termination_message) if sync is not None else None
    found = [
        view.status.checkpoint.step if view.status.checkpoint else None,
        reported.step if reported else None,
        said.checkpoint_step if said else None,
    ]
    return [step for step in found if isinstance(step, int)]


def resume(view: View) -> View:
    """The job's view with the suspension taken back: it queues anew from now."""
    held = conditions.put(
        view.status.conditions,
        JobCondition.SUSPENDED,
        "False",
        JobReason.RESUMED,
        "spec.suspend is false again.",
        now=view.now,
        generation=view.job.metadata.generation,
    )
    now = times.text(view.now)
    resumed = view.status.model_copy(update={"conditions": held, "queue_time": now, "next_attempt_time": now})
    return view.with_status(resumed)


def cancel_wanted(view: View) -> bool:
    """Whether the job is to be cancelled. Once begun it is finished, even if the field could be taken back."""
    return view.spec.cancel or view.status.state == JobState.CANCELLING


def cancel(view: View) -> Decision:
    """End the pods, then the job."""
    alive = [pod for pod in view.observed.pods if not ended(pod) and not lost(pod, view.now)]
    if not alive:
        message = "Cancelled as asked. Checkpoints that were published stay; a new job can begin with them."
        new = transition.over(view, JobState.CANCELLED, JobReason.CANCELLED, message)
        return transition.end(view, new)
    running = any(trainer_started(pod) for pod in alive)
    message = f"Cancelling: waiting for the pods to end.{slow_end(view, alive)}"
    attempts: dict[str, Any] = {"attempts": view.attempts(view.attempt)} if view.begun else {}
    new = transition.live(
        view,
        JobState.CANCELLING,
        JobReason.CANCELLED,
        message,
        running=running,
        start_time=run_policy.start_time(view),
        next_attempt_time=None,
        **attempts,
    )
    ends = times.earliest(*(pod.deletion_deadline for pod in alive))
    return transition.decision(
        view,
        new,
        deletions=cleanup.stop(alive, view.now, view.settings.cancel_grace_seconds),
        requeue_at=times.earliest(slow_end_wake(view, alive), ends + SLACK if ends else None),
    )


HEARING = timedelta(seconds=2 * REPORT_AT_LEAST_EVERY)
"""A sidecar that posts its reports has heard of the program's end by then, and has said so."""


def answer(pod: PodRecord) -> ProgressAnswer:
    """What the pod's sidecar is to know."""
    return ProgressAnswer(program_ended=trainer_ended(pod) is not None)


def end_pod(view: View) -> Decision | None:
    """End the pod whose program has ended and in which others live on."""
    pod = view.pod
    if pod is None or ended(pod):
        return None
    if view.succeeded:
        # Of an earlier release, which did not remember what was published: it stands in the sidecar's words alone.
        return Decision(status=transition.acknowledged(view))
    time = others_due(pod)
    if not view.ending_pod and (time is None or view.now < time):
        return None
    end = _end(view, pod)
    new = transition.live(
        view,
        JobState.RUNNING,
        JobReason.ENDING_POD,
        _ending_message(pod, end) + progress.left_out(view.observed.progress),
        running=True,
        attempts=view.attempts(view.attempt),
        next_attempt_time=None,
        start_time=run_policy.start_time(view),
        **progress.fields(view.observed.progress),
    )
    return transition.decision(
        view,
        new,
        deletions=() if end.deletion is None else (end.deletion,),
        requeue_at=times.earliest(end.wait, pod.deletion_deadline + SLACK if pod.deletion_deadline else None),
    )


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
        # Nobody needs the pod's own grace period any more.
        return _End(cleanup.deletion(pod, view.settings.cancel_grace_seconds))
    finished = view.program_ended or view.now
    if said is not None and said.publishing:
        until = finished + timedelta(seconds=grace_seconds(view.job, view.settings)) + HEARING
    elif view.settings.report_url:
        until = finished + OTHERS_PATIENCE + HEARING
    else:
        until = finished + OTHERS_PATIENCE
    # One that has not heard is told by the deletion, and publishes in the pod's own grace period.
    return _End(wait=until) if view.now < until else _End(cleanup.deletion(pod))


def _ending_message(pod: PodRecord, end: _End) -> str:
    code = pod.containers.get(names.TRAINER_CONTAINER, ContainerRecord()).exit_code
    which = ", ".join(pod.foreign) or "of others"
    then = "once that is done, the pod is deleted" if end.wait else "so the pod is deleted"
    return (
        f"The program ended with exit code {code}; what it wrote is being published. Fovea did not add container {which} to "
        f"pod {pod.name}, and it had not ended: {then}."
    )


PATIENCE = timedelta(seconds=30)
"""A program that handles SIGTERM has saved its checkpoint by then, or is about to."""


def _slow_from(pods: Iterable[PodRecord]) -> datetime | None:
    """When the first of the pods that are ending has taken so long that it is said."""
    return times.earliest(*(pod.told_to_end + PATIENCE for pod in pods if pod.told_to_end and not ended(pod)))


def slow_end_wake(view: View, pods: Iterable[PodRecord]) -> datetime | None:
    """The same, as long as that time lies ahead."""
    time = _slow_from(pods)
    return time if time is not None and time > view.now else None


def slow_end(view: View, pods: Iterable[PodRecord]) -> str:
    """Which pod takes long to end, and what becomes of it; empty before that."""
    for pod in pods:
        if not ended(pod) and pod.told_to_end and view.now >= pod.told_to_end + PATIENCE:
            return _slow_pod(view, pod)
    return ""


def _slow_pod(view: View, pod: PodRecord) -> str:
    until = times.text(pod.deletion_deadline) if pod.deletion_deadline else "the end of its grace period"
    trainer = pod.containers.get(names.TRAINER_CONTAINER, ContainerRecord())
    report = view.observed.progress
    if trainer.exit_code is not None or (report is not None and report.publishing):
        return f" The program has ended; what it left is being published, until {until} at the latest."
    if trainer.running_since is None:
        return f" What still runs in pod {pod.name} at {until} is killed."
    # The kubelet does not say which of a pod's containers have ended before all have.
    return (
        f" Pod {pod.name} is being deleted since {times.text(pod.told_to_end or view.now)} and has not ended: container "
        f"{names.TRAINER_CONTAINER} does not end at SIGTERM, or its files are still being published. What still runs at "
        f"{until} is killed. To end sooner, a program handles SIGTERM: see docs/how-to/own-program.md"
    )
