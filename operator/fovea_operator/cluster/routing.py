"""Which keys a change of an object concerns. Pure but for its own index of who names whom."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from fovea_api.contract import labels
from fovea_api.v1alpha1 import ModelDeployment, ModelVersion, TrainingJob

from . import keys, resources
from .cache import BY_MODEL, Cache, Change
from .keys import Key

_JOB, _MODEL = "job", "model"
_Subject = tuple[str, str, str]


class References(Protocol):
    """What a job names, as `reconcile.references.needs` tells it."""

    @property
    def jobs(self) -> Iterable[str]:
        """Names of other jobs."""
        ...

    @property
    def inputs(self) -> Iterable[str]:
        """Names of models of which it reads a version."""
        ...

    @property
    def models(self) -> Iterable[str]:
        """Names of models, of which it registers or reads versions."""
        ...


class Routes:
    """Answers `keys` for every change of the cache, in the order of the changes."""

    def __init__(self, cache: Cache, needs: Callable[[TrainingJob], References]) -> None:
        self._cache = cache
        self._needs = needs
        self._references: dict[Key, References] = {}
        self._named_by: dict[_Subject, set[Key]] = {}
        self._unfinished: set[Key] = set()

    def references(self, key: Key) -> References | None:
        """What a cached job names."""
        return self._references.get(key)

    def keys(self, kind: str, change: Change[Any]) -> set[Key]:
        """Keys to look at again after this change of an object of this kind."""
        match kind:
            case resources.TRAINING_JOB.kind:
                return set(self._of_job(change))
            case resources.MODEL_VERSION.kind:
                return set(self._of_version(change))
            case resources.MODEL_DEPLOYMENT.kind:
                return {keys.deployment(*change.name)}
            case resources.MACHINE_TYPE.kind:
                return {*self._unfinished, *(keys.deployment(*name) for name, _ in self._cache.deployments)}
            case _:
                return set(_of_child(change))

    def _of_job(self, change: Change[TrainingJob]) -> Iterator[Key]:
        key = keys.job(*change.name)
        yield key
        before, after = change.before, change.after
        if after is None or before is None or before.uid != after.uid:
            self._index(key, after.record if after is not None else None)
        if after is not None and not _ended(after.record):
            self._unfinished.add(key)
        else:
            self._unfinished.discard(key)
        if (
            before is None
            or after is None
            or before.uid != after.uid
            or _ended(before.record) != _ended(after.record)
            or before.record.status.checkpoint != after.record.status.checkpoint
        ):
            yield from self._waiting(_JOB, *change.name)

    def _of_version(self, change: Change[ModelVersion]) -> Iterator[Key]:
        # Jobs that train the model wait for none of its versions: a sweep of them would wake itself at each that ends.
        namespace = change.name[0]
        for model in {entry.record.spec.model for entry in (change.before, change.after) if entry is not None}:
            yield from self._waiting(_MODEL, namespace, model)
            for entry in self._cache.deployments.group(BY_MODEL, (namespace, model)):
                yield keys.deployment(namespace, _name(entry.record))

    def _waiting(self, what: str, namespace: str, name: str) -> Iterator[Key]:
        for key in self._named_by.get((what, namespace, name), ()):
            if key in self._unfinished:
                yield key

    def _index(self, key: Key, job: TrainingJob | None) -> None:
        old = self._references.pop(key, None)
        for subject in _subjects(key, old):
            self._named_by[subject].discard(key)
            if not self._named_by[subject]:
                del self._named_by[subject]
        if job is None:
            return
        self._references[key] = new = self._needs(job)
        for subject in _subjects(key, new):
            self._named_by.setdefault(subject, set()).add(key)


def _subjects(key: Key, references: References | None) -> set[_Subject]:
    if references is None:
        return set()
    return {(_JOB, key.namespace, name) for name in references.jobs} | {
        (_MODEL, key.namespace, name) for name in references.inputs
    }


def _of_child(change: Change[Any]) -> Iterator[Key]:
    namespace = change.name[0]
    for entry in (change.before, change.after):
        if entry is None:
            continue
        kind, name, _ = entry.owner
        if kind == resources.TRAINING_JOB.kind:
            yield keys.job(namespace, name)
        elif kind == resources.MODEL_DEPLOYMENT.kind:
            yield keys.deployment(namespace, name)
        elif labels.DEPLOYMENT in entry.labels:
            yield keys.deployment(namespace, entry.labels[labels.DEPLOYMENT])


def _ended(job: TrainingJob) -> bool:
    return job.status.state is not None and job.status.state.ended


def _name(deployment: ModelDeployment) -> str:
    return deployment.metadata.name
