"""What an operator may observe of a BatchPrediction, built for tests: its Job, and workers at each stage of their life."""

import json
from dataclasses import replace
from typing import Any

from fovea_api.contract import labels, names
from fovea_api.contract.report import (
    REASON_NOTHING_TO_PUBLISH,
    REASON_PUBLISHED,
    ProgressReport,
    Published,
    Termination,
)
from fovea_api.v1alpha1 import API_VERSION, BatchPrediction, ModelVersion
from fovea_operator.reconcile.batch.decide import decide_prediction
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.shared.observed import (
    BatchJobRecord,
    ContainerRecord,
    Heard,
    Pace,
    PodRecord,
    PredictionObserved,
)
from support.observations import DIGEST, SETTINGS, T0, at, index_of, machine, version

UID = "prediction-uid"
OUTPUT = Published(f"s3://fovea/vision/predictions/scores/{UID}/output", DIGEST + "c", 4096, 3)
PINNED = {"state": "QUEUED", "version": 3, "digest": DIGEST + "3"}
"""Status of a prediction whose version is chosen."""


def prediction(status: dict[str, Any] | None = None, *, generation: int = 1, **spec: Any) -> BatchPrediction:
    """A prediction `scores` of the model digits."""
    metadata = {
        "name": "scores",
        "namespace": "vision",
        "uid": UID,
        "generation": generation,
        "creationTimestamp": times.text(T0),
    }
    full = {
        "model": "digits",
        "input": {"uri": "s3://fovea/vision/datasets/test", "format": "images"},
        "parallelism": 2,
    } | spec
    return BatchPrediction.model_validate(
        {
            "apiVersion": API_VERSION,
            "kind": "BatchPrediction",
            "metadata": metadata,
            "spec": full,
            "status": status or {},
        }
    )


def batch_job(rerun: int = 0, **fields: Any) -> BatchJobRecord:
    """Its Job."""
    name = names.prediction_job("scores", rerun)
    return BatchJobRecord(
        namespace="vision",
        name=name,
        uid=f"{name}-uid",
        labels=labels.of_batch_prediction("scores", UID, "digits", 3),
        **fields,
    )


def worker(
    index: int = 0,
    containers: dict[str, ContainerRecord] | None = None,
    *,
    number: int = 0,
    phase: str = "Pending",
    rerun: int = 0,
    **fields: Any,
) -> PodRecord:
    """A pod of the Job; `number` tells those of one index apart."""
    job = batch_job(rerun)
    name = f"{job.name}-{index}-{number}"
    own = {labels.COMPLETION_INDEX: str(index), labels.CONTROLLER_UID: job.uid}
    return PodRecord(
        namespace="vision",
        name=name,
        uid=f"{name}-uid",
        labels={**job.labels, **own},
        phase=phase,
        created=fields.pop("created", at(number)),
        containers=containers or {},
        **fields,
    )


def running(index: int = 0, number: int = 0, **fields: Any) -> PodRecord:
    """Its program runs."""
    containers = {
        names.FETCH_MODEL_CONTAINER: ContainerRecord(exit_code=0, finished=at(5)),
        names.BATCH_CONTAINER: ContainerRecord(running_since=at(8)),
        names.PREDICT_CONTAINER: ContainerRecord(running_since=at(10)),
    }
    return worker(index, containers, number=number, phase="Running", node="node-1", **fields)


def ended(
    index: int = 0,
    *,
    number: int = 0,
    code: int = 0,
    said: str = "",
    batch: ContainerRecord | None = None,
    reason: str = "",
    **fields: Any,
) -> PodRecord:
    """Its program has ended with a code, and its sidecar after it."""
    nothing = Termination(REASON_NOTHING_TO_PUBLISH, "the shards of this pod are answered")
    containers = {
        names.FETCH_MODEL_CONTAINER: ContainerRecord(exit_code=0, finished=at(5)),
        names.BATCH_CONTAINER: batch or ContainerRecord(exit_code=0, termination_message=nothing.to_json()),
        names.PREDICT_CONTAINER: ContainerRecord(
            exit_code=code,
            terminated_reason=reason or ("Error" if code else "Completed"),
            termination_message=said,
            started=at(10),
            finished=at(50),
        ),
    }
    phase = "Failed" if code else "Succeeded"
    return worker(index, containers, number=number, phase=phase, node="node-1", **fields)


def agent(code: int, reason: str, message: str, metrics: dict[str, float] | None = None) -> ContainerRecord:
    """The sidecar when it has said something."""
    said = Termination(reason, message, metrics=metrics or {}).to_json()
    return ContainerRecord(exit_code=code, termination_message=said)


def published(records: int = 1000, errors: int = 0, shards: int = 4) -> ContainerRecord:
    """The sidecar that has published the whole output."""
    metrics = {"records": float(records), "errors": float(errors), "shards": float(shards)}
    said = Termination(REASON_PUBLISHED, "published", output=OUTPUT, metrics=metrics, complete=True)
    return ContainerRecord(exit_code=0, termination_message=said.to_json())


def refused_model(index: int = 0, *, code: int, reason: str, message: str) -> PodRecord:
    """The init container has ended the pod."""
    record = ContainerRecord(exit_code=code, termination_message=Termination(reason, message).to_json())
    return worker(index, {names.FETCH_MODEL_CONTAINER: record}, phase="Failed", node="node-1")


def counts(
    records: int, errors: int = 0, shards: int = 1, total: int = 4, pace: float | None = None, **more: Any
) -> Heard:
    """A worker's newest report."""
    metrics = {"records": records, "errors": errors, "shards": shards, "shards_total": total}
    report = ProgressReport(step=records, metrics={k: float(v) for k, v in metrics.items()}, **more)
    return Heard(report, None if pace is None else Pace(pace, 60.0))


def observed(of: BatchPrediction, *pods: PodRecord, **seen: Any) -> PredictionObserved:
    """A prediction with its workers, version 3 of the model, one default machine type, and what else is named.

    Where there are pods, their Job is there unless `jobs` says otherwise.
    """
    versions: tuple[ModelVersion, ...] = tuple(seen.pop("versions", (version(3),)))
    types = seen.pop("machine_types", (machine(),))
    by_job: dict[str, tuple[PodRecord, ...]] = {}
    for pod in pods:
        job = pod.labels[labels.CONTROLLER_UID]
        by_job[job] = (*by_job.get(job, ()), pod)
    return PredictionObserved(
        prediction=of,
        versions=index_of(versions),
        jobs=tuple(seen.pop("jobs", (batch_job(),) if pods else ())),
        pods=by_job,
        machine_types={item.metadata.name: item for item in types},
        **seen,
    )


def decide(seen: PredictionObserved, now: float = 60) -> Decision:
    """The decision `now` seconds after the prediction was created."""
    return decide_prediction(seen, at(now), SETTINGS)


def written(of: BatchPrediction, decision: Decision) -> BatchPrediction:
    """The prediction with the decided status written."""
    if decision.status is None:
        return of
    document = of.dump()
    document["status"] = json.loads(json.dumps(decision.status))
    return BatchPrediction.model_validate(document)


def after(seen: PredictionObserved, now: float = 60, **more: Any) -> PredictionObserved:
    """What is observed when the decision's status is written, and what else is named."""
    return replace(seen, prediction=written(seen.prediction, decide(seen, now)), **more)
