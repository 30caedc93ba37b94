"""The members of a job: which pods it has, in order; and what each of them learns of the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from fovea_api.contract import names
from fovea_api.contract.cluster_spec import ClusterSpec
from fovea_api.v1alpha1 import TrainingJob
from fovea_api.v1alpha1.roles import Pods, pods_by_role


@dataclass(frozen=True)
class Member:
    """One pod's place in a job: a role and an index in it."""

    role: str = names.ROLE_CHIEF
    index: int = 0

    @cached_property
    def key(self) -> str:
        """Its key in the job's status."""
        return f"{self.role}-{self.index}"

    @property
    def publishes(self) -> bool:
        """Whether its sidecar publishes what the program leaves, so that its end counts only with that."""
        return self.role == names.ROLE_CHIEF

    @property
    def reads(self) -> bool:
        """Whether its program reads inputs and checkpoints: a parameter server holds what the others send it."""
        return self.role != names.ROLE_PS

    @property
    def follows(self) -> bool:
        """Whether it is the evaluator: the job needs it for nothing, so it waits for it in nothing."""
        return self.role == names.ROLE_EVALUATOR


def roles_of(job: TrainingJob) -> dict[str, Pods]:
    """The pods of a job by role, the chief's first."""
    return pods_by_role(job.spec.distribution, job.spec.scale_tier, job.spec.roles)


def members_of(job: TrainingJob) -> tuple[Member, ...]:
    """All pods of a job, the chief before all others."""
    return tuple(member for role, pods in roles_of(job).items() for member in _of_role(role, pods.count))


@cache
def _of_role(role: str, count: int) -> tuple[Member, ...]:
    """Made once: each decision on a job sorts its pods by them."""
    return tuple(Member(role, index) for index in range(count))


def together(members: Sequence[Member]) -> tuple[Member, ...]:
    """Those that train together, and find each other by a Service where they are several."""
    return tuple(each for each in members if not each.follows)


def cluster_spec(job: TrainingJob, members: Sequence[Member], member: Member) -> ClusterSpec | None:
    """What a member's `TF_CONFIG` says; None where it trains alone. No cluster lists the evaluator."""
    others = together(members)
    if len(others) == 1 and not member.follows:
        return None
    name, namespace = job.metadata.name, job.metadata.namespace
    cluster: dict[str, tuple[str, ...]] = {}
    for each in others:
        address = names.training_address(name, namespace, each.role, each.index)
        cluster[each.role] = (*cluster.get(each.role, ()), address)
    return ClusterSpec(cluster, member.role, member.index)
