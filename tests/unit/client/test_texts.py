"""Whole outputs against golden files."""

from datetime import UTC, datetime
from typing import Any

import pytest
from fovea.cli import job_text, model_text, output
from fovea.cli.predict import predictions_table
from fovea.sdk.images import Prediction, from_outputs
from fovea.sdk.models import collect
from fovea.sdk.pods import Pod
from fovea_api.contract.manifest import Entry
from fovea_api.v1alpha1 import ModelDeployment, ModelVersion, TrainingJob
from support.golden import Golden

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


def job(
    name: str, created: str = "2026-05-01T11:00:00Z", spec: dict[str, Any] | None = None, **status: Any
) -> TrainingJob:
    return TrainingJob.model_validate(
        {
            "metadata": {"name": name, "namespace": "vision", "creationTimestamp": created},
            "spec": {"trainer": {"recipe": "image-classifier"}, **(spec or {})},
            "status": status,
        }
    )


def member(state: str, **more: Any) -> dict[str, Any]:
    return {"state": state, "attempt": 0, "since": "2026-05-01T11:02:30Z", **more}


def condition(kind: str, status: str, reason: str, message: str, at: str = "2026-05-01T11:30:00Z") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}


RUNNING = job(
    "running",
    spec={
        "args": {"epochs": 10, "early-stopping": False, "optimizer": "sgd"},
        "inputs": {"data": "s3://fovea/vision/datasets/digits", "weights": "model://digits/2"},
        "roles": {"chief": {"machineType": "standard-gpu"}},
        "model": {"name": "digits", "deploy": True},
    },
    state="RUNNING",
    message="training",
    conditions=[
        condition("Admitted", "True", "Accepted", "the spec is valid", "2026-05-01T11:00:00Z"),
        condition("Running", "True", "Started", "the program is running"),
    ],
    startTime="2026-05-01T11:02:30Z",
    progress={
        "step": 90,
        "steps": 450,
        "epoch": 2,
        "epochs": 10,
        "stepsPerSecond": 1.2345,
        "remainingSeconds": 292,
        "metrics": {"loss": 0.31234, "accuracy": 0.9},
    },
    checkpoint={"step": 80, "digest": "sha256:" + "0" * 64, "time": "2026-05-01T11:58:00Z"},
    retries=1,
    lastFailure={"attempt": 0, "exitCode": 137, "reason": "NodeLost", "message": "node gpu-3 is gone"},
)
SUCCEEDED = job(
    "succeeded",
    "2026-04-29T12:00:00Z",
    spec={"model": {"name": "digits", "deploy": True}, "scaleTier": "BASIC_GPU"},
    state="SUCCEEDED",
    message="published",
    startTime="2026-04-29T12:00:42Z",
    endTime="2026-04-29T13:10:43Z",
    metrics={"accuracy": 0.9666666, "loss": 0.1, "meanIou": 0.8},
    mainMetric="meanIou",
    cost={"total": 11.7842, "ended": 11.7842},
    modelVersion="digits-v3",
    output={
        "uri": "s3://fovea/vision/jobs/succeeded/u/output/0",
        "digest": "sha256:ab",
        "bytes": 3_123_456,
        "files": 12,
    },
    model={"uri": "s3://fovea/vision/jobs/succeeded/u/model/0", "digest": "sha256:cd", "bytes": 512, "files": 3},
)
FAILED = job(
    "failed",
    state="FAILED",
    message="input data: s3://fovea/vision/datasets/digit is not in the store",
    conditions=[condition("Failed", "True", "InputMissing", "input data is missing")],
    endTime="2026-05-01T11:01:00Z",
)
DISTRIBUTED = job(
    "distributed",
    spec={"distribution": "ParameterServer", "roles": {"worker": {"count": 3}, "ps": {"count": 1}, "evaluator": {}}},
    state="RUNNING",
    message="training",
    startTime="2026-05-01T11:02:30Z",
    progress={"step": 900, "steps": 45000, "stepsPerSecond": 0.05, "remainingSeconds": 882000},
    members={
        "chief-0": member("RUNNING", node="node-1", step=900),
        "worker-0": member("RUNNING", node="node-2", step=330),
        "worker-1": member("RUNNING", node="node-3", step=190, behindPercent=42),
        "worker-2": member("QUEUED", attempt=2, since="2026-05-01T11:59:30Z"),
        "ps-0": member("RUNNING", node="node-1"),
        "evaluator-0": member("RUNNING", node="node-2", step=800),
    },
    bestCheckpoint={"step": 600, "metric": "accuracy", "value": 0.975},
    retries=2,
    lastFailure={"member": "worker-2", "attempt": 1, "exitCode": 137, "reason": "OutOfMemory", "message": "killed"},
)
SUSPENDED = job("suspended", spec={"suspend": True}, state="QUEUED", message="suspended")
NEW = job("new", "2026-05-01T11:59:57Z")


def trainer(state: dict[str, Any]) -> dict[str, Any]:
    return {"name": "trainer", "state": state}


PODS = [
    Pod.read(
        {
            "metadata": {
                "name": f"running-chief-0-{attempt}",
                "creationTimestamp": "2026-05-01T11:02:00Z",
                "labels": {"fovea.dev/role": "chief", "fovea.dev/index": "0", "fovea.dev/attempt": str(attempt)},
            },
            "spec": {"nodeName": node},
            "status": status,
        }
    )
    for attempt, node, status in [
        (0, "gpu-3", {"phase": "Failed", "containerStatuses": [trainer({"terminated": {"exitCode": 137}})]}),
        (1, "", {"phase": "Pending", "containerStatuses": [trainer({"waiting": {"reason": "ImagePullBackOff"}})]}),
    ]
]


def test_a_list_of_jobs(golden: Golden) -> None:
    shown = [(NEW, None), (RUNNING, 42.4), (FAILED, None), (SUSPENDED, None), (SUCCEEDED, None)]
    golden.check_text("client/jobs-list.txt", job_text.jobs_table(shown, NOW))


@pytest.mark.parametrize(
    "shown", [RUNNING, DISTRIBUTED, SUCCEEDED, FAILED, SUSPENDED, NEW], ids=lambda shown: str(shown.metadata.name)
)
def test_a_description_of_a_job(golden: Golden, shown: TrainingJob) -> None:
    pods = PODS if shown is RUNNING else []
    golden.check_text(f"client/job-{shown.metadata.name}.txt", job_text.description(shown, pods, NOW))


def test_the_files_of_an_output_are_listed_up_to_a_number_and_summed_up() -> None:
    few = [Entry("evaluation.json", "files/a", 12, "0" * 64), Entry("plots/bä r.png", "files/b", 4_200_000, "0" * 64)]
    text = job_text.description(SUCCEEDED, [], NOW, few)
    assert "Output files (2 files, 4.2 MB):\n  FILE             SIZE\n  evaluation.json  12 B\n" in text
    many = job_text.description(SUCCEEDED, [], NOW, [Entry(f"{n}.txt", "k", 1, "") for n in range(1000)])
    assert "Output files (1000 files, 1.0 kB):" in many
    assert "\n  19.txt  1 B\n  … and 980 more\n" in many
    unknown = job_text.description(SUCCEEDED, [], NOW, "not listed: the store does not answer")
    assert "Output files: not listed: the store does not answer\n" in unknown


def test_pods_that_may_not_be_listed_are_said_to_be_so() -> None:
    assert "Pods: you may not list pods" in job_text.description(NEW, "you may not list pods", NOW)


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (RUNNING, "RUNNING: epoch 2/10, step 90/450; 1.234 steps/s, about 4m52s left; loss 0.3123, accuracy 0.9"),
        (FAILED, "FAILED - input data: s3://fovea/vision/datasets/digit is not in the store"),
        (NEW, "QUEUED"),
        (SUCCEEDED, "SUCCEEDED: meanIou 0.8, accuracy 0.9667, loss 0.1 - published"),
    ],
)
def test_a_line_of_progress(shown: TrainingJob, line: str) -> None:
    assert job_text.line(shown) == line


def version(number: int, approval: str = "Approved", **spec: Any) -> ModelVersion:
    return ModelVersion.model_validate(
        {
            "metadata": {
                "name": f"digits-v{number}",
                "namespace": "vision",
                "creationTimestamp": "2026-04-29T13:10:43Z",
            },
            "spec": {
                "model": "digits",
                "version": number,
                "uri": f"s3://fovea/vision/models/digits/{number}",
                "digest": "sha256:" + str(number) * 64,
                "approval": approval,
                **spec,
            },
        }
    )


VERSIONS = [
    version(1, lineage={"source": "a notebook"}),
    version(
        2,
        metrics={"accuracy": 0.95, "f1": 0.9},
        mainMetric={"name": "f1", "value": 0.9},
        lineage={"job": "monday", "jobUid": "u"},
        bytes=4_900_000,
    ),
    version(3, "Rejected", metrics={"accuracy": 0.5}),
]
SERVING = ModelDeployment.model_validate(
    {
        "metadata": {"name": "digits", "namespace": "vision"},
        "spec": {"model": "digits"},
        "status": {
            "places": [
                {"version": 2, "revision": "abc", "deployment": "digits-v2-abc", "role": "stable", "step": "Serving"},
                {
                    "version": 4,
                    "revision": "def",
                    "deployment": "digits-v4-def",
                    "role": "candidate",
                    "step": "Starting",
                },
                {
                    "version": 1,
                    "revision": "xyz",
                    "deployment": "digits-v1-xyz",
                    "role": "draining",
                    "step": "Draining",
                },
            ],
            "replicas": 2,
            "message": "version 4 is starting",
            "endpoint": {
                "grpc": "digits.vision.svc:8500",
                "rest": "http://digits.vision.svc:8501/v1/models/digits",
                "nodePortGrpc": 31000,
            },
            "conditions": [condition("Serving", "True", "Available", "version 2 answers")],
        },
    }
)
UNSERVED = ModelDeployment.model_validate(
    {"metadata": {"name": "faces", "namespace": "vision"}, "spec": {"model": "faces"}}
)


def test_a_list_of_models(golden: Golden) -> None:
    golden.check_text("client/models-list.txt", model_text.models_table(collect(VERSIONS, [SERVING, UNSERVED]), NOW))


def test_a_description_of_a_model(golden: Golden) -> None:
    served, unserved = collect(VERSIONS, [SERVING, UNSERVED])
    golden.check_text("client/model-served.txt", model_text.model_description(served, NOW))
    golden.check_text("client/model-unserved.txt", model_text.model_description(unserved, NOW))


def test_versions_listed_and_described(golden: Golden) -> None:
    golden.check_text("client/versions-list.txt", model_text.versions_table(VERSIONS, NOW))
    golden.check_text("client/version.txt", model_text.version_description(VERSIONS[1], NOW))
    golden.check_text("client/version-rejected.txt", model_text.version_description(VERSIONS[2], NOW))


def test_predictions_of_a_classifier_and_of_another_model(golden: Golden) -> None:
    scores = {"0": 0.01, "7": 0.9876543, "1": 0.002346}
    golden.check_text(
        "client/predictions.txt", predictions_table([Prediction("7.png", 3, "7", scores["7"], scores)], 3)
    )
    other = from_outputs("7.png", 3, {"embedding": [[0.5, 0.25]], "text": [b"seven"]})
    assert other.outputs == {"embedding": [0.5, 0.25], "text": "seven"}
    golden.check_text("client/predictions-other.txt", predictions_table([other], 3))
    mask = from_outputs(
        "7.png", 3, {"mask_bytes": [b"\x89PNG"], "class_map": [[[0] * 64] * 48], "box": [[8, 0, 48, 64]]}
    )
    assert mask.outputs["mask_bytes"] == {"b64": "iVBORw=="}
    golden.check_text("client/predictions-mask.txt", predictions_table([mask], 3))


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (185, "3m5s"), (7800, "2h10m"), (3601, "1h"), (356400, "4d3h")],
)
def test_durations_have_two_units_at_most(amount: int, text: str) -> None:
    assert output.duration(amount) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (3_123_456, "3.1 MB"), (5e12, "5.0 TB")]
)
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert output.size(count) == text
