"""checkpoint.from names a model: the checkpoint is of the job that trained it. trainFromScratch: none at all."""

import json
from typing import Any

from fovea_api.v1alpha1 import ModelVersion
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.training.inputs import needs
from support.decision_table import decide, summary
from support.observations import job, observed, version

PREFIX = "s3://other/vision/jobs/digits/monday-uid"


def trained(number: int, **more: Any) -> ModelVersion:
    return version(number, job_uid="monday-uid", uri=f"s3://other/vision/jobs/digits/monday-uid/model/{number}", **more)


def begins_with(decision: Decision) -> str:
    containers = decision.children[0].manifest["spec"]["initContainers"]
    return str(json.loads(containers[0]["env"][0]["value"])["checkpoint_from"])


def test_a_model_is_the_job_that_trained_its_newest_approved_version() -> None:
    begun = job(name="tuesday", checkpoint={"from": "model://digits"})
    versions = [trained(1, approval="Rejected"), trained(2), version(3, approval="Rejected")]
    assert begins_with(decide(observed(begun, versions=versions))) == PREFIX


def test_a_version_is_the_job_that_trained_it_though_it_is_rejected() -> None:
    begun = job(name="tuesday", checkpoint={"from": "model://digits/1"})
    assert begins_with(decide(observed(begun, versions=[trained(1, approval="Rejected"), version(2)]))) == PREFIX


def test_a_model_without_a_version_is_waited_for() -> None:
    decision = decide(observed(job(name="tuesday", checkpoint={"from": "model://digits/4"}), versions=[trained(1)]))
    assert summary(decision)["state"] == "QUEUED"
    assert "spec.checkpoint.from: waiting for version 4 of model digits" in (decision.status or {})["message"]


def test_a_version_that_no_job_trained_fails_the_job_with_the_remedy() -> None:
    decision = decide(observed(job(name="tuesday", checkpoint={"from": "model://digits"}), versions=[version(1)]))
    assert summary(decision)["conditions"]["Failed"] == "True InputMissing"
    message = (decision.status or {})["message"]
    assert "spec.checkpoint.from: version 1 of model digits was trained by no job of Fovea" in message
    assert "name a version that a job trained, or remove the field" in message


def test_what_the_model_stood_for_first_holds_for_later_attempts() -> None:
    known = [{"name": "checkpoint.from", "uri": PREFIX}]
    later = job({"resolvedInputs": known}, name="tuesday", checkpoint={"from": "model://digits"})
    assert begins_with(decide(observed(later, versions=[version(9)]))) == PREFIX


def test_a_job_from_scratch_begins_with_nothing_and_waits_for_nobody() -> None:
    for begin in ("model://digits", "job://monday", "job://monday@latest"):
        begun = job(name="tuesday", checkpoint={"from": begin, "trainFromScratch": True})
        assert begins_with(decide(observed(begun))) == ""
        assert (needs(begun).jobs, needs(begun).models) == (frozenset(), frozenset())
    waits = decide(observed(job(name="tuesday", checkpoint={"from": "job://monday"})))
    assert not waits.children
