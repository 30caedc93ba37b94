"""job://NAME@UID and job://NAME@latest: what a job left is found in the store, by the agent; a job that is there is waited for."""

import json
from typing import Any

import pytest
from fovea_api.contract.plan import INPUT_JOB_MODEL, INPUT_JOB_OUTPUT, INPUT_PUBLICATION
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.training import inputs
from support.decision_table import SUSPENDED, decide
from support.observations import job, observed

UID = "0a1b2c3d-0000-4000-8000-00000000000a"
OTHER = "0a1b2c3d-0000-4000-8000-00000000000b"
NAMED = "s3://fovea/vision/jobs/prepare"


def prepare(state: str | None, uid: str = UID) -> TrainingJob:
    output = {"uri": f"{NAMED}/{uid}/output/0", "digest": "sha256:1"}
    status = {"state": state} | ({"output": output} if state == "SUCCEEDED" else {})
    return job(status if state else {}, name="prepare", metadata={"uid": uid})


def plan(decision: Decision) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(decision.children[0].manifest["spec"]["initContainers"][0]["env"][0]["value"])
    return made


@pytest.mark.parametrize(
    ("address", "jobs", "uri", "kind"),
    [
        (f"job://prepare@{UID}/output", [], f"{NAMED}/{UID}", INPUT_JOB_OUTPUT),
        (f"job://prepare@{UID}/model", [], f"{NAMED}/{UID}", INPUT_JOB_MODEL),
        (f"job://prepare@{UID}/output", [prepare(None, OTHER)], f"{NAMED}/{UID}", INPUT_JOB_OUTPUT),
        (f"job://prepare@{UID}/output", [prepare("FAILED")], f"{NAMED}/{UID}", INPUT_JOB_OUTPUT),
        (f"job://prepare@{UID}/output", [prepare("SUCCEEDED")], f"{NAMED}/{UID}/output/0", INPUT_PUBLICATION),
        ("job://prepare@latest/output", [], NAMED, INPUT_JOB_OUTPUT),
        ("job://prepare@latest/model", [prepare("RUNNING")], NAMED, INPUT_JOB_MODEL),
        ("job://digits@latest/output", [], "s3://fovea/vision/jobs/digits", INPUT_JOB_OUTPUT),
    ],
)
def test_an_input_of_a_job_that_is_gone_is_looked_for_by_the_agent(
    address: str, jobs: list[TrainingJob], uri: str, kind: str
) -> None:
    made = plan(decide(observed(job(inputs={"data": address}), jobs=jobs)))["inputs"]
    assert [(item["uri"], item["kind"]) for item in made] == [(uri, kind)]


@pytest.mark.parametrize(
    ("address", "jobs", "begin"),
    [
        (f"job://prepare@{UID}", [], f"{NAMED}/{UID}"),
        (f"job://prepare@{UID}", [prepare("RUNNING", OTHER)], f"{NAMED}/{UID}"),
        (f"job://prepare@{UID}", [prepare("CANCELLED")], f"{NAMED}/{UID}"),
        ("job://prepare@latest", [prepare("RUNNING")], NAMED),
        ("job://digits@latest", [], "s3://fovea/vision/jobs/digits"),
    ],
)
def test_a_checkpoint_of_a_job_that_is_gone_is_looked_for_by_the_agent(
    address: str, jobs: list[TrainingJob], begin: str
) -> None:
    assert plan(decide(observed(job(checkpoint={"from": address}), jobs=jobs)))["checkpoint_from"] == begin


def test_a_later_attempt_gets_the_same_plan() -> None:
    of = job(SUSPENDED, inputs={"data": "job://prepare@latest/output"}, checkpoint={"from": f"job://prepare@{UID}"})
    made = plan(decide(observed(of, jobs=[prepare("SUCCEEDED", OTHER)])))
    assert (made["inputs"][0]["uri"], made["checkpoint_from"]) == (NAMED, f"{NAMED}/{UID}")


def test_the_very_job_is_waited_for_while_it_runs() -> None:
    for spec in ({"inputs": {"data": f"job://prepare@{UID}/output"}}, {"checkpoint": {"from": f"job://prepare@{UID}"}}):
        decision = decide(observed(job(**spec), jobs=[prepare("RUNNING")]))
        assert decision.children == ()
        assert decision.status is not None
        assert "waiting for job prepare to end; it is RUNNING now" in decision.status["message"]


def test_a_job_that_names_itself_learns_how_to_name_its_deleted_namesake() -> None:
    decision = decide(observed(job(checkpoint={"from": "job://digits"})))
    assert decision.status is not None
    assert decision.status["state"] == "FAILED"
    assert "job://digits@latest for the results of a deleted job of this name" in decision.status["message"]


def test_waiting_for_a_job_that_is_not_there_says_both_why_it_may_be_so() -> None:
    decision = decide(observed(job(inputs={"data": "job://prepare/model"})))
    assert decision.status is not None
    assert (
        "prepare, which does not exist: submit it. If it was deleted, its results are at job://prepare@latest/model"
        in (decision.status["message"])
    )


def test_only_jobs_that_are_waited_for_wake_the_one_that_names_them() -> None:
    spec = {"a": "job://one/output", "b": f"job://two@{UID}/output", "c": "job://three@latest/output"}
    assert inputs.needs(job(inputs=spec, checkpoint={"from": "job://four@latest"})).jobs == {"one", "two"}
