"""Whatever is observed of a BatchPrediction, odd things too: a decision is made, and it can be written."""

import json
from dataclasses import replace
from typing import Any

from fovea_api.contract import labels, names
from fovea_api.contract.report import ProgressReport
from fovea_api.v1alpha1 import BatchPrediction, JobState
from fovea_operator.reconcile.shared.observed import BatchJobRecord, Heard, PodRecord, PredictionObserved
from hypothesis import given, settings
from hypothesis import strategies as st
from support.any_observation import conditions, container_records, messages, moments, paces, refusals, timestamps
from support.observations import at, machine, version
from support.predictions import batch_job, decide, observed, prediction, published, worker, written

odd = st.sampled_from([None, 0, 3, -1, "many", float("nan"), float("inf"), True, 1e300, {}])
reports = st.builds(
    ProgressReport,
    step=odd,
    metrics=st.sampled_from([None, 3, {}])
    | st.dictionaries(st.sampled_from(["records", "errors", "shards", "shards_total"]), odd),
    store_unreachable_since=st.sampled_from(["", "soon", 3, "2026-11-21T10:00:00Z"]),
)
statuses = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from([state.value for state in JobState]),
        "conditions": conditions,
        "version": st.integers(1, 4),
        "digest": st.sampled_from(["", "sha256:0", version(3).spec.digest]),
        "reruns": st.integers(0, 5),
        "failures": st.dictionaries(st.sampled_from(["0", "1", "x"]), st.integers(0, 5)),
        "startTime": timestamps,
        "endTime": timestamps,
        "observedGeneration": st.integers(0, 2),
        "progress": st.just({"summary": "50%", "records": 9, "errors": 1, "shards": {"done": 2, "total": 4}}),
        "workers": st.just({"active": 1}),
    },
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "version": st.sampled_from(["Latest", 3, 9]),
        "machineType": st.sampled_from(["standard", "huge"]),
        "maxErrorRatio": st.sampled_from([0, 0.5, 1]),
        "cancel": st.booleans(),
        "pod": st.sampled_from([{}, {"serviceAccountName": "admin"}]),
        "runPolicy": st.fixed_dictionaries(
            {}, optional={"backoffLimit": st.integers(0, 3), "ttlSecondsAfterFinished": st.integers(0, 100)}
        ),
    },
)
CONTAINERS = (names.FETCH_MODEL_CONTAINER, names.BATCH_CONTAINER, names.PREDICT_CONTAINER, "istio-proxy")


@st.composite
def pods(draw: st.DrawFn, number: int) -> PodRecord:
    made = worker(draw(st.integers(0, 1)), number=number, rerun=draw(st.integers(0, 1)))
    index = draw(st.sampled_from([made.labels[labels.COMPLETION_INDEX], "", "x", "-1", "²", "9" * 60]))
    deleting = draw(st.booleans())
    containers = draw(st.dictionaries(st.sampled_from(CONTAINERS), container_records))
    if draw(st.integers(0, 9)) == 0:
        containers[names.BATCH_CONTAINER] = published()
    return replace(
        made,
        labels={**made.labels, labels.COMPLETION_INDEX: index},
        phase=draw(st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown", ""])),
        deleting=deleting,
        deletion_deadline=draw(moments) if deleting else None,
        node=draw(st.sampled_from(["", "node-1"])),
        reason=draw(st.sampled_from(["", "Evicted", "NodeLost", "OutOfcpu", "DeadlineExceeded"])),
        message=draw(messages),
        unschedulable=draw(st.sampled_from(["", "0/1 nodes"])),
        disrupted=draw(st.sampled_from(["", "preempted"])),
        containers=containers,
    )


@st.composite
def jobs(draw: st.DrawFn, rerun: int) -> BatchJobRecord:
    made = batch_job(rerun)
    mark = draw(st.sampled_from([made.labels[labels.VERSION], "", "x", "9" * 60]))
    return replace(
        made,
        name=draw(st.sampled_from([made.name, "scores-batch-x", "other"])) if rerun else made.name,
        labels={**made.labels, labels.VERSION: mark},
        complete=draw(st.booleans()),
        failed=draw(st.sampled_from(["", "", "DeadlineExceeded", "FailedIndexes"])),
        failure=draw(messages),
        suspended=draw(st.booleans()),
        deleting=draw(st.booleans()),
    )


@st.composite
def anything(draw: st.DrawFn) -> PredictionObserved:
    there = [draw(pods(number)) for number in range(draw(st.integers(0, 4)))]
    heard = {pod.uid: Heard(draw(reports), draw(paces)) for pod in there if draw(st.booleans())}
    return observed(
        prediction(draw(statuses), generation=draw(st.integers(0, 2)), **draw(specs)),
        *there,
        versions=[version(number, approval=draw(st.sampled_from(["Approved", "Rejected"]))) for number in (3, 4)],
        jobs=[draw(jobs(rerun)) for rerun in range(draw(st.integers(0, 2)))],
        machine_types=draw(st.sampled_from([(), (machine(),)])),
        heard=heard,
        heard_before=draw(st.dictionaries(st.integers(0, 2), reports, max_size=2)),
        predecessors=draw(st.sampled_from([(), ("scores-batch-0",)])),
        refused=draw(refusals),
    )


@settings(max_examples=200)
@given(anything(), st.integers(0, 1000))
def test_a_decision_can_always_be_made_and_written(seen: PredictionObserved, now: int) -> None:
    decision = decide(seen, now)
    status = decision.status
    before = seen.prediction.status
    ended = before.state is not None and before.state.ended
    if status is not None:
        json.dumps(status, allow_nan=False)
        assert len(json.dumps(status)) < 60_000
        BatchPrediction.model_validate(seen.prediction.dump() | {"status": status})
        if ended:
            assert status["state"] == before.state
        if before.version is not None:
            assert status["version"] == before.version
    if ended:
        assert not [child for child in decision.children if child.manifest["spec"] != {"suspend": True}]
    made = [child for child in decision.children if "template" in child.manifest["spec"]]
    assert not made or before.version is not None
    assert decision.requeue_at is None or decision.requeue_at >= at(0)


@settings(max_examples=100)
@given(anything(), st.integers(0, 1000))
def test_statuses_settle_when_nothing_else_changes(seen: PredictionObserved, now: int) -> None:
    for _ in range(6):
        before = seen.prediction
        seen = replace(seen, prediction=written(before, decide(seen, now)))
    assert seen.prediction.status == before.status


@settings(max_examples=50)
@given(anything(), st.integers(0, 1000))
def test_a_status_keeps_what_a_newer_operator_has_written(seen: PredictionObserved, now: int) -> None:
    document: dict[str, Any] = seen.prediction.dump()
    document["status"]["ofTheFuture"] = {"a": 1}
    newer = replace(seen, prediction=BatchPrediction.model_validate(document))
    status = decide(newer, now).status
    assert status is None or status["ofTheFuture"] == {"a": 1}
