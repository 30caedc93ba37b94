"""A model's first version: whether one is served, is being started or cannot be started; and waiting for it."""

import time
from collections.abc import Callable

from fovea_api.v1alpha1 import ModelDeployment
from fovea_api.v1alpha1.conditions import ServingCondition
from fovea_api.v1alpha1.model_deployment import KIND

from .cluster import Cluster
from .errors import UnreachableError
from .patience import Patience
from .resources import Kinds

SECONDS = 600.0
"""How long it is waited for unless a caller says otherwise: as long as a rollout takes by default at most."""
_POLL_SECONDS = 1.0


def answers(deployment: ModelDeployment) -> bool:
    """Whether some version answers."""
    return deployment.status.stable is not None and deployment.status.endpoint is not None


def cannot_come(deployment: ModelDeployment) -> bool:
    """Whether none is being started: the operator has seen this spec and starts none."""
    said = deployment.status.conditions or []
    return not answers(deployment) and any(
        condition.type == ServingCondition.PROGRESSING
        and condition.status == "False"
        and condition.observed_generation == deployment.metadata.generation
        for condition in said
    )


def await_first(
    cluster: Cluster,
    deployment: ModelDeployment,
    *,
    seconds: float = SECONDS,
    notice: Callable[[str], None] = lambda _: None,
) -> ModelDeployment:
    """The deployment as soon as a version of it answers; `notice` gets a message on what is waited for, once for each change.

    Raises UnreachableError when none can come, or none came within `seconds`.
    """
    kinds: Kinds[ModelDeployment] = Kinds(cluster, KIND, ModelDeployment)
    name, deadline, patience, said = deployment.metadata.name, time.monotonic() + seconds, Patience(), ""
    while not answers(deployment):
        standing = deployment.status.message or "the operator has not looked at it yet"
        left = deadline - time.monotonic()
        if cannot_come(deployment) or left <= 0:
            raise UnreachableError(
                f"ModelDeployment {name} serves nothing yet ({standing}): "
                f"`fovea models describe {deployment.spec.model} -n {cluster.namespace}` says where it stands"
            )
        if standing != said:
            notice(f"Waiting for ModelDeployment {name}: {standing}")
            said = standing
        time.sleep(min(_POLL_SECONDS, left))
        try:
            deployment = kinds.read(kinds.get(name))
            patience.success()
        except UnreachableError:
            if not patience.failure():
                raise
    return deployment
