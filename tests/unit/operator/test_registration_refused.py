"""A program has succeeded and its model cannot be registered yet: whatever becomes of its pod, it does not run again."""

from dataclasses import replace
from typing import Any

import pytest
from fovea_api.contract.report import ProgressReport
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.cluster import reduced
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from support.decision_table import RUNNING, decide, summary
from support.observations import MODEL, OUTPUT, after, already_complete, at, ended, job, observed, published, version

MESH = "istio-proxy"
QUOTA = "exceeded quota: count/modelversions"
OVER = ProgressReport(publishing=True, last_words=published().termination_message)


def lives_on(**fields: Any) -> PodRecord:
    """The program has ended after 70 s, the mesh's container has not, so the sidecar waits as well."""
    of = ended(phase="Running", sync=ContainerRecord(running_since=at(9)))
    mesh = ContainerRecord(running_since=at(9))
    return replace(of, containers={**of.containers, MESH: mesh}, foreign=(MESH,), **fields)


def drained(**fields: Any) -> PodRecord:
    """The pod has ended after its deletion; its program had left no `_SUCCESS`."""
    of = ended(deleting=True, deletion_deadline=at(700), **fields)
    mesh = ContainerRecord(exit_code=137, finished=at(95))
    return replace(of, containers={**of.containers, MESH: mesh}, foreign=(MESH,))


def refused(*pods: PodRecord, of: TrainingJob | None = None, **seen: Any) -> TrainingJob:
    """The job after the API server has refused its ModelVersion."""
    of = of or job(RUNNING, model={"name": "digits"})
    written = after(of, decide(observed(of, *pods, refused=QUOTA, **seen), 100))
    assert written.status.state == "RUNNING"
    assert any(each.reason == "RegistrationRefused" for each in written.status.conditions or ())
    return written


def ending() -> TrainingJob:
    """The operator has told the pod to end, since a container of others lives on."""
    of = job(RUNNING, model={"name": "digits"})
    return after(of, decide(observed(of, lives_on()), 140))


def test_a_job_whose_pod_fovea_ended_succeeds_as_soon_as_its_model_can_be_registered() -> None:
    of = refused(drained(), of=ending())
    found = summary(decide(observed(of, drained()), 130))
    assert (found["state"], found["creates"]) == ("SUCCEEDED", ["digits-v1"])


def test_a_job_succeeds_by_its_status_when_its_pod_is_gone() -> None:
    of = refused(drained(), of=ending())
    assert (of.status.output, of.status.model) != (None, None)
    decision = decide(observed(of, highest_taken=4), 130)
    found = summary(decision)
    assert (found["state"], found["creates"]) == ("SUCCEEDED", ["digits-v5"])
    spec = decision.children[0].manifest["spec"]
    assert (spec["uri"], spec["digest"], spec["lineage"]["attempt"]) == (MODEL.uri, MODEL.digest, 0)
    assert decision.status is not None
    assert (decision.status["output"]["uri"], decision.status["runningSeconds"]) == (OUTPUT.uri, 60)


def test_it_stays_refused_without_a_pod_for_as_long_as_it_is_refused() -> None:
    of = refused(ended())
    again = refused(of=of)
    assert again.status.model_copy(update={"roles": None}) == of.status.model_copy(update={"roles": None})


@pytest.mark.parametrize("seen", [drained(), lives_on(), lives_on(deleting=True, deletion_deadline=at(700))])
def test_last_words_that_were_heard_hold_whatever_becomes_of_the_pod(seen: PodRecord) -> None:
    """Drained afterwards, or looked at by a new leader to which no sidecar has reported."""
    of = refused(lives_on(), progress=OVER)
    found = summary(decide(observed(of, seen), 130))
    assert (found["state"], found["creates"]) == ("SUCCEEDED", ["digits-v1"])


def test_what_registration_says_of_the_model_is_remembered_too() -> None:
    asked = job(RUNNING, model={"name": "digits", "deploy": False})
    measured = {"accuracy": 0.5, "f1": 0.7}
    done = ended(sync=published(model_problem="it holds no saved_model.pb", metrics=measured, main_metric="f1"))
    decision = decide(observed(refused(done, of=asked)), 130)
    spec = decision.children[0].manifest["spec"]
    assert (spec["format"], spec["metrics"], spec["mainMetric"]) == ("Other", measured, {"name": "f1", "value": 0.7})


def test_an_output_that_was_there_already_is_remembered_as_one() -> None:
    first = RUNNING | {"attempts": {"chief-0": 1}}
    decision = decide(observed(refused(already_complete(1), of=job(first, model={"name": "digits"}))), 130)
    assert "attempt" not in decision.children[0].manifest["spec"]["lineage"]
    assert summary(decision)["conditions"]["Complete"] == "True AlreadyComplete"


@pytest.mark.parametrize("asked", ["suspend", "cancel"])
def test_what_is_asked_for_afterwards_comes_too_late(asked: str) -> None:
    of = refused(ended())
    later = of.model_copy(update={"spec": of.spec.model_copy(update={asked: True})})
    assert summary(decide(observed(later), 130))["state"] == "SUCCEEDED"


def test_its_own_version_that_is_there_is_taken() -> None:
    own = version(3, job_uid="job-uid")
    decision = decide(observed(refused(ended()), versions=[own]), 130)
    assert (decision.children, (decision.status or {})["modelVersion"]) == ((), "digits-v3")


def test_a_status_without_the_words_of_others_still_says_that_the_model_cannot_be_served() -> None:
    done = ended(sync=published(model_problem="it holds nothing but weird.bin"))
    status = refused(done, of=job(RUNNING, model={"name": "digits", "deploy": False})).status.dump()
    plain, memory, least = reduced.statuses(status)
    for each in (plain, memory):
        assert each["modelProblem"] == "it is not a SavedModel (the API server refused the words that say more)"
    assert "modelProblem" not in least
