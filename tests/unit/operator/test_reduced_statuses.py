"""What is left of a status that the API server refuses."""

from dataclasses import replace
from typing import Any

from fovea_api.v1alpha1 import ModelDeployment, TrainingJob
from fovea_api.v1alpha1.batch_prediction_status import BatchPredictionStatus
from fovea_api.v1alpha1.model_deployment_status import ModelDeploymentStatus
from fovea_api.v1alpha1.training_job_status import TrainingJobStatus
from fovea_operator.cluster import reduced
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel
from support.decision_table import RUNNING, decide
from support.observations import SETTINGS, at, ended, job, observed, version
from support.rollout_table import STABLE_1, V1, V2, failed, held, stable
from support.serving_observations import model_deployment, server_pod, serving, workload

WORDS = "model failed 🤗"


def texts(document: Any) -> list[str]:
    """Every string of a document."""
    if isinstance(document, dict):
        return [text for key, value in document.items() for text in [str(key), *texts(value)]]
    return [text for value in document for text in texts(value)] if isinstance(document, list) else [str(document)]


def test_the_end_of_a_job_is_left_without_its_words_in_all_lesser_statuses() -> None:
    whole = decide(observed(job(RUNNING), ended(code=1, said=WORDS))).status
    assert whole is not None
    assert WORDS in whole["message"]
    for status in reduced.statuses(whole):
        assert not [text for text in texts(status) if WORDS in text]
        read = TrainingJob.model_validate(job().dump() | {"status": status}).status
        assert (read.state, read.end_time, read.attempts) == ("FAILED", whole["endTime"], {"chief-0": 0})
        assert [(c.type, c.status, c.reason) for c in read.conditions or ()] == [
            (c["type"], c["status"], c["reason"]) for c in whole["conditions"]
        ]
        # Nothing is decided again from what is left: the job has ended.
        assert decide(observed(job(status), ended(code=1, said=WORDS))).status is None


def test_a_deployment_keeps_its_places_in_all_lesser_statuses() -> None:
    seen = serving(
        model_deployment(STABLE_1),
        version(1),
        version(2),
        workloads=[workload(V1, ready=1), workload(V2, replica_failure=WORDS)],
        pods=[server_pod(V2, unschedulable=WORDS)],
    )
    whole = decide_model_deployment(seen, at(60), SETTINGS).status
    assert whole is not None
    assert WORDS in whole["message"]
    for status in reduced.statuses(whole):
        assert not [text for text in texts(status) if WORDS in text]
        read = ModelDeployment.model_validate(model_deployment().dump() | {"status": status}).status
        assert read.places is not None
        assert [(place.deployment, place.role, place.since) for place in read.places] == [
            (place["deployment"], place["role"], place["since"]) for place in whole["places"]
        ]
        assert [place.deployment for place in read.places] == [V1, V2]


def test_what_is_known_of_a_version_that_was_given_up_stays_in_all_lesser_statuses() -> None:
    left = failed(2, "ProgressDeadlineExceeded", message=WORDS, retryTime="2026-11-21T11:00:00Z")
    seen = serving(model_deployment(held(stable(1), left)), version(1), version(2), workloads=[workload(V1, ready=1)])
    whole = decide_model_deployment(seen, at(60), SETTINGS).status
    assert whole is not None
    assert WORDS in whole["message"]
    for status in reduced.statuses(whole):
        assert not [text for text in texts(status) if WORDS in text]
        again = decide_model_deployment(replace(seen, model_deployment=model_deployment(status)), at(60), SETTINGS)
        assert again.status is not None
        without_words = {key: value for key, value in left.items() if key != "message"}
        assert again.status["places"] == [stable(1) | {"weight": 100, "readyReplicas": 1}, without_words]


RICH = {
    "state": "RUNNING",
    "message": WORDS,
    "roles": {"chief": {"active": 1}},
    "attempts": {"chief-0": 0},
    "resolvedInputs": [{"name": "data", "uri": "s3://fovea/vision/jobs/a/u/output/0", "digest": "sha256:0"}],
    "lastFailure": {"attempt": 0, "exitCode": 1, "reason": "ProgramFailed", "message": WORDS},
    "progress": {"step": 7, "steps": 9, "metrics": {WORDS: 1.0}, "metricsLeftOut": 2},
    "checkpoint": {"step": 7, "digest": "sha256:0"},
    "output": {"uri": "s3://fovea/x", "digest": "sha256:0"},
    "model": {"uri": "s3://fovea/y", "digest": "sha256:0"},
    "modelVersion": "digits-v1",
    "metrics": {WORDS: 1.0},
    "metricsLeftOut": 3,
    "mainMetric": WORDS,
    "bestCheckpoint": {"step": 7, "metric": WORDS, "value": 1.0},
}


def test_only_words_and_what_is_named_by_others_are_left_out_first() -> None:
    plain, memory, needed = reduced.statuses(RICH)
    assert {key for key in RICH if plain.get(key) != RICH[key]} == {
        "message",
        "lastFailure",
        "progress",
        "metrics",
        "mainMetric",
        "bestCheckpoint",
    }
    assert plain["progress"] == {"step": 7, "steps": 9, "metricsLeftOut": 2}
    assert (plain["lastFailure"]["exitCode"], plain["lastFailure"]["reason"]) == (1, "ProgramFailed")
    lasting = {"resolvedInputs", "checkpoint", "output", "model", "modelVersion"}
    assert {key: memory[key] for key in lasting} == {key: RICH[key] for key in lasting}
    assert needed.keys() == {"state", "message", "attempts"}


def test_a_field_of_a_status_is_either_remembered_or_known_to_be_left_out() -> None:
    """A new field is thought about: what later decisions build on must not be lost with an odd text."""
    words = {
        "message",
        "conditions",
        "lastFailure",
        "progress",
        "metrics",
        "metricsLeftOut",
        "mainMetric",
        "bestCheckpoint",
        "roles",
        "members",
        "live",
        "queuePosition",
        "history",
        "workers",
    }
    kinds = (TrainingJobStatus, ModelDeploymentStatus, BatchPredictionStatus)
    fields = {to_camel(name) for model in kinds for name in model.model_fields}
    assert fields - words == reduced.MEMORY


json = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@settings(max_examples=50)
@given(st.text(min_size=1), st.text(), st.dictionaries(st.text(), json))
def test_the_least_status_holds_no_text_of_others(reason: str, message: str, rest: dict[str, Any]) -> None:
    condition = {"type": "Failed", "status": "True", "reason": reason, "message": message, "lastTransitionTime": "t"}
    *_, least = reduced.statuses({**rest, "state": "FAILED", "message": message, "conditions": [condition]})
    assert {key for key in least if key in rest} <= reduced.NEEDED | {"conditions", "message", "state"}
    [left] = least["conditions"]
    assert left["reason"].isascii()
    assert len(left["message"]) < 500
