"""Which ServiceAccounts and PriorityClasses jobs and models may name, and what becomes of those that name others."""

from dataclasses import replace
from typing import Any

import pytest
from fovea_api.v1alpha1.pod import PodOptions
from fovea_operator.desired.deployment import revision
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.shared import platform
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.training.decide import decide_job
from fovea_operator.settings import Settings
from support.decision_table import RETRYING, summary
from support.observations import SETTINGS, at, job, machine, observed, version
from support.serving_observations import model_deployment, served_by, serving, workload

LISTED = replace(SETTINGS, service_accounts=("trainer", "ci-*"), priority_classes=("research", "batch-*"))


def said(options: dict[str, Any], settings: Settings = LISTED) -> str:
    return platform.not_allowed(PodOptions.model_validate(options), settings)


@pytest.mark.parametrize("name", ["default", "trainer", "ci-nightly"])
def test_the_default_account_and_those_on_the_list_are_allowed(name: str) -> None:
    assert said({"serviceAccountName": name}) == ""


@pytest.mark.parametrize("name", ["admin", "trainer-2", "my-ci-nightly", "ci"])
def test_any_other_account_is_named_with_its_field_and_those_that_are_allowed(name: str) -> None:
    found = said({"serviceAccountName": name})
    assert f"spec.pod.serviceAccountName '{name}' is not allowed here (allowed: default, trainer, ci-*)" in found
    assert "podOptions.serviceAccounts" in found


def test_without_a_list_no_account_but_the_default_one_is_allowed_and_every_class_but_those_of_the_system() -> None:
    assert "(allowed: default)" in said({"serviceAccountName": "trainer"}, Settings())
    assert said({"serviceAccountName": "default", "priorityClassName": "anything"}, Settings()) == ""
    assert platform.not_allowed(None, Settings()) == ""


@pytest.mark.parametrize("name", ["system-node-critical", "system-cluster-critical", "system-of-ours"])
@pytest.mark.parametrize("listed", [("*",), ("system-*",), ()])
def test_classes_of_the_system_are_never_allowed(name: str, listed: tuple[str, ...]) -> None:
    found = said({"priorityClassName": name}, replace(SETTINGS, priority_classes=listed))
    assert f"spec.pod.priorityClassName '{name}' is never allowed" in found


def test_a_class_that_is_not_on_the_list_is_named_with_those_that_are() -> None:
    assert said({"priorityClassName": "batch-low"}) == ""
    assert "'urgent' is not allowed here (allowed: research, batch-*)" in said({"priorityClassName": "urgent"})
    none = replace(SETTINGS, priority_classes=())
    assert "(allowed: none)" in said({"priorityClassName": "urgent"}, none)


def of_job(status: dict[str, Any] | None = None) -> Decision:
    seen = observed(job(status, pod={"serviceAccountName": "admin"}))
    return decide_job(seen, at(120), LISTED)


def test_a_job_that_is_not_allowed_has_failed_before_it_has_a_pod() -> None:
    decision = of_job()
    found = summary(decision)
    assert (found["state"], found["creates"]) == ("FAILED", [])
    assert found["conditions"] == {
        "Admitted": "False InvalidSpec",
        "Running": "False InvalidSpec",
        "Failed": "True InvalidSpec",
    }
    assert "spec.pod.serviceAccountName 'admin' is not allowed" in (decision.status or {})["message"]


def test_a_job_that_had_a_pod_before_the_list_was_shortened_goes_on() -> None:
    assert summary(of_job(RETRYING))["creates"] == ["digits-chief-0-1"]


def of_deployment(*workloads: Any, status: dict[str, Any] | None = None) -> Decision:
    made = model_deployment(status, pod={"serviceAccountName": "admin"})
    return decide_model_deployment(serving(made, version(3), workloads=workloads), at(10), LISTED)


def test_a_version_whose_account_is_not_allowed_is_not_started_and_the_condition_says_why() -> None:
    decision = of_deployment()
    assert [child.manifest["kind"] for child in decision.children] == []
    progressing = summary(decision)["conditions"]["Progressing"]
    assert progressing == "False InvalidSpec"
    assert "spec.pod.serviceAccountName 'admin' is not allowed" in (decision.status or {})["message"]


def test_the_version_that_is_served_goes_on_being_served_beside_one_that_is_not_allowed() -> None:
    stable = served_by("digits-v3-before")
    decision = of_deployment(workload("digits-v3-before", ready=1), status=stable)
    found = summary(decision)["conditions"]
    assert (found["Serving"], found["Progressing"]) == ("True Available", "False InvalidSpec")
    assert decision.deletions == ()


@pytest.mark.parametrize("why", ["InvalidSpec", "MachineTypeMissing"])
def test_a_served_version_whose_deployment_is_gone_and_cannot_be_made_again_says_why(why: str) -> None:
    made = model_deployment(pod={"serviceAccountName": "admin"} if why == "InvalidSpec" else {})
    name = f"digits-v3-{revision(made, version(3))}"
    status = served_by(name)
    made = made.model_copy(update={"status": model_deployment(status).status})
    types = (machine(),) if why == "InvalidSpec" else ()
    decision = decide_model_deployment(serving(made, version(3), machine_types=types), at(10), LISTED)
    assert not [child for child in decision.children if child.manifest["kind"] == "Deployment"]
    assert summary(decision)["conditions"]["Progressing"] == f"False {why}"


def test_a_version_that_is_served_already_is_left_alone_when_the_list_is_shortened() -> None:
    made = model_deployment(pod={"serviceAccountName": "admin"})
    name = f"digits-v3-{revision(made, version(3))}"
    status = served_by(name)
    found = summary(of_deployment(workload(name, ready=1), status=status))["conditions"]
    assert (found["Serving"], found["Progressing"]) == ("True Available", "False UpToDate")


@pytest.mark.parametrize("text", ["a b", "Trainer", "trainer,[a-z]", "?"])
def test_a_list_with_what_is_no_name_is_refused(text: str) -> None:
    variables = {"FOVEA_OPERATOR_SERVICE_ACCOUNTS": text}
    with pytest.raises(ValueError, match="FOVEA_OPERATOR_SERVICE_ACCOUNTS"):
        Settings.from_environment(variables)


def test_an_empty_list_of_classes_allows_none() -> None:
    assert Settings.from_environment({"FOVEA_OPERATOR_PRIORITY_CLASSES": ""}).priority_classes == ()
