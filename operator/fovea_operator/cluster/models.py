"""What is known of each model by its name: an index of its versions and their numbers, kept with every change."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from fovea_api.v1alpha1 import ModelDeployment, ModelVersion, TrainingJob, numbering

from fovea_operator.reconcile.shared.versions import VersionIndex, Versions

Model = tuple[str, str]
"""Namespace and name of a model."""
T = TypeVar("T")


class Models:
    """The indexes. `version_changed`, `job_changed` and `deployment_changed` are called with every change of the stores."""

    def __init__(self) -> None:
        self._indexes: dict[Model, VersionIndex] = {}
        self._reserving: dict[str, Model] = {}  # by the uid of the job

    def versions(self, namespace: str, model: str) -> Versions:
        """The versions of a model."""
        return self._index((namespace, model))

    def next_number(self, namespace: str, model: str, uid: str) -> int:
        """The number that a version gets which the job with that uid registers now."""
        return self._index((namespace, model)).next_number(uid)

    def reserve(self, namespace: str, model: str, uid: str, number: int) -> None:
        """Hold a number for a job until its version is seen, or it is given back."""
        self.give_back(uid)
        self._reserving[uid] = (namespace, model)
        with self._changing((namespace, model)) as index:
            index.reserve(uid, number)

    def give_back(self, uid: str) -> None:
        """A job needs its number no more: its version is there, or was refused, or is not to be made."""
        model = self._reserving.pop(uid, None)
        if model is not None:
            with self._changing(model) as index:
                index.give_back(uid)

    def version_changed(self, before: ModelVersion | None, after: ModelVersion | None) -> None:
        """A ModelVersion came, is another one than before, or is gone."""
        if before is not None:
            with self._changing(_model(before)) as index:
                index.remove(before.spec.version)
        if after is not None:
            with self._changing(_model(after)) as index:
                index.put(after)
            if after.spec.lineage is not None:
                self.give_back(after.spec.lineage.job_uid)

    def job_changed(self, before: TrainingJob | None, after: TrainingJob | None) -> None:
        """As above, of a TrainingJob."""
        self._named(before, after, _named_by_job)

    def deployment_changed(self, before: ModelDeployment | None, after: ModelDeployment | None) -> None:
        """As above, of a ModelDeployment."""
        self._named(before, after, _named_by_deployment)

    def _named(self, before: T | None, after: T | None, of: Callable[[T], Iterable[tuple[Model, int]]]) -> None:
        old = tuple(of(before)) if before is not None else ()
        new = tuple(of(after)) if after is not None else ()
        if old == new:
            return
        for model, number in new:
            with self._changing(model) as index:
                index.name(number)
        for model, number in old:
            with self._changing(model) as index:
                index.unname(number)

    def _index(self, model: Model) -> VersionIndex:
        return self._indexes.get(model) or VersionIndex()

    @contextmanager
    def _changing(self, model: Model) -> Iterator[VersionIndex]:
        index = self._indexes.setdefault(model, VersionIndex())
        yield index
        if index.is_empty:
            del self._indexes[model]


def _model(version: ModelVersion) -> Model:
    return version.metadata.namespace, version.spec.model


def _named_by_job(job: TrainingJob) -> Iterable[tuple[Model, int]]:
    number = numbering.of_job(job)
    if number is not None and job.spec.model is not None:
        yield (job.metadata.namespace, job.spec.model.name), number


def _named_by_deployment(served: ModelDeployment) -> Iterable[tuple[Model, int]]:
    for number in numbering.of_model_deployment(served):
        yield (served.metadata.namespace, served.spec.model), number
