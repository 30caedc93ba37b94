"""The container that brings a model into a pod, and the volume on which pods share files of models (ADR 225, 229)."""

import json
from typing import Any

from fovea_api.contract import environment, names
from fovea_api.contract.plan import ModelPlan
from fovea_api.v1alpha1 import MachineType, ModelVersion

from fovea_operator.desired import containers
from fovea_operator.desired.mounts import MODEL_CACHE, MODELS
from fovea_operator.settings import Settings


def fetch_model(
    version: ModelVersion, machine_type: MachineType, settings: Settings, *, beside: bool = False
) -> dict[str, Any]:
    """`fovea-fetch-model`: before the containers of the pod or, as a native sidecar, beside their start."""
    namespace, has_cache = version.metadata.namespace, bool(settings.model_cache_volume)
    plan = ModelPlan(
        namespace=namespace,
        model=version.spec.model,
        version=version.spec.version,
        uri=version.spec.uri,
        digest=version.spec.digest,
        target=environment.MODELS_MOUNT,
        cache=environment.MODEL_CACHE_MOUNT if has_cache else "",
        cache_bytes=int(containers.number(settings.model_cache_size)) if has_cache else 0,
    )
    # Each namespace has a folder of its own: nobody reads another's models.
    mounts = [MODELS, *([MODEL_CACHE | {"subPath": namespace}] if has_cache else [])]
    command = ["fetch-model", "--stay"] if beside else ["fetch-model"]
    made = containers.agent(names.FETCH_MODEL_CONTAINER, command, plan.to_json(), mounts, machine_type, settings)
    return made | {"restartPolicy": "Always"} if beside else made


def volumes(settings: Settings) -> list[dict[str, Any]]:
    """The pod's own files, and those that pods share. Only the agent's container has these: nobody serves what others can change."""
    source = settings.model_cache_volume
    shared = [{"name": MODEL_CACHE["name"], **json.loads(source)}] if source else []
    return [{"name": MODELS["name"], "emptyDir": {}}, *shared]
