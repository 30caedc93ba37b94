"""A model that is not a SavedModel: where it is to be served the job fails with a hint, else it is registered and never served."""

from typing import Any

import pytest
from fovea_api.contract.report import REASON_PUBLISHED, Termination
from fovea_api.v1alpha1 import ModelVersion
from fovea_operator.desired.model import model_version
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from support import rollout_table
from support.decision_table import RUNNING, decide, summary
from support.observations import MODEL, OUTPUT, at, ended, job, observed, version
from support.serving_observations import model_deployment, serving

NESTED = "$FOVEA_MODEL_DIR is not a SavedModel: saved_model.pb lies in its folder 1, not directly in it"
TORCH = "$FOVEA_MODEL_DIR is not a SavedModel: it has no saved_model.pb, but model.pt"


def left(problem: str) -> PodRecord:
    said = Termination(REASON_PUBLISHED, "published", output=OUTPUT, model=MODEL, model_problem=problem)
    return ended(sync=ContainerRecord(exit_code=0, termination_message=said.to_json(), finished=at(72)))


@pytest.mark.parametrize("problem", [NESTED, TORCH])
def test_a_model_that_is_to_be_served_and_cannot_be_fails_its_job_with_a_hint(problem: str) -> None:
    decision = decide(observed(job(RUNNING, model={"name": "digits", "deploy": True}), left(problem)))
    found = summary(decision)
    assert (found["state"], found["creates"]) == ("FAILED", [])
    assert found["conditions"]["Failed"] == "True ModelMissing"
    status = decision.status
    assert status is not None
    assert problem in status["message"]
    assert "model.export(os.environ['FOVEA_MODEL_DIR'])" in status["message"]
    assert "spec.model.deploy to false" in status["message"]
    assert status["model"]["digest"] == MODEL.digest, "what it wrote is not lost"


def test_a_model_of_another_format_is_registered_as_such_where_it_is_not_to_be_served() -> None:
    decision = decide(observed(job(RUNNING, model={"name": "digits"}), left(TORCH)))
    assert summary(decision)["state"] == "SUCCEEDED"
    [child] = decision.children
    assert child.manifest["spec"]["format"] == "Other"
    assert decision.status is not None
    assert "It is never served, since" in decision.status["message"]
    assert "model://digits/1" in decision.status["message"]


def test_a_saved_model_says_nothing_of_its_format() -> None:
    [child] = decide(observed(job(RUNNING, model={"name": "digits"}), left(""))).children
    assert "format" not in child.manifest["spec"]


def other(number: int, **fields: Any) -> ModelVersion:
    """A version of another format."""
    made = version(number, **fields)
    return made.model_copy(update={"spec": made.spec.model_copy(update={"format": "Other"})})


def test_latest_passes_over_versions_that_cannot_be_served() -> None:
    decision = rollout_table.decide(serving(model_deployment(), version(1), other(2)))
    assert rollout_table.summary(decision)["candidate"] == 1


def test_a_deployment_of_versions_that_cannot_be_served_says_so() -> None:
    decision = rollout_table.decide(serving(model_deployment(), other(1)))
    assert decision.status is not None
    assert decision.children == ()
    assert "has no approved version that is a SavedModel" in decision.status["message"]


def test_a_version_that_cannot_be_served_and_is_asked_for_by_number_is_named() -> None:
    decision = rollout_table.decide(serving(model_deployment(version=1), other(1)))
    assert decision.status is not None
    assert decision.children == ()
    assert "Version 1 of model digits is not a SavedModel (spec.format: Other)" in decision.status["message"]


def test_a_version_is_recorded_as_servable_unless_said_otherwise() -> None:
    made = model_version(job(), "digits", 1, 0, MODEL, {})
    assert ModelVersion.model_validate(made).spec.format is None
