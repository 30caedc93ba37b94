"""Who uses a data set: jobs that have not ended and read it, and model versions whose files lie in it."""

from fovea_api.contract import storage
from fovea_api.v1alpha1 import ModelVersion, TrainingJob
from fovea_api.v1alpha1.model_version import KIND as VERSION
from fovea_api.v1alpha1.training_job import KIND as JOB

from .cluster import Cluster
from .resources import Kinds

_NAMED = 5


def of(cluster: Cluster, uri: str) -> list[str]:
    """`job digits`, `version digits-v3`: users of this address in the cluster's namespace. Raises as `Kinds.list`."""
    jobs: Kinds[TrainingJob] = Kinds(cluster, JOB, TrainingJob)
    versions: Kinds[ModelVersion] = Kinds(cluster, VERSION, ModelVersion)
    users = []
    for job in map(jobs.read, jobs.list()):
        resolved = [found.uri for found in job.status.resolved_inputs or []]
        state = job.status.state
        if (state is None or not state.ended) and _any_overlap(uri, [*(job.spec.inputs or {}).values(), *resolved]):
            users.append(f"job {job.metadata.name}")
    registered = [v for v in map(versions.read, versions.list()) if _any_overlap(uri, [v.spec.uri])]
    return users + [f"version {version.metadata.name}" for version in registered]


def sentence(users: list[str]) -> str:
    """The first of them, and how many more."""
    more = len(users) - _NAMED
    return ", ".join(users[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _any_overlap(uri: str, others: list[str]) -> bool:
    return any(_overlap(uri, other) for other in others if other.startswith(f"{storage.SCHEME}://"))


def _overlap(one: str, other: str) -> bool:
    """Whether two addresses share objects: one lies in the other."""
    one, other = one.rstrip("/") + "/", other.rstrip("/") + "/"
    return one.startswith(other) or other.startswith(one)
