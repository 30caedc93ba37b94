"""The users of a data set: jobs that have not ended and read it, and model versions whose files lie in it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fovea_api.contract import storage
from fovea_api.v1alpha1 import ModelVersion, TrainingJob
from fovea_api.v1alpha1.common import Metadata
from fovea_api.v1alpha1.model_version import KIND as VERSION
from fovea_api.v1alpha1.training_job import KIND as JOB

from .cluster import Cluster
from .errors import ForbiddenError, FoveaError, InvalidError, NotInstalledError, UnreachableError
from .resources import Kinds

R = TypeVar("R", TrainingJob, ModelVersion)
_NAMED = 5


@dataclass(frozen=True)
class Users:
    """The users of a data set: `job digits`, `version digits-v3 in namespace speech`."""

    named: tuple[str, ...]
    everywhere: bool
    """Whether all namespaces were looked at; else the cluster's own one alone, since the user may not."""
    unknown: tuple[FoveaError, ...] = ()
    """What kept it from knowing of more: a list that failed, an object that this client cannot read."""

    def __str__(self) -> str:
        """The first of them, and how many more."""
        return _first(self.named, ", ")

    @property
    def doubts(self) -> str:
        """What is not known, the first of it; empty where all is."""
        return _first(tuple(dict.fromkeys(map(str, self.unknown))), "; ")


def of(cluster: Cluster, uri: str) -> Users:
    """The users of this address, as far as they can be known. Each object is read on its own."""
    jobs: Kinds[TrainingJob] = Kinds(cluster, JOB, TrainingJob)
    versions: Kinds[ModelVersion] = Kinds(cluster, VERSION, ModelVersion)
    found = (
        _of_kind("job", jobs, lambda job: _reads(job, uri)),
        _of_kind("version", versions, lambda each: _holds(each, uri)),
    )
    return Users(
        tuple(name for users in found for name in users.named),
        all(users.everywhere for users in found),
        tuple(error for users in found for error in users.unknown),
    )


def _of_kind(what: str, kinds: Kinds[R], uses: Callable[[R], bool]) -> Users:
    named: list[str] = []
    unknown: list[FoveaError] = []
    everywhere, documents = True, list[dict[str, Any]]()
    try:
        try:
            documents = kinds.list_everywhere()
        except ForbiddenError:
            everywhere, documents = False, kinds.list()
    except (ForbiddenError, UnreachableError, NotInstalledError, InvalidError) as error:
        unknown.append(error)
    for document in documents:
        try:
            each = kinds.read(document)
        except InvalidError as error:
            unknown.append(error)
            continue
        if uses(each):
            named.append(_named(what, each.metadata, kinds.namespace))
    return Users(tuple(named), everywhere, tuple(unknown))


def _first(texts: tuple[str, ...], between: str) -> str:
    more = len(texts) - _NAMED
    return between.join(texts[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _holds(version: ModelVersion, uri: str) -> bool:
    return _any_overlap(uri, [version.spec.uri])


def _reads(job: TrainingJob, uri: str) -> bool:
    resolved = [found.uri for found in job.status.resolved_inputs or []]
    over = job.status.state is not None and job.status.state.ended
    return not over and _any_overlap(uri, [*(job.spec.inputs or {}).values(), *resolved])


def _named(kind: str, metadata: Metadata, own: str) -> str:
    elsewhere = f" in namespace {metadata.namespace}" if metadata.namespace != own else ""
    return f"{kind} {metadata.name}{elsewhere}"


def _any_overlap(uri: str, others: list[str]) -> bool:
    return any(_overlap(uri, other) for other in others if other.startswith(f"{storage.SCHEME}://"))


def _overlap(one: str, other: str) -> bool:
    """Whether two addresses share objects: one lies in the other."""
    one, other = one.rstrip("/") + "/", other.rstrip("/") + "/"
    return one.startswith(other) or other.startswith(one)
