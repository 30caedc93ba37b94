"""Which pods a distributed job has, on which machines, and what each of them learns of the others."""

import json
from typing import Any

import pytest
import yaml
from fovea_api.contract import environment
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.desired.members import Member, members_of, roles_of
from fovea_operator.desired.pod import Sources, training_pod
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.training.decide import decide_job
from support.decision_table import summary
from support.golden import DATA, Golden
from support.observations import GPU, SETTINGS, at, job, machine, observed

INPUTS = Sources(())


def distributed() -> TrainingJob:
    document = yaml.safe_load((DATA / "operator" / "job-distributed.yaml").read_text(encoding="utf-8"))
    document["metadata"]["uid"] = "digits-uid"
    return TrainingJob.model_validate(document)


@pytest.mark.parametrize(
    ("spec", "pods"),
    [
        ({}, {"chief": (1, None)}),
        ({"scaleTier": "BASIC_GPU"}, {"chief": (1, "standard-gpu")}),
        ({"roles": {"chief": {"machineType": "n1"}}}, {"chief": (1, "n1")}),
        (
            {"scaleTier": "STANDARD_1", "distribution": "ParameterServer"},
            {"chief": (1, "complex-model-s"), "worker": (4, "complex-model-s"), "ps": (3, "standard")},
        ),
        (
            {"scaleTier": "PREMIUM_1", "distribution": "ParameterServer"},
            {"chief": (1, "complex-model-m"), "worker": (19, "complex-model-m"), "ps": (11, "large-model")},
        ),
        (
            {"scaleTier": "STANDARD_1", "distribution": "MultiWorkerMirrored"},
            {"chief": (1, "complex-model-s"), "worker": (4, "complex-model-s")},
        ),
        (
            {"distribution": "MultiWorkerMirrored", "roles": {"worker": {"count": 3, "machineType": "n2"}}},
            {"chief": (1, None), "worker": (3, "n2")},
        ),
    ],
    ids=lambda value: ", ".join(map(str, value)) or "nothing said",
)
def test_a_job_has_the_pods_of_its_tier_or_of_its_roles(spec: dict[str, Any], pods: dict[str, Any]) -> None:
    given = job(**spec)
    assert {role: (found.count, found.machine_type) for role, found in roles_of(given).items()} == pods
    assert [member.key for member in members_of(given)] == [
        f"{role}-{index}" for role, (count, _) in pods.items() for index in range(count)
    ]


@pytest.mark.parametrize("member", [Member(), Member("worker", 1), Member("ps", 0)], ids=lambda member: member.key)
def test_the_pod_of_each_role(golden: Golden, member: Member) -> None:
    given = distributed()
    made = training_pod(given, member, 0, machine(), INPUTS, SETTINGS, members=members_of(given))
    golden.check(f"operator/pod-of-{member.role}.yaml", made)


def test_each_member_learns_its_own_place_among_the_same_addresses() -> None:
    given = distributed()
    members = members_of(given)
    seen = []
    for member in members:
        pod = training_pod(given, member, 3, machine(), INPUTS, SETTINGS, members=members)
        variables = {each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"]}
        config = json.loads(variables[environment.TF_CONFIG])
        assert config["cluster"] == {
            "chief": ["digits-chief-0.digits-pods.vision.svc:2222"],
            "worker": [f"digits-worker-{index}.digits-pods.vision.svc:2222" for index in range(2)],
            "ps": ["digits-ps-0.digits-pods.vision.svc:2222"],
        }
        host, service, namespace = config["cluster"][member.role][member.index].split(".")[:3]
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"], namespace) == (host, service, "vision")
        seen.append((config["task"], variables[environment.JOB_NAME], variables[environment.TASK_INDEX]))
    assert seen == [
        ({"type": "chief", "index": 0}, "worker", "0"),
        ({"type": "worker", "index": 0}, "worker", "1"),
        ({"type": "worker", "index": 1}, "worker", "2"),
        ({"type": "ps", "index": 0}, "ps", "0"),
    ]


def made(of: TrainingJob, *machines: Any) -> Decision:
    return decide_job(observed(of, machine_types=machines), at(60), SETTINGS)


def test_every_role_runs_on_the_machine_that_it_names() -> None:
    decision = made(distributed(), machine(), GPU, machine("large-model", default=False, cpu="8"))
    pods = [child.manifest for child in decision.children if child.manifest["kind"] == "Pod"]
    of_program = {pod["metadata"]["name"]: pod["spec"]["containers"][0]["resources"]["requests"] for pod in pods}
    assert "nvidia.com/gpu" not in of_program["digits-chief-0-0"]
    assert "nvidia.com/gpu" in of_program["digits-worker-1-0"]
    assert of_program["digits-ps-0-0"]["cpu"] == "8"


def test_a_job_waits_for_the_machine_type_of_any_role() -> None:
    decision = made(distributed(), machine(), GPU)
    assert summary(decision)["creates"] == []
    assert summary(decision)["state"] == "QUEUED"
    assert "'large-model'" in (decision.status or {})["message"]
