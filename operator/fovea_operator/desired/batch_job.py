"""The Indexed Job of a BatchPrediction (ADR 223): `fovea-fetch-model` -> `batch` (native sidecar with the store's key) -> `predict`."""

from typing import Any

from fovea_api.contract import environment, expansion, labels, names, storage
from fovea_api.contract.batch import GRACE_SECONDS
from fovea_api.contract.plan import BatchPlan
from fovea_api.v1alpha1 import BatchPrediction, MachineType, ModelVersion

from fovea_operator.desired import containers, fetched_model, owner, pod_options
from fovea_operator.desired.mounts import AGENT, MODELS, REPORT, TMP, WORK, report_volume
from fovea_operator.settings import Settings

SHARD_BYTES = 16 * 1024 * 1024
"""Most bytes of a shard: a worker that dies repeats no more than that."""
SHARD_RECORDS = 256
"""Most pictures of a shard."""
_NO_LIMIT = 1_000_000
"""Of failures of an index. The operator judges them: disruptions are none, and Kubernetes counts them alike."""


def output_uri(prediction: BatchPrediction, settings: Settings) -> str:
    """Where the output is published."""
    metadata = prediction.metadata
    place = storage.batch_output(storage.batch(metadata.namespace, metadata.name, metadata.uid))
    return prediction.spec.output.uri or str(storage.Location(settings.bucket, place))


def batch_job(
    prediction: BatchPrediction, version: ModelVersion, rerun: int, machine_type: MachineType, settings: Settings
) -> dict[str, Any]:
    """The whole Job, for its creation. It is never edited but to be suspended."""
    metadata, spec = prediction.metadata, prediction.spec
    own = labels.of_batch_prediction(metadata.name, metadata.uid, spec.model, version.spec.version)
    limit = spec.run_policy.max_running_seconds
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.prediction_job(metadata.name, rerun),
            "namespace": metadata.namespace,
            "labels": labels.passed_on(metadata.labels) | own,
            "ownerReferences": [owner.reference(prediction)],
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": spec.parallelism,
            "parallelism": spec.parallelism,
            "backoffLimitPerIndex": _NO_LIMIT,
            # A pod on a lost node never goes: its successor must not wait for that.
            "podReplacementPolicy": "TerminatingOrFailed",
            **({} if limit is None else {"activeDeadlineSeconds": limit}),
            "template": {
                "metadata": pod_options.metadata(
                    prediction,
                    machine_type,
                    own,
                    {"kubectl.kubernetes.io/default-container": names.PREDICT_CONTAINER},
                ),
                "spec": _pod(prediction, version, machine_type, settings),
            },
        },
    }


def suspension(job: str, namespace: str, uid: str) -> dict[str, Any]:
    """The change by which a Job deletes the pods that run and makes no others. Those that have ended stay, with their logs."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job, "namespace": namespace, "uid": uid},
        "spec": {"suspend": True},
    }


def _pod(
    prediction: BatchPrediction, version: ModelVersion, machine_type: MachineType, settings: Settings
) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [WORK, AGENT, TMP]
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": containers.pod_security(),
        "initContainers": _agents(prediction, version, machine_type, settings),
        "containers": [_program(prediction, version, machine_type, settings)],
        "volumes": [
            *({"name": volume["name"], "emptyDir": {}} for volume in volumes),
            *fetched_model.volumes(settings),
            containers.store_volume(),
            *([report_volume()] if settings.report_url else []),
            *pod_options.account_volumes(prediction),
        ],
        **pod_options.placement(prediction, machine_type),
    }
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": secret} for secret in settings.image_pull_secrets]
    return spec


def _agents(
    prediction: BatchPrediction, version: ModelVersion, machine_type: MachineType, settings: Settings
) -> list[dict[str, Any]]:
    metadata, spec = prediction.metadata, prediction.spec
    plan = BatchPlan(
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        workers=spec.parallelism,
        input_uri=spec.input.uri,
        input_format=spec.input.format,
        output_uri=output_uri(prediction, settings),
        output_format=spec.output.format,
        model_digest=version.spec.digest,
        shard_bytes=SHARD_BYTES,
        shard_records=SHARD_RECORDS,
        report_url=settings.report_url,
    ).to_json()
    mounts: list[dict[str, Any]] = [WORK, AGENT, *([REPORT] if settings.report_url else [])]
    fetch = fetched_model.fetch_model(version, machine_type, settings)
    batch = containers.agent(names.BATCH_CONTAINER, ["batch"], plan, mounts, machine_type, settings)
    return [fetch, batch | {"restartPolicy": "Always"}]


def _program(
    prediction: BatchPrediction, version: ModelVersion, machine_type: MachineType, settings: Settings
) -> dict[str, Any]:
    spec, gpus = prediction.spec, containers.gpus(machine_type)
    flags = {
        "model": f"{environment.MODELS_MOUNT}/{version.spec.model}/{version.spec.version}",
        "input-format": spec.input.format,
        "output-format": spec.output.format,
        "work": environment.WORK_MOUNT,
    }
    if (threads := containers.threads(machine_type)) is not None:
        flags["threads"] = str(threads)
    variables = {"HOME": TMP["mountPath"], **environment.of_gpus(gpus)}
    return {
        "name": names.PREDICT_CONTAINER,
        "image": (settings.trainer_gpu_image if gpus else "") or settings.trainer_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["fovea-batch"],
        "args": [expansion.escaped(f"--{name}={value}") for name, value in flags.items()],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "resources": containers.resources(machine_type),
        "securityContext": containers.own_security(),
        # A program that says nothing in its termination message is quoted with its last lines.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            dict(WORK),
            MODELS | {"readOnly": True},
            dict(TMP),
            *pod_options.account_mounts(prediction),
        ],
    }
