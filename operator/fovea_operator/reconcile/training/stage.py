"""Where a training pod that has not ended stands, in the words of a job's state."""

from dataclasses import dataclass, replace
from datetime import datetime

from fovea_api.contract import names
from fovea_api.contract.report import Termination
from fovea_api.v1alpha1 import JobState, TrainingJob
from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.reconcile.shared import containers, times
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from fovea_operator.reconcile.shared.pods import PodSet, ended

_ADVANCE = (JobState.QUEUED, JobState.PREPARING, JobState.RUNNING)


@dataclass(frozen=True)
class Stage:
    """State, reason and sentence.

    `waiting` counts against maxWaitSeconds: from `waiting_since`, or the whole time in the queue. `quiet_since` is set for
    an ordinary stage, which is reported only when it lasts.
    """

    state: JobState
    reason: JobReason
    message: str
    running: bool = False
    waiting: bool = False
    waiting_since: datetime | None = None
    quiet_since: datetime | None = None


def of(pod: PodRecord, job: TrainingJob, *, heard: bool = False) -> Stage:
    """The stage of a live pod of a job; `heard`: its agent has reported, so it runs, whatever the kubelet says."""
    trainer = pod.container(names.TRAINER_CONTAINER)
    if pod.deleting:
        running = trainer.running_since is not None or trainer.exit_code is not None
        state = JobState.RUNNING if running else JobState.PREPARING
        why = f" ({pod.disrupted})" if pod.disrupted else ""
        message = (
            f"Pod {pod.name} is being deleted{why}: its program saves a checkpoint, then the job goes on in a new pod."
        )
        if trainer.exit_code is not None:
            message = (
                f"Pod {pod.name} is being deleted{why}: its program has ended, and what it wrote is being published."
            )
        return Stage(state, JobReason.STOPPING, message, running=running)
    if trainer.exit_code is not None:
        message = f"The program ended with exit code {trainer.exit_code}; what it wrote is being published."
        return Stage(JobState.RUNNING, JobReason.PUBLISHING, message, running=True, quiet_since=trainer.finished)
    if trainer.running_since is not None:
        message = f"The program runs in pod {pod.name}; follow it with: fovea jobs stream-logs {job.metadata.name}"
        if trouble := _agent_trouble(pod):
            message += f". Nothing can be published at the moment: {trouble}"
        return Stage(JobState.RUNNING, JobReason.STARTED, message, running=True)
    if problem := problem_of(pod, job):
        turn = _turn(pod)
        return Stage(JobState.PREPARING, problem.reason, problem.message, waiting=True, waiting_since=turn)
    if trouble := _agent_trouble(pod):
        message = f"Fovea's agent cannot start: {trouble}."
        return Stage(JobState.PREPARING, JobReason.AGENT_FAILED, message)
    if pod.unschedulable and not pod.node:
        message = (
            f"No node takes the pod: {pod.unschedulable.rstrip('.')}. "
            "Free a node or add one, or submit the job with another machine type."
        )
        return Stage(JobState.QUEUED, JobReason.UNSCHEDULABLE, message, waiting=True)
    if not pod.node:
        message = f"Pod {pod.name} waits for a node; if this takes long, see: kubectl describe pod {pod.name}"
        return Stage(JobState.QUEUED, JobReason.POD_CREATED, message, waiting=True, quiet_since=pod.created)
    if not heard and not _has_begun(pod):
        return _mounting(pod, job)
    does = "pulls images and fetches inputs" if names.FETCH_CONTAINER in pod.containers else "pulls images"
    message = f"Pod {pod.name} {does} on node {pod.node}; if this takes long, see: kubectl describe pod {pod.name}"
    return Stage(JobState.PREPARING, JobReason.FETCHING, message, quiet_since=pod.created)


def of_set(pods: PodSet, job: TrainingJob, *, heard: bool = False) -> Stage:
    """The stage of a job by its live pods: the chief's once its program runs, before that the least advanced one.

    `heard`: the chief's agent has reported.
    """
    chief = pods.first.pod
    live = [each.pod for each in pods.needed if each.pod is not None and not ended(each.pod)]
    found = [of(pod, job, heard=heard and pod is chief) for pod in live]
    first = of(chief, job, heard=heard) if chief is not None else None
    if first is not None and (first.running or not found):
        return first
    if not found:
        # Only the evaluator is there, until it has ended as well.
        others = [of(pod, job) for pod in pods.current if not ended(pod)]
        return replace(others[0], state=JobState.QUEUED, running=False, waiting=False)
    return min(found, key=lambda where: _ADVANCE.index(where.state))


def _has_begun(pod: PodRecord) -> bool:
    sync = pod.container(names.SYNC_CONTAINER)
    first = pod.containers.get(names.FETCH_CONTAINER, sync)
    return first.running_since is not None or first.exit_code is not None


def _mounting(pod: PodRecord, job: TrainingJob) -> Stage:
    """On a node, and no agent has started. A volume that cannot be mounted leaves no word in the pod's status."""
    since = pod.scheduled or pod.created
    if before := [name for name, record in pod.containers.items() if _runs_before(pod, name, record)]:
        message = (
            f"Pod {pod.name} waits for containers that Fovea did not add and that run before its own: {', '.join(before)}; if "
            f"this takes long, see: kubectl describe pod {pod.name}"
        )
        return Stage(JobState.PREPARING, JobReason.FETCHING, message, waiting=True, waiting_since=since)
    container = job.spec.trainer.container
    volumes = ", ".join(volume.name for volume in (container.volumes if container else None) or ())
    why = (
        f"check that the Secrets, ConfigMaps and PersistentVolumeClaims of its volumes ({volumes}) exist"
        if volumes
        else "see"
    )
    message = (
        f"Pod {pod.name} is on node {pod.node}, which mounts its volumes and pulls the agent's image; if this takes long, "
        f"{why}: kubectl describe pod {pod.name}"
    )
    return Stage(
        JobState.PREPARING, JobReason.FETCHING, message, waiting=True, waiting_since=since, quiet_since=pod.created
    )


def _runs_before(pod: PodRecord, name: str, record: ContainerRecord) -> bool:
    return (
        name not in names.OWN_CONTAINERS
        and name not in pod.foreign
        and (record.running_since is not None or record.exit_code not in (None, 0) or record.last_exit_code is not None)
    )


def without_store(where: Stage, since: datetime) -> Stage:
    """The stage of a pod whose agent says that the object store does not answer: nothing is lost, and the status says so at once.

    Of a pod whose program has not started the kubelet does not even say that the agent runs: it starts nothing else meanwhile.
    """
    away = f"The object store has not answered since {times.text(since)}."
    if where.running:
        message = f"{where.message.rstrip('.')}. {away} Publishing goes on when it answers; nothing is lost."
    elif where.reason == JobReason.FETCHING:
        message = f"{away} The program starts when it answers."
    else:
        return where
    return replace(where, reason=JobReason.STORE_UNREACHABLE, message=message, waiting=False, quiet_since=None)


def with_left_out(where: Stage, said: str) -> Stage:
    """The stage of a pod of which not everything is published; `said` is a sentence, with a space before it."""
    return replace(where, message=f"{where.message.rstrip('.')}.{said}") if said else where


def _agent_trouble(pod: PodRecord) -> str:
    """Why the sidecar, which the kubelet starts again and again, has ended; empty when it runs."""
    sync = pod.container(names.SYNC_CONTAINER)
    if sync.waiting_reason != "CrashLoopBackOff":
        return ""
    said = Termination.from_json(sync.last_message)
    return said.message.rstrip(".") if said else f"container {names.SYNC_CONTAINER} ended with {sync.last_exit_code}"


def problem_of(pod: PodRecord, job: TrainingJob) -> containers.Problem | None:
    """What keeps the first of its containers from starting, by the kubelet's word."""
    users = job.spec.trainer.container is not None
    found = (containers.of_waiting(name, record, users=users) for name, record in pod.containers.items())
    return next((problem for problem in found if problem), None)


def _turn(pod: PodRecord) -> datetime:
    """Since when the container that waits could have started: since those before it had ended, or had let it start."""
    fetch = pod.container(names.FETCH_CONTAINER)
    return pod.initialized or fetch.finished or pod.scheduled or pod.created
