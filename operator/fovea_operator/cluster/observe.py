"""Cached records → what a decision may know. No I/O: everything is in the cache."""

from fovea_api.contract.report import ProgressReport
from fovea_api.v1alpha1 import numbering

from fovea_operator.reconcile import urgency
from fovea_operator.reconcile.observed import DeploymentObserved, DeploymentRecord, JobObserved, PodRecord
from fovea_operator.reconcile.view import ended, is_over

from . import resources
from .cache import BY_LABEL, BY_MODEL, BY_OWNER, Cache, Entry
from .keys import Key
from .progress import Reports
from .routing import Routes


def pods_of_job(cache: Cache, key: Key, uid: str) -> tuple[PodRecord, ...]:
    """Pods owned by exactly this job, not by a namesake before it."""
    owned = cache.pods.group(BY_OWNER, (key.namespace, key.kind, key.name))
    return tuple(entry.record for entry in owned if entry.owner[2] == uid)


def orphans(cache: Cache, key: Key, uid: str) -> tuple[PodRecord, ...]:
    """Pods of a job of that name that is not there any more; `uid`: the job of that name that is, if any."""
    owned = cache.pods.group(BY_OWNER, (key.namespace, key.kind, key.name))
    return tuple(entry.record for entry in owned if entry.owner[2] != uid)


def job(cache: Cache, routes: Routes, reports: Reports, key: Key, refused: str) -> JobObserved | None:
    """What is known of a TrainingJob; None when there is none of that name."""
    entry = cache.jobs.get(key.namespace, key.name)
    references = routes.references(key)
    if entry is None or references is None:
        return None
    namespace, spec = key.namespace, entry.record.spec
    others = {name: cache.jobs.get(namespace, name) for name in references.jobs}
    named = cache.deployments.get(namespace, spec.model.name) if spec.model is not None else None
    pods = pods_of_job(cache, key, entry.uid)
    progress = _progress(reports, pods)
    status = entry.record.status
    remembered = status.output is not None and not is_over(status)
    published = remembered or any(map(ended, pods)) or (progress is not None and bool(progress.last_words))
    return JobObserved(
        job=entry.record,
        pods=pods,
        machine_types=cache.machine_types.by_name,
        unreadable_machine_types={name: item.message for (_, name), item in cache.machine_types.unreadable.items()},
        jobs={name: other.record for name, other in others.items() if other is not None},
        versions=tuple(
            version.record
            for model in references.models
            for version in cache.versions.group(BY_MODEL, (namespace, model))
        ),
        deployments={named.record.metadata.name: named.record} if named is not None else {},
        highest_taken=_highest_taken(cache, namespace, spec.model.name) if spec.model and published else 0,
        progress=progress,
        refused=refused,
        predecessors=orphans(cache, key, entry.uid),
    )


def _highest_taken(cache: Cache, namespace: str, model: str) -> int:
    """Asked only where a version may be registered: it looks at every job that has registered one."""
    jobs = (entry.record for entry in cache.jobs.group(BY_MODEL, (namespace, model)))
    deployments = (entry.record for entry in cache.deployments.group(BY_MODEL, (namespace, model)))
    return numbering.highest_taken(model, jobs, deployments)


def is_urgent(cache: Cache, key: Key) -> bool:
    """Whether a key is to be looked at before others, by what is known now."""
    if key.kind != resources.TRAINING_JOB.kind:
        return False
    entry = cache.jobs.get(key.namespace, key.name)
    return entry is not None and urgency.of_job(entry.record, pods_of_job(cache, key, entry.uid))


def _progress(reports: Reports, pods: tuple[PodRecord, ...]) -> ProgressReport | None:
    if not pods:
        return None
    latest = max(pods, key=lambda pod: pod.created)
    return reports.latest(latest.uid)


def deployment(cache: Cache, key: Key, refused: str) -> DeploymentObserved | None:
    """What is known of a ModelDeployment; None when there is none of that name."""
    entry = cache.deployments.get(key.namespace, key.name)
    if entry is None:
        return None
    owner = (key.namespace, key.kind, key.name)
    service = cache.services.get(key.namespace, key.name)
    ours = service is not None and service.owner[2] == entry.uid
    workloads: list[Entry[DeploymentRecord]] = [
        item for item in cache.workloads.group(BY_OWNER, owner) if item.owner[2] == entry.uid
    ]
    return DeploymentObserved(
        deployment=entry.record,
        versions=tuple(
            version.record for version in cache.versions.group(BY_MODEL, (key.namespace, entry.record.spec.model))
        ),
        workloads=tuple(item.record for item in workloads),
        pods=tuple(item.record for item in cache.pods.group(BY_LABEL, (key.namespace, key.name))),
        service=service.record if service is not None and ours else None,
        machine_types=cache.machine_types.by_name,
        unreadable_machine_types={name: item.message for (_, name), item in cache.machine_types.unreadable.items()},
        refused=refused,
    )
