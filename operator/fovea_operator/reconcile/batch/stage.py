"""Where a prediction stands whose Job is there, in the words of its state."""

from datetime import datetime

from fovea_api.contract import names
from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import PredictionReason

from fovea_operator.reconcile.batch import outcome
from fovea_operator.reconcile.batch.answer import Answer
from fovea_operator.reconcile.batch.view import View
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.observed import PodRecord


def of(view: View, job: str) -> Answer:
    """The stage by the workers of the Job of that name: the most advanced one says it."""
    live = view.working
    if view.running:
        return _running(view, live)
    if view.job is not None and view.job.suspended:
        message = (
            f"Job {job} is suspended, and Fovea has not done that: `kubectl patch job {job} --type=merge "
            '-p \'{"spec":{"suspend":false}}\'` lets it go on.'
        )
        return Answer(JobState.QUEUED, PredictionReason.JOB_CREATED, message)
    if away := _store_away(view):
        message = f"The object store has not answered since {times.text(away)}. The workers start when it answers."
        return Answer(JobState.PREPARING, PredictionReason.STORE_UNREACHABLE, message)
    for pod in live:
        if problem := outcome.never(pod):
            return Answer(JobState.PREPARING, problem.reason, problem.message)
    if on_nodes := [pod for pod in live if pod.node]:
        pod = on_nodes[0]
        message = (
            f"Pod {pod.name} pulls images and fetches the model on node {pod.node}; if this takes long, see: kubectl "
            f"describe pod {pod.name}"
        )
        return Answer(JobState.PREPARING, PredictionReason.FETCHING, message)
    for pod in live:
        if pod.unschedulable:
            message = (
                f"No node takes pod {pod.name}: {pod.unschedulable.rstrip('.')}. Free a node or add one, or submit the "
                "prediction with another machine type."
            )
            return Answer(JobState.QUEUED, PredictionReason.UNSCHEDULABLE, message)
    return _without_node(view, job, live)


def _running(view: View, live: tuple[PodRecord, ...]) -> Answer:
    active = sum(pod.container(names.PREDICT_CONTAINER).running_since is not None for pod in live)
    which = "1 worker answers" if active == 1 else f"{active} workers answer"
    message = f"{which} records; follow them with: fovea predictions wait {view.prediction.metadata.name}"
    if away := _store_away(view):
        message += f". The object store has not answered since {times.text(away)}; nothing is lost."
    elif view.failed and not view.failed[-1].failure.disruption:
        message += f". {view.retry}"
    return Answer(JobState.RUNNING, PredictionReason.STARTED, message, running=True)


def _without_node(view: View, job: str, live: tuple[PodRecord, ...]) -> Answer:
    if live:
        message = f"Pod {live[0].name} waits for a node; if this takes long, see: kubectl describe pod {live[0].name}"
        return Answer(JobState.QUEUED, PredictionReason.JOB_CREATED, message)
    if view.failed:
        failure = view.failed[-1].failure
        reason = PredictionReason.DISRUPTED if failure.disruption else PredictionReason.RETRYING
        return Answer(JobState.QUEUED, reason, view.retry)
    message = f"Kubernetes makes the pods of Job {job}; if this takes long, see: kubectl describe job {job}"
    return Answer(JobState.QUEUED, PredictionReason.JOB_CREATED, message)


def _store_away(view: View) -> datetime | None:
    """Since when the store does not answer, by the workers' newest reports; None where it answers one of them."""
    said = [heard.report for pod in view.working if (heard := view.observed.heard.get(pod.uid)) is not None]
    since = [times.parse(str(report.store_unreachable_since or "")) for report in said]
    return min((each for each in since if each), default=None) if since and all(since) else None
