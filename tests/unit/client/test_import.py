"""What single fields of a TFJob or a training input become."""

from typing import Any

import pytest
from fovea.sdk import InvalidError
from fovea.sdk.importing.draft import target
from fovea.sdk.importing.imported import Imported, imported
from fovea.sdk.importing.options import Options
from support.import_sources import custom, hosted, of_pod, tfjob
from support.imports import line


def container(done: Imported) -> Any:
    return done.manifest["spec"]["trainer"]["container"]


@pytest.mark.parametrize(
    ("roles", "distribution", "workers", "servers"),
    [
        ({"Worker": 1}, None, None, None),
        ({"Chief": 1}, None, None, None),
        ({"Master": 1}, None, None, None),
        ({"Chief": 1, "Worker": 0}, None, None, None),
        ({"Worker": 3}, "MultiWorkerMirrored", 2, None),
        ({"Chief": 1, "Worker": 3}, "MultiWorkerMirrored", 3, None),
        ({"Master": 1, "worker": 1}, "MultiWorkerMirrored", 1, None),
        ({"PS": 2, "Worker": 4}, "ParameterServer", 3, 2),
        ({"PS": 1, "Worker": 1}, "ParameterServer", 1, 1),
        ({"Ps": 1, "Chief": {}, "Worker": 2}, "ParameterServer", 2, 1),
        ({"PS": 0, "Worker": 2}, "MultiWorkerMirrored", 1, None),
        ({"Worker": 2, "Evaluator": 1}, "MultiWorkerMirrored", 1, None),
    ],
)
def test_the_roles_decide_on_the_distribution_and_one_pod_is_the_chief(
    roles: dict[str, Any], distribution: str | None, workers: int | None, servers: int | None
) -> None:
    spec = imported(tfjob(roles)).manifest["spec"]
    counts = {role: one.get("count") for role, one in spec.get("roles", {}).items()}
    assert spec.get("distribution") == distribution
    assert (counts.get("worker"), counts.get("ps")) == (workers, servers)


@pytest.mark.parametrize(
    ("fields", "distribution", "counts"),
    [
        ({}, None, {}),
        ({"workerType": "n1-standard-4", "workerCount": "3"}, "MultiWorkerMirrored", {"worker": 3}),
        (
            {
                "workerType": "standard",
                "workerCount": 2,
                "parameterServerType": "large_model",
                "parameterServerCount": 1,
            },
            "ParameterServer",
            {"worker": 2, "ps": 1},
        ),
        ({"workerType": "standard", "workerCount": 0}, None, {}),
        ({"evaluatorType": "standard", "evaluatorCount": 1}, None, {}),
    ],
)
def test_the_counts_of_a_training_input_decide_on_the_distribution(
    fields: dict[str, Any], distribution: str | None, counts: dict[str, int]
) -> None:
    spec = imported(custom(**fields)).manifest["spec"]
    assert spec.get("distribution") == distribution
    assert {role: one["count"] for role, one in spec["roles"].items() if "count" in one} == counts


def test_a_job_without_an_image_gets_the_one_that_is_given_and_runs_its_module() -> None:
    source = {"trainingInput": {"scaleTier": "BASIC", "pythonModule": "trainer.task", "args": ["--steps", 5]}}
    done = imported(source, Options(name="census", image="registry.example.com/census:1"))
    assert container(done) == {
        "image": "registry.example.com/census:1",
        "command": ["python3", "-m", "trainer.task"],
        "args": ["--steps", "5"],
    }


def test_an_image_that_is_given_counts_for_all_roles() -> None:
    job = tfjob({"PS": 1, "Worker": 2})
    job["spec"]["tfReplicaSpecs"]["PS"]["template"]["spec"]["containers"][0]["image"] = "registry.example.com/ps:1"
    done = imported(job, Options(image="registry.example.com/new:2"))
    assert container(done)["image"] == "registry.example.com/new:2"
    assert {(one.action, one.why) for one in done.lines if one.field.endswith("image")} == {("changed", "--image")}


def test_a_name_that_no_job_of_fovea_can_have_needs_another_one() -> None:
    job = tfjob() | {"metadata": {"name": "my.job"}}
    with pytest.raises(InvalidError, match=r"metadata\.name: job name 'my\.job': use at most 40 .*; pass --name NAME"):
        imported(job)
    assert imported(job, Options(name="my-job", namespace="vision")).manifest["metadata"] == {
        "name": "my-job",
        "namespace": "vision",
    }


@pytest.mark.parametrize(
    ("container_", "pod", "end", "why", "step"),
    [
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/data"}]},
            {"volumes": [{"name": "v", "hostPath": {"path": "/data"}}]},
            "volumes[0]",
            "A TrainingJob has no volumes of hostPath.",
            "fovea data upload",
        ),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/data"}]},
            {"volumes": [{"name": "v", "csi": {"driver": "x"}}]},
            "volumeMounts[0]",
            "The job has no volume v.",
            "",
        ),
        (
            {"volumeMounts": [{"name": "keys", "mountPath": "/keys"}]},
            {"volumes": [{"name": "keys", "secret": {"secretName": "fovea-object-store"}}]},
            "volumes[0]",
            "The Secret fovea-object-store is for Fovea's agent only.",
            "spec.inputs",
        ),
        ({"env": [{"name": "TF_CONFIG", "value": "{}"}]}, {}, "env[0]", "Fovea writes TF_CONFIG itself.", ""),
        (
            {"securityContext": {"runAsUser": 0}},
            {},
            "runAsUser",
            "Pods of Fovea do not run as root.",
            "spec.trainer.container.runAsUser",
        ),
        ({"image": "a b"}, {}, None, "trainer.container.image", ""),
        (
            {"env": [{"name": "no name", "value": "1"}]},
            {},
            "env[0]",
            "Fovea does not take it: name: String should match pattern",
            "Correct spec.tfReplicaSpecs.Worker.template.spec.containers[0].env[0].",
        ),
        ({}, {"tolerations": [{"key": "a", "operator": "In"}]}, "tolerations[0]", "Fovea does not take it", "Correct"),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/data", "subPathExpr": "$(POD)"}]},
            {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]},
            "subPathExpr",
            "Fovea has no field subPathExpr here.",
            "All pods see the root of the volume there. Set subPath",
        ),
        (
            {"resources": {"limits": {"hugepages-2Mi": "4Mi", "nvidia.com/gpu": 1}}},
            {},
            "hugepages-2Mi",
            "A MachineType has no amount of it.",
            "Ask the platform team",
        ),
        (
            {"resources": {"limits": {"example.com/nic": 1, "nvidia.com/gpu": 1}}},
            {},
            '["example.com/nic"]',
            "A MachineType has one kind of accelerator.",
            "Ask the platform team",
        ),
        ({}, {"elastic": True}, "spec.elastic", "The importer does not know this field", "Look whether your job needs"),
    ],
)
def test_what_has_no_place_is_dropped_with_the_reason_and_the_next_step(
    container_: dict[str, Any], pod: dict[str, Any], end: str | None, why: str, step: str
) -> None:
    job = of_pod(container_, **pod)
    if end is None:
        with pytest.raises(InvalidError, match=why):
            imported(job)
        return
    found = line(imported(job), end)
    assert (found.action, target(found)) == ("dropped", "")
    assert why in found.why
    assert step in found.next


def test_another_program_of_the_evaluator_finds_its_role_in_tf_config_alone() -> None:
    roles: dict[str, Any] = {"Worker": 1, "PS": 1, "Evaluator": 1}
    job = tfjob(roles)
    for role in ("PS", "Evaluator"):
        job["spec"]["tfReplicaSpecs"][role]["template"]["spec"]["containers"][0]["args"] = [f"--{role}"]
    done = imported(job)
    assert line(done, "PS.template.spec.containers[0].args").next.endswith(
        "in TF_CONFIG, $FOVEA_JOB_NAME and $FOVEA_TASK_INDEX."
    )
    assert line(done, "Evaluator.template.spec.containers[0].args").next.endswith("finds its role in TF_CONFIG.")


def test_roles_of_a_training_input_without_a_tier_are_known_and_dropped() -> None:
    document = hosted(workerCount=2, workerType="standard")
    del document["trainingInput"]["scaleTier"]
    for name in ("workerCount", "workerType"):
        found = line(imported(document), name)
        assert (found.action, found.why) == ("dropped", "It goes with scaleTier CUSTOM only.")


@pytest.mark.parametrize("value", [None, {}])
def test_a_field_without_a_value_is_said_to_have_none_and_not_to_be_unknown(value: Any) -> None:
    found = line(imported(of_pod({"resources": value})), "resources")
    assert (found.action, found.why) == ("dropped", "It has no value.")


def test_of_an_empty_training_input_the_field_is_named_and_not_the_file() -> None:
    done = imported({"trainingInput": {}}, Options(name="a", image="registry.example.com/train:1"))
    assert [(one.field, one.why) for one in done.lines] == [("trainingInput", "It has no value.")]
