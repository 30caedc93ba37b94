"""Who uses a data set: jobs that have not ended and read it, and model versions whose files lie in it."""

from dataclasses import dataclass

from fovea_api.contract import storage
from fovea_api.v1alpha1 import ModelVersion, TrainingJob
from fovea_api.v1alpha1.common import Metadata
from fovea_api.v1alpha1.model_version import KIND as VERSION
from fovea_api.v1alpha1.training_job import KIND as JOB

from .cluster import Cluster
from .errors import ForbiddenError
from .resources import Kinds

_NAMED = 5


@dataclass(frozen=True)
class Users:
    """Who uses a data set: `job digits`, `version digits-v3 in namespace speech`."""

    named: tuple[str, ...]
    everywhere: bool
    """Whether all namespaces were looked at; else the cluster's own one alone, since the user may not."""

    def __str__(self) -> str:
        """The first of them, and how many more."""
        more = len(self.named) - _NAMED
        return ", ".join(self.named[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def of(cluster: Cluster, uri: str) -> Users:
    """The users of this address. Raises as `Kinds.list`, where they cannot be known."""
    jobs: Kinds[TrainingJob] = Kinds(cluster, JOB, TrainingJob)
    versions: Kinds[ModelVersion] = Kinds(cluster, VERSION, ModelVersion)
    everywhere = True
    try:
        found = jobs.list_everywhere(), versions.list_everywhere()
    except ForbiddenError:
        everywhere, found = False, (jobs.list(), versions.list())
    reading = [("job", job) for job in map(jobs.read, found[0]) if _reads(job, uri)]
    holding = [("version", each) for each in map(versions.read, found[1]) if _any_overlap(uri, [each.spec.uri])]
    named = (_named(kind, each.metadata, cluster.namespace) for kind, each in (*reading, *holding))
    return Users(tuple(named), everywhere)


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
