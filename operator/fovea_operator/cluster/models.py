"""An index of the versions of each model and of their numbers. Each change of the cache updates it."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from fovea_api.v1alpha1 import BatchPrediction, ModelDeployment, ModelVersion, TrainingJob, numbering

from fovea_operator.reconcile.shared.observed import Versions

Model = tuple[str, str]
"""Namespace and name of a model."""
T = TypeVar("T")


@dataclass
class VersionIndex:
    """The versions of one model that exist, the numbers that statuses name, and those that are reserved.

    Each answer costs the same, whatever the number of versions, since the lists are kept in order. A reservation holds a number
    for one job from the decision to register a version until the version exists or is refused: no two jobs try the same number.
    """

    _by_number: dict[int, ModelVersion] = field(default_factory=dict)
    _by_job: dict[str, list[int]] = field(default_factory=dict)
    # Numbers in order, the highest last.
    _numbers: list[int] = field(default_factory=list)
    _approved: list[int] = field(default_factory=list)
    _servable: list[int] = field(default_factory=list)
    _named: list[int] = field(default_factory=list)
    _reserved: dict[str, int] = field(default_factory=dict)

    def find(self, number: int | None = None, *, to_serve: bool = False) -> ModelVersion | None:
        """The version of a number, or the newest approved one; `to_serve`: only one that can be served.

        A version that is being deleted does not count.
        """
        if number is None:
            newest = self._servable if to_serve else self._approved
            return self._by_number[newest[-1]] if newest else None
        found = self._by_number.get(number)
        if found is None or found.metadata.deletion_timestamp is not None:
            return None
        return found if _is_servable(found) or not to_serve else None

    def of_job(self, uid: str) -> ModelVersion | None:
        """The version that the job with that uid has registered."""
        numbers = self._by_job.get(uid)
        return self._by_number[numbers[0]] if numbers else None

    def put(self, version: ModelVersion) -> None:
        """Add a version, or replace it."""
        number, deleted = version.spec.version, version.metadata.deletion_timestamp is not None
        self.remove(number)
        self._by_number[number] = version
        insort(self._numbers, number)
        if uid := _job_uid(version):
            insort(self._by_job.setdefault(uid, []), number)
        if version.spec.approval == "Approved" and not deleted:
            insort(self._approved, number)
            if _is_servable(version):
                insort(self._servable, number)

    def remove(self, number: int) -> None:
        """Remove the version of this number."""
        version = self._by_number.pop(number, None)
        if version is None:
            return
        for numbers in (self._numbers, self._approved, self._servable):
            _take_out(numbers, number)
        if uid := _job_uid(version):
            _take_out(self._by_job[uid], number)
            if not self._by_job[uid]:
                del self._by_job[uid]

    def name(self, number: int) -> None:
        """Count a status that names this number."""
        insort(self._named, number)

    def unname(self, number: int) -> None:
        """A status no longer names this number."""
        _take_out(self._named, number)

    def next_number(self, uid: str) -> int:
        """Number for a new version of the job with this uid: the number that the job has reserved, if it is still free, or the next one."""
        own = self._reserved.get(uid)
        if own is not None and own not in self._by_number and not _holds(self._named, own):
            return own
        others = (number for holder, number in self._reserved.items() if holder != uid)
        highest = (numbers[-1] for numbers in (self._numbers, self._named) if numbers)
        return max((0, *highest, *others)) + 1

    def reserve(self, uid: str, number: int) -> None:
        """Reserve a number for a job, instead of the number that it reserved before."""
        self._reserved[uid] = number

    def give_back(self, uid: str) -> None:
        """Cancel the reservation of the job with this uid, if there is one."""
        self._reserved.pop(uid, None)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known of the model."""
        return not (self._by_number or self._named or self._reserved)


class Models:
    """The indexes. `version_changed`, `job_changed`, `deployment_changed` and `prediction_changed` are called with every change of the stores."""

    def __init__(self) -> None:
        self._indexes: dict[Model, VersionIndex] = {}
        self._reserving: dict[str, Model] = {}  # by the uid of the job

    def versions(self, namespace: str, model: str) -> Versions:
        """The versions of a model."""
        return self._index((namespace, model))

    def next_number(self, namespace: str, model: str, uid: str) -> int:
        """The number for a version that the job with this uid registers now."""
        return self._index((namespace, model)).next_number(uid)

    def reserve(self, namespace: str, model: str, uid: str, number: int) -> None:
        """Reserve a number for a job until its version comes in, or until `give_back`."""
        self.give_back(uid)
        self._reserving[uid] = (namespace, model)
        with self._changing((namespace, model)) as index:
            index.reserve(uid, number)

    def give_back(self, uid: str) -> None:
        """Cancel the reservation of a job: its version exists or is not needed."""
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

    def prediction_changed(self, before: BatchPrediction | None, after: BatchPrediction | None) -> None:
        """As above, of a BatchPrediction."""
        self._named(before, after, _named_by_prediction)

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


def _named_by_prediction(prediction: BatchPrediction) -> Iterable[tuple[Model, int]]:
    for number in numbering.of_prediction(prediction):
        yield (prediction.metadata.namespace, prediction.spec.model), number


def _is_servable(version: ModelVersion) -> bool:
    """Whether its files are a SavedModel."""
    return version.spec.format != "Other"


def _job_uid(version: ModelVersion) -> str:
    return version.spec.lineage.job_uid if version.spec.lineage is not None else ""


def _holds(numbers: list[int], number: int) -> bool:
    place = bisect_left(numbers, number)
    return place < len(numbers) and numbers[place] == number


def _take_out(numbers: list[int], number: int) -> None:
    if _holds(numbers, number):
        del numbers[bisect_left(numbers, number)]
