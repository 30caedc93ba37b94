"""What an input by name stood for when the first pod was made holds for every later attempt."""

import json
from typing import Any

from fovea_api.contract import names
from fovea_api.contract.plan import INPUT_PUBLICATION, Input
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.cluster import records
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.shared.observed import PodRecord
from support.decision_table import RETRYING, RUNNING, SUSPENDED, decide
from support.observations import ended, job, observed, running, version

NAMED = {
    "inputs": {"raw": "s3://fovea/vision/raw", "data": "job://prepare/output", "base": "model://faces"},
    "checkpoint": {"from": "job://prepare"},
}
PREFIX = "s3://fovea/vision/jobs/prepare/prepare-uid"
KNOWN = [
    {"name": "data", "uri": f"{PREFIX}/output/0", "digest": "sha256:1"},
    {"name": "base", "uri": "s3://fovea/vision/models/faces/1", "digest": version(1).spec.digest},
    {"name": "checkpoint.from", "uri": PREFIX, "digest": ""},
]
TOLD: dict[str, Any] = {
    "publications": tuple(Input(each["name"], each["uri"], INPUT_PUBLICATION, each["digest"]) for each in KNOWN[:2]),
    "checkpoint_from": PREFIX,
}


def prepare(state: str = "SUCCEEDED", digest: str = "sha256:1", uid: str = "prepare-uid") -> TrainingJob:
    output = {"uri": f"s3://fovea/vision/jobs/prepare/{uid}/output/0", "digest": digest}
    return job({"state": state, "output": output}, name="prepare", metadata={"uid": uid})


def plan(decision: Decision) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(decision.children[0].manifest["spec"]["initContainers"][0]["env"][0]["value"])
    return made


def told(decision: Decision) -> list[dict[str, str]]:
    """Resolved inputs as the pod's plan has them."""
    made = plan(decision)
    found = [item for item in made["inputs"] if item["kind"] == INPUT_PUBLICATION]
    return [{key: item[key] for key in ("name", "uri", "digest")} for item in found] + [
        {"name": "checkpoint.from", "uri": made["checkpoint_from"], "digest": ""}
    ]


def first_pod() -> tuple[Decision, PodRecord]:
    decision = decide(observed(job(**NAMED), jobs=[prepare()], versions=[version(1, model="faces")]))
    manifest = decision.children[0].manifest
    metadata = manifest["metadata"] | {"uid": "u", "creationTimestamp": "2026-11-21T10:00:00Z"}
    return decision, records.pod(manifest | {"metadata": metadata})


def test_the_first_pod_s_plan_says_what_names_stand_for_and_costs_no_status() -> None:
    decision, record = first_pod()
    assert told(decision) == KNOWN
    assert decision.status is None
    assert (record.publications, record.checkpoint_from) == (TOLD["publications"], PREFIX)


def test_the_first_status_with_a_pod_tells_what_its_plan_says_though_the_objects_are_gone() -> None:
    for seen in (running(**TOLD), ended(code=75, **TOLD), ended(code=1, **TOLD)):
        status = decide(observed(job(**NAMED), seen)).status
        assert status is not None
        assert status["resolvedInputs"] == KNOWN, status["state"]


def test_a_streamed_input_has_room_for_its_shards_in_the_plan() -> None:
    inputs = {"raw": "s3://fovea/vision/raw", "more": "s3://fovea/vision/more"}
    decision = decide(observed(job(inputs=inputs, inputModes={"raw": "Stream", "more": "Fetch"})))
    assert {item["name"]: item["room"] for item in plan(decision)["inputs"]} == {"raw": 10 * 2**30, "more": 0}


def test_a_job_that_waited_for_its_inputs_tells_them_with_its_pod() -> None:
    waiting = decide(observed(job(**NAMED)))
    assert waiting.status is not None
    assert "resolvedInputs" not in waiting.status
    decision = decide(observed(job(waiting.status, **NAMED), jobs=[prepare()], versions=[version(1, model="faces")]))
    assert decision.status is not None
    assert decision.status["resolvedInputs"] == told(decision) == KNOWN


def test_a_later_attempt_takes_the_same_whatever_became_of_the_objects() -> None:
    worlds: list[dict[str, Any]] = [
        {},
        {"jobs": [prepare("FAILED")]},
        {"jobs": [prepare("RUNNING")]},
        {"jobs": [prepare(digest="sha256:2", uid="another-uid")], "versions": [version(2, model="faces")]},
    ]
    for before in (RETRYING, SUSPENDED):
        for world in worlds:
            decision = decide(observed(job(before | {"resolvedInputs": KNOWN}, **NAMED), **world), 90)
            assert [child.manifest["metadata"]["name"] for child in decision.children] == ["digits-chief-0-1"], world
            assert told(decision) == KNOWN


def test_a_pod_that_no_status_has_told_of_yet_settles_the_inputs_of_the_next() -> None:
    """A decision that was made on older news than what the pod that is there was made of."""
    other = [{**each, "uri": "s3://fovea/elsewhere"} for each in KNOWN]
    seen = observed(job(RETRYING | {"resolvedInputs": other}, **NAMED), ended(0, code=75, **TOLD))
    assert told(decide(seen, 90)) == KNOWN


def test_a_job_with_a_checkpoint_of_its_own_does_not_ask_for_another_job_s() -> None:
    status = RETRYING | {"checkpoint": {"step": 100, "digest": "sha256:c"}}
    decision = decide(observed(job(status, checkpoint={"from": "job://prepare"})), 90)
    assert plan(decision)["checkpoint_from"] == ""


def test_a_job_with_inputs_of_the_store_only_has_no_resolved_inputs() -> None:
    seen = observed(job(RUNNING, inputs={"raw": "s3://fovea/vision/raw"}), running())
    assert "resolvedInputs" not in (decide(seen).status or {})


def test_a_plan_that_cannot_be_read_is_no_plan() -> None:
    for text in ("", "[]", '{"namespace": 3'):
        container = {"name": names.FETCH_CONTAINER, "env": [{"name": "FOVEA_PLAN", "value": text}]}
        metadata = {"name": "p", "namespace": "vision", "uid": "u", "creationTimestamp": "2026-11-21T10:00:00Z"}
        record = records.pod({"metadata": metadata, "spec": {"initContainers": [container]}})
        assert (record.publications, record.checkpoint_from) == ((), "")
