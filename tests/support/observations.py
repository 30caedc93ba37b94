"""What an operator may observe of jobs, built for tests: machine types, pods at each stage of their life, versions of models."""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

from fovea_api.contract import labels, names
from fovea_api.contract.report import (
    REASON_ALREADY_COMPLETE,
    REASON_FETCHED,
    REASON_PUBLISHED,
    Published,
    Termination,
)
from fovea_api.v1alpha1 import API_VERSION, MachineType, ModelVersion, TrainingJob
from fovea_operator.cluster.models import VersionIndex
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.shared.observed import (
    ContainerRecord,
    JobObserved,
    PodRecord,
)
from fovea_operator.reconcile.training.inputs import needs
from fovea_operator.settings import Settings
from support.moments import T0, at

__all__ = ["T0", "at"]

SETTINGS = Settings(
    agent_image="registry.example.com/fovea:0.1.0",
    trainer_image="registry.example.com/fovea-tensorflow:0.1.0",
    trainer_gpu_image="registry.example.com/fovea-tensorflow:0.1.0-gpu",
    report_url="http://fovea-operator.fovea-system.svc:8080",
)
DIGEST = "sha256:" + "0" * 63
OUTPUT = Published("s3://fovea/vision/jobs/digits/job-uid/output/0", DIGEST + "a", 2048, 3)
MODEL = Published("s3://fovea/vision/jobs/digits/job-uid/model/0", DIGEST + "b", 4096, 5)


def job(
    status: dict[str, Any] | None = None, *, name: str = "digits", metadata: dict[str, Any] | None = None, **spec: Any
) -> TrainingJob:
    """A job of a recipe; keywords are fields of the spec in camelCase."""
    if "trainer" not in spec:
        spec["trainer"] = {"recipe": "image-classifier"}
    meta = {
        "name": name,
        "namespace": "vision",
        "uid": "job-uid" if name == "digits" else f"{name}-uid",
        "generation": 1,
        "creationTimestamp": times.text(T0),
    }
    return TrainingJob.model_validate(
        {
            "apiVersion": API_VERSION,
            "kind": "TrainingJob",
            "metadata": meta | (metadata or {}),
            "spec": spec,
            "status": status or {},
        }
    )


def machine(name: str = "standard", *, default: bool = True, **spec: Any) -> MachineType:
    """A machine type."""
    full = {"cpu": "1", "memory": "2Gi", "default": default} | spec
    return MachineType.model_validate(
        {"apiVersion": API_VERSION, "kind": "MachineType", "metadata": {"name": name}, "spec": full}
    )


GPU = machine(
    "standard-gpu",
    default=False,
    cpu="8",
    cpuLimit="16",
    memory="64Gi",
    ephemeralStorage="200Gi",
    sharedMemory="16Gi",
    gpus={"count": 2},
    nodeSelector={"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB"},
    tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
)


def observed(of: TrainingJob, *pods: PodRecord, **seen: Any) -> JobObserved:
    """A job with its pods, one default machine type, and what else is named.

    `versions`: those of any model; `highest_taken`: the highest number that statuses name.
    """
    versions = tuple(seen.pop("versions", ()))
    known = {model: index_of(v for v in versions if v.spec.model == model) for model in needs(of).models}
    own = known.get(of.spec.model.name) if of.spec.model else None
    if own is not None:
        own.name(seen.pop("highest_taken", 0))
    types = seen.pop("machine_types", (machine(),))
    jobs = seen.pop("jobs", ())
    return JobObserved(
        job=of,
        pods=pods,
        machine_types={item.metadata.name: item for item in types},
        jobs={item.metadata.name: item for item in jobs},
        versions=known,
        next_number=own.next_number(of.metadata.uid) if own is not None else 0,
        model_deployments={item.metadata.name: item for item in seen.pop("model_deployments", ())},
        **seen,
    )


def index_of(versions: Iterable[ModelVersion]) -> VersionIndex:
    """What a decision sees of these versions of one model."""
    index = VersionIndex()
    for version in versions:
        index.put(version)
    return index


def after(of: TrainingJob, decision: Decision) -> TrainingJob:
    """The job with the decided status written, and what rides along with a change."""
    if decision.status is None:
        return of
    document = of.dump()
    whole = dict(decision.status)
    if whole != of.status.dump():
        whole |= decision.riders
    document["status"] = json.loads(json.dumps({name: value for name, value in whole.items() if value is not None}))
    return TrainingJob.model_validate(document)


# -- pods --------------------------------------------------------------------------------------------------------------


def pod(attempt: int = 0, *, phase: str = "Pending", created: float = 0, **fields: Any) -> PodRecord:
    """A training pod of the job `digits`."""
    name = names.training_pod("digits", names.ROLE_CHIEF, 0, attempt)
    return PodRecord(
        namespace="vision",
        name=name,
        uid=f"{name}-uid",
        labels=labels.of_training_pod("digits", names.ROLE_CHIEF, 0, attempt),
        phase=phase,
        created=at(created),
        **fields,
    )


@cache
def fetched(at_seconds: float = 5) -> ContainerRecord:
    """The init container when all is in place."""
    said = Termination(REASON_FETCHED, "started from the beginning").to_json()
    return ContainerRecord(
        exit_code=0, terminated_reason="Completed", termination_message=said, finished=at(at_seconds)
    )


def without_fetch(sync: ContainerRecord, trainer: ContainerRecord | None = None, **fields: Any) -> PodRecord:
    """A first attempt's pod that had nothing to fetch; its program waits unless `trainer` says otherwise."""
    containers = {
        names.SYNC_CONTAINER: sync,
        names.TRAINER_CONTAINER: trainer or ContainerRecord(waiting_reason="PodInitializing"),
    }
    return pod(node="node-1", containers=containers, **fields)


def preparing(attempt: int = 0, **fields: Any) -> PodRecord:
    """On a node, fetching."""
    containers = {names.FETCH_CONTAINER: ContainerRecord(running_since=at(3))}
    return pod(attempt, node="node-1", containers=containers, **fields)


def running(attempt: int = 0, *, started: float = 10, **fields: Any) -> PodRecord:
    """The program runs."""
    containers = {
        names.FETCH_CONTAINER: fetched(),
        names.SYNC_CONTAINER: ContainerRecord(running_since=at(started - 1)),
        names.TRAINER_CONTAINER: ContainerRecord(running_since=at(started)),
    }
    return pod(attempt, phase="Running", node="node-1", ready=True, containers=containers, **fields)


def ended(
    attempt: int = 0,
    *,
    code: int = 0,
    reason: str = "",
    said: str = "",
    sync: ContainerRecord | None = None,
    started: float = 10,
    finished: float = 70,
    phase: str = "",
    **fields: Any,
) -> PodRecord:
    """The program has ended with a code, and the sidecar after it."""
    trainer = ContainerRecord(
        exit_code=code,
        terminated_reason=reason or ("Completed" if code == 0 else "Error"),
        termination_message=said,
        started=at(started),
        finished=at(finished),
    )
    containers = {
        names.FETCH_CONTAINER: fetched(),
        names.SYNC_CONTAINER: sync or published(finished + 2),
        names.TRAINER_CONTAINER: trainer,
    }
    return pod(
        attempt, phase=phase or ("Failed" if code else "Succeeded"), node="node-1", containers=containers, **fields
    )


def published(at_seconds: float = 72, *, model: Published | None = MODEL, **fields: Any) -> ContainerRecord:
    """The sidecar when all is published."""
    said = Termination(
        REASON_PUBLISHED,
        "published the output (complete) and the model",
        output=fields.pop("output", OUTPUT),
        model=model,
        checkpoint_step=440,
        metrics=fields.pop("metrics", {"accuracy": 0.97, "loss": 0.1}),
        main_metric=fields.pop("main_metric", ""),
        model_problem=fields.pop("model_problem", ""),
        complete=fields.pop("complete", False),
        progress=fields.pop("progress", None),
        end_began=fields.pop("end_began", ""),
    )
    return ContainerRecord(
        exit_code=0, terminated_reason="Completed", termination_message=said.to_json(), finished=at(at_seconds)
    )


def agent_failed(container: str, code: int, reason: str, message: str, attempt: int = 0) -> PodRecord:
    """An agent container ended the pod."""
    record = ContainerRecord(
        exit_code=code,
        terminated_reason="Error",
        termination_message=Termination(reason, message).to_json(),
        finished=at(20),
    )
    if container == names.SYNC_CONTAINER:
        return ended(attempt, sync=record)
    return pod(attempt, phase="Failed", node="node-1", containers={container: record})


def already_complete(attempt: int = 1) -> PodRecord:
    """`fetch` found the finished output of an earlier attempt."""
    said = Termination(REASON_ALREADY_COMPLETE, "attempt 0 of this job finished", output=OUTPUT, model=MODEL)
    record = ContainerRecord(exit_code=79, termination_message=said.to_json(), finished=at(20))
    return pod(attempt, phase="Failed", node="node-1", containers={names.FETCH_CONTAINER: record})


# -- models ------------------------------------------------------------------------------------------------------------


def version(
    number: int, *, model: str = "digits", approval: str = "Approved", job_uid: str = "", uri: str = ""
) -> ModelVersion:
    """A version of a model."""
    spec: dict[str, Any] = {
        "model": model,
        "version": number,
        "uri": uri or f"s3://fovea/vision/models/{model}/{number}",
        "digest": DIGEST + str(number % 10),
        "approval": approval,
    }
    if job_uid:
        spec["lineage"] = {"job": "digits", "jobUid": job_uid}
    metadata = {"name": names.model_version(model, number), "namespace": "vision", "uid": f"{model}-{number}-uid"}
    return ModelVersion.model_validate(
        {"apiVersion": API_VERSION, "kind": "ModelVersion", "metadata": metadata, "spec": spec}
    )
