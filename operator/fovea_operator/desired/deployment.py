"""The Deployment that serves one version of a model. Its template is written once and never changed."""

import hashlib
import json
from pathlib import PurePath
from typing import Any

from fovea_api.contract import environment, labels, names
from fovea_api.v1alpha1 import MachineType, ModelDeployment, ModelVersion

from fovea_operator.desired import containers, fetched_model, owner, pod_options
from fovea_operator.desired.mounts import MODELS, TMP
from fovea_operator.settings import Settings

_ANSWER_SECONDS = 10
"""How long requests on a connection may take when its time is over and its client connects again."""


def revision(model_deployment: ModelDeployment, version: ModelVersion) -> str:
    """Hash of what the users decide of a template: the version's content, the machine type they name, and spec.pod.

    Images and settings of the platform are left out on purpose: an upgrade of Fovea rolls out no model by itself.
    """
    parts = [version.spec.uri, version.spec.digest, model_deployment.spec.machine_type or ""]
    if options := pod_options.of(model_deployment).dump():
        parts.append(json.dumps(options, sort_keys=True))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def version_deployment(
    model_deployment: ModelDeployment,
    version: ModelVersion,
    revision: str,
    machine_type: MachineType,
    settings: Settings,
    *,
    replicas: int | None = None,
) -> dict[str, Any]:
    """The whole Deployment, for its creation. `replicas`: the least of spec.scaling unless another number is given."""
    name = model_deployment.metadata.name
    number = version.spec.version
    of_pods = labels.of_model_server(name, version.spec.model, number, revision)
    size = model_deployment.spec.scaling.least if replicas is None else replicas
    manifest = scale(model_deployment, number, revision, size)
    manifest["metadata"]["labels"] = labels.passed_on(model_deployment.metadata.labels) | of_pods
    manifest["spec"] |= {
        "selector": {"matchLabels": labels.serving_selector(name, number, revision)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "progressDeadlineSeconds": model_deployment.spec.rollout.progress_deadline_seconds,
        "revisionHistoryLimit": 1,
        "template": {
            "metadata": pod_options.metadata(
                model_deployment,
                machine_type,
                of_pods,
                {"kubectl.kubernetes.io/default-container": names.MODEL_SERVER_CONTAINER},
            ),
            "spec": _pod(model_deployment, version, revision, machine_type, settings),
        },
    }
    return manifest


def scale(model_deployment: ModelDeployment, number: int, revision: str, replicas: int) -> dict[str, Any]:
    """Only the replicas: applied to a Deployment that exists, it leaves the template alone."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": names.version_deployment(model_deployment.metadata.name, number, revision),
            "namespace": model_deployment.metadata.namespace,
            "ownerReferences": [owner.reference(model_deployment)],
        },
        "spec": {"replicas": replicas},
    }


def _leave_seconds(settings: Settings) -> int:
    """From the deletion of a pod to SIGTERM. Its address is withdrawn at once, so that by then all clients have moved to another pod.

    A server that stops cancels requests that its clients send before they hear of it.
    """
    return settings.server_connection_seconds + 10


def _grace_seconds(settings: Settings) -> int:
    """From the deletion to SIGKILL. TensorFlow Serving answers until then."""
    return _leave_seconds(settings) + 2 * _ANSWER_SECONDS


def _connections(settings: Settings) -> str:
    """What the model server's flag says of connections."""
    age, answers = settings.server_connection_seconds, _ANSWER_SECONDS
    return f"grpc.max_connection_age_ms={age}000,grpc.max_connection_age_grace_ms={answers}000"


def _pod(
    model_deployment: ModelDeployment,
    version: ModelVersion,
    revision: str,
    machine_type: MachineType,
    settings: Settings,
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _grace_seconds(settings),
        "securityContext": containers.pod_security(),
        "initContainers": [fetched_model.fetch_model(version, machine_type, settings, beside=_waits(settings))],
        "containers": [_server(version, machine_type, settings, pod_options.account_mounts(model_deployment))],
        "volumes": [
            *fetched_model.volumes(settings),
            {"name": TMP["name"], "emptyDir": {}},
            containers.store_volume(),
            *pod_options.account_volumes(model_deployment),
        ],
        # Over hosts where that is possible: one that goes takes few of the pods with it.
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {
                    "matchLabels": labels.serving_selector(
                        model_deployment.metadata.name, version.spec.version, revision
                    )
                },
            }
        ],
        **pod_options.placement(model_deployment, machine_type),
    }
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": secret} for secret in settings.image_pull_secrets]
    return spec


def _waits(settings: Settings) -> bool:
    """Whether the server starts without its model and looks for it until it is there.

    TensorFlow Serving cannot, and needs not: it starts in a fraction of a second. Ours imports TensorFlow meanwhile.
    """
    return PurePath(settings.server_command[0]).name == names.MODEL_SERVER_PROGRAM


def _server(
    version: ModelVersion, machine_type: MachineType, settings: Settings, mounts: list[dict[str, Any]]
) -> dict[str, Any]:
    model, number = version.spec.model, version.spec.version
    waits = {environment.MODEL_SERVER_WAITS: "true"} if _waits(settings) else {}
    ready = {"path": f"/v1/models/{model}/versions/{number}/metadata", "port": names.REST_PORT_NAME}
    return {
        "name": names.MODEL_SERVER_CONTAINER,
        "image": (settings.server_gpu_image if containers.gpus(machine_type) else "") or settings.server_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": list(settings.server_command),
        "args": [
            f"--port={names.GRPC_PORT}",
            f"--rest_api_port={names.REST_PORT}",
            f"--model_name={model}",
            f"--model_base_path={environment.MODELS_MOUNT}/{model}",
            # One version for life: nothing else is looked for, and one that cannot be loaded ends the pod at once.
            "--file_system_poll_wait_seconds=0",
            "--max_num_load_retries=0",
            "--enable_grpc_healthcheck_service=true",
            "--enable_profiler=false",
            f"--grpc_channel_arguments={_connections(settings)}",
            *_parallelism(machine_type),
        ],
        "env": [
            {"name": name, "value": value}
            for name, value in {
                "HOME": TMP["mountPath"],
                **waits,
                **environment.of_gpus(containers.gpus(machine_type)),
            }.items()
        ],
        "ports": [
            {"name": names.GRPC_PORT_NAME, "containerPort": names.GRPC_PORT},
            {"name": names.REST_PORT_NAME, "containerPort": names.REST_PORT},
        ],
        "resources": containers.resources(machine_type),
        "securityContext": containers.own_security(),
        # How long a start may take is the rollout's progressDeadlineSeconds; the kubelet must not restart a slow load.
        "startupProbe": {"httpGet": ready, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 86_400},
        "readinessProbe": {"httpGet": ready, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {
            "grpc": {"port": names.GRPC_PORT},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": _leave_seconds(settings)}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [MODELS | {"readOnly": True}, dict(TMP), *mounts],
    }


def _parallelism(machine_type: MachineType) -> list[str]:
    threads = containers.threads(machine_type)
    return [] if threads is None else [f"--tensorflow_session_parallelism={threads}"]
