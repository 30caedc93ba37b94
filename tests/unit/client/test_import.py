"""What single fields of a TFJob or a training input become."""

from typing import Any

import pytest
from fovea.sdk import InvalidError
from fovea.sdk.importing.draft import Line, target
from fovea.sdk.importing.imported import Imported, imported
from fovea.sdk.importing.options import Options
from support.import_sources import custom, hosted, of_pod, tfjob


def line(done: Imported, end: str) -> Line:
    """The one line of the report whose field ends so."""
    (found,) = [one for one in done.lines if one.field.endswith(end) and one.covers]
    return found


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


@pytest.mark.parametrize("tier", ["BASIC", "BASIC_GPU", "STANDARD_1", "PREMIUM_1"])
def test_a_scale_tier_keeps_its_name_and_names_its_machine_types(tier: str) -> None:
    done = imported(hosted(scaleTier=tier))
    assert done.manifest["spec"]["scaleTier"] == tier
    expected = {
        "BASIC": [],
        "BASIC_GPU": ["standard-gpu"],
        "STANDARD_1": ["complex-model-s", "standard"],
        "PREMIUM_1": ["complex-model-m", "large-model"],
    }
    assert [one.name for one in done.machines] == expected[tier]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"cleanPodPolicy": "All"}, {"cleanPodPolicy": "All"}),
        ({"ttlSecondsAfterFinished": 60}, {"ttlSecondsAfterFinished": 60}),
        ({"activeDeadlineSeconds": 60}, {"maxRunningSeconds": 60}),
        ({"activeDeadlineSeconds": 0}, {"maxRunningSeconds": 1}),
        ({"backoffLimit": 0}, {"backoffLimit": 0}),
        ({"backoffLimit": 9999}, {"backoffLimit": 1000}),
        ({"suspend": False, "managedBy": "kueue.x-k8s.io/multikueue"}, {}),
    ],
)
def test_a_run_policy_is_taken_from_either_of_its_places(policy: dict[str, Any], expected: dict[str, Any]) -> None:
    assert imported(tfjob(runPolicy=policy)).manifest["spec"].get("runPolicy", {}) == expected
    assert imported(tfjob(**policy)).manifest["spec"].get("runPolicy", {}) == expected


LABELS = {"kueue.x-k8s.io/queue-name": "team", "kueue.x-k8s.io/priority-class": "high"}


@pytest.mark.parametrize(
    ("labels", "policy", "expected"),
    [
        (LABELS, {}, {"queue": "team", "priority": "high"}),
        ({}, {"queue": "gpus"}, {"queue": "gpus"}),
        (LABELS, {"queue": "gpus"}, {"queue": "team", "priority": "high"}),
        ({"kueue.x-k8s.io/priority-class": "high"}, {}, {}),
        ({"kueue.x-k8s.io/priority-class": "high"}, {"queue": "gpus"}, {"queue": "gpus", "priority": "high"}),
        ({"kueue.x-k8s.io/prebuilt-workload-name": "mine"}, {}, {}),
        ({}, {"minAvailable": 3}, {"gang": "Auto"}),
        ({}, {"minAvailable": 2}, {"gang": "Auto"}),
        ({}, {"minAvailable": 1}, {"gang": "Never"}),
        ({}, {"scheduleTimeoutSeconds": 30, "minResources": {"cpu": 2}}, {"gangTimeoutSeconds": 30}),
        ({}, {"scheduleTimeoutSeconds": 0}, {"gangTimeoutSeconds": 10}),
    ],
)
def test_queue_and_gang_of_a_tfjob_become_the_scheduling_of_the_job(
    labels: dict[str, str], policy: dict[str, Any], expected: dict[str, Any]
) -> None:
    for place in ({"runPolicy": {"schedulingPolicy": policy}}, {"schedulingPolicy": policy}):
        source = tfjob({"Worker": 3}, **place)
        source["metadata"]["labels"] = labels
        done = imported(source)
        assert done.manifest["spec"].get("scheduling", {}) == expected
        assert done.manifest["metadata"].get("labels", {}) == {}


def test_a_gang_of_fewer_than_all_pods_is_changed_and_the_report_says_so() -> None:
    found = line(imported(tfjob({"Worker": 3}, schedulingPolicy={"minAvailable": 2})), "minAvailable")
    assert found.action == "changed"
    assert "all of its 3 pods, not 2 of them" in found.why


def test_a_job_of_one_pod_needs_no_gang() -> None:
    done = imported(tfjob(schedulingPolicy={"minAvailable": 1}))
    assert "scheduling" not in done.manifest["spec"]
    assert line(done, "minAvailable").action == "taken"


def test_a_priority_in_a_queue_without_a_queue_is_dropped() -> None:
    source = tfjob()
    source["metadata"]["labels"] = {"kueue.x-k8s.io/priority-class": "high"}
    found = line(imported(source), '["kueue.x-k8s.io/priority-class"]')
    assert (found.action, found.key) == ("dropped", ())


@pytest.mark.parametrize(("labels", "suspended"), [(LABELS, None), ({}, True)])
def test_a_job_that_kueue_suspended_is_not_suspended_here(labels: dict[str, str], suspended: bool | None) -> None:
    source = tfjob(runPolicy={"suspend": True, "schedulingPolicy": {"queue": "gpus"}})
    source["metadata"]["labels"] = labels
    assert imported(source).manifest["spec"].get("suspend") is suspended


def test_labels_of_kueue_on_a_pod_template_are_dropped() -> None:
    source = tfjob()
    source["spec"]["tfReplicaSpecs"]["Worker"]["template"]["metadata"] = {"labels": LABELS}
    done = imported(source)
    assert "scheduling" not in done.manifest["spec"]
    assert line(done, 'template.metadata.labels["kueue.x-k8s.io/queue-name"]').action == "dropped"


def test_of_a_run_policy_in_both_places_the_inner_one_counts_and_the_report_says_so() -> None:
    done = imported(tfjob(backoffLimit=1, runPolicy={"backoffLimit": 2}))
    assert done.manifest["spec"]["runPolicy"] == {"backoffLimit": 2}
    assert line(done, "spec.backoffLimit").action == "dropped"


@pytest.mark.parametrize(
    ("policies", "limit", "expected"),
    [
        (["Never", "Never"], None, 0),
        (["Never", "Never"], 4, 4),
        (["Never", "ExitCode"], None, None),
        (["OnFailure", "Always"], None, None),
        (["ExitCode", "ExitCode"], None, None),
    ],
)
def test_never_in_all_roles_is_a_job_without_retries_unless_it_has_a_limit(
    policies: list[str], limit: int | None, expected: int | None
) -> None:
    roles = {name: {"restartPolicy": one} for name, one in zip(("Chief", "Worker"), policies, strict=True)}
    policy = {} if limit is None else {"backoffLimit": limit}
    done = imported(tfjob(roles, runPolicy=policy))
    assert done.manifest["spec"].get("runPolicy", {}).get("backoffLimit") == expected


@pytest.mark.parametrize(
    ("resources", "machine", "guessed"),
    [
        ({"requests": {"cpu": 2, "memory": "4Gi"}}, {"cpu": "2", "memory": "4Gi"}, ()),
        ({"limits": {"cpu": "500m", "memory": "1Gi"}}, {"cpu": "500m", "cpuLimit": "500m", "memory": "1Gi"}, ()),
        ({"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}}, {"cpu": "1", "memory": "2Gi"}, ("cpu",)),
        ({"requests": {"cpu": 0.5, "memory": 2e9}}, {"cpu": "0.5", "memory": "2000000000"}, ()),
        ({"requests": {"cpu": 1, "memory": "1e9"}}, {"cpu": "1", "memory": "1000000000"}, ()),
        (
            {"limits": {"nvidia.com/gpu": "2"}},
            {"cpu": "1", "memory": "4Gi", "gpus": {"count": 2}},
            ("cpu", "memory"),
        ),
        (
            {"limits": {"nvidia.com/gpu": 1}, "requests": {"nvidia.com/gpu": 1, "cpu": 1, "memory": "1Gi"}},
            {"cpu": "1", "memory": "1Gi", "gpus": {"count": 1}},
            (),
        ),
        (
            {"limits": {"example.com/nic": 1, "amd.com/gpu": 1, "cpu": 1, "memory": "1Gi"}},
            {"cpu": "1", "cpuLimit": "1", "memory": "1Gi", "gpus": {"count": 1, "resource": "amd.com/gpu"}},
            (),
        ),
    ],
)
def test_resources_are_amounts_of_a_machine_type(
    resources: dict[str, Any], machine: dict[str, Any], guessed: tuple[str, ...]
) -> None:
    done = imported(of_pod({"resources": resources}))
    (needed,) = done.machines
    assert (needed.spec, needed.guessed) == (machine, guessed)
    assert done.manifest["spec"]["roles"] == {"chief": {"machineType": needed.name}}


@pytest.mark.parametrize("resources", [{}, {"limits": {"nvidia.com/gpu": 0}}, {"requests": {}}])
def test_a_pod_without_amounts_and_placement_has_the_default_machine_type(resources: dict[str, Any]) -> None:
    done = imported(of_pod({"resources": resources}))
    assert done.machines == ()
    assert "roles" not in done.manifest["spec"]


def test_machine_types_are_named_by_what_they_offer_so_that_equal_jobs_share_them() -> None:
    amounts = {"requests": {"cpu": "2", "memory": "8Gi"}, "limits": {"nvidia.com/gpu": 1}}
    plain = imported(of_pod({"resources": amounts})).machines[0].name
    placed = imported(of_pod({"resources": amounts}, nodeSelector={"disk": "ssd"})).machines[0].name
    elsewhere = imported(of_pod({"resources": amounts}, nodeSelector={"disk": "hdd"})).machines[0].name
    assert plain == "2cpu-8gi-1gpu"
    assert len({plain, placed, elsewhere}) == 3


def test_a_machine_type_that_the_user_names_is_used_and_not_suggested() -> None:
    job = tfjob({"Worker": 2})
    done = imported(job, Options(machine_types={"chief": "large", "worker": "small"}))
    assert done.manifest["spec"]["roles"] == {
        "chief": {"machineType": "large"},
        "worker": {"count": 1, "machineType": "small"},
    }
    assert [one.manifest() for one in done.machines] == [None, None]


@pytest.mark.parametrize(
    ("source", "name", "spec"),
    [
        ({"masterType": "n1-highmem-4"}, "n1-highmem-4", {"cpu": "4", "memory": "26Gi"}),
        ({"masterType": "n1-highcpu-16"}, "n1-highcpu-16", {"cpu": "16", "memory": "14745Mi"}),
        ({"masterType": "a2-highgpu-2g"}, "a2-highgpu-2g", {"cpu": "24", "memory": "170Gi", "gpus": {"count": 2}}),
        (
            {"masterType": "complex_model_m_gpu"},
            "complex-model-m-gpu",
            {"cpu": "16", "memory": "60Gi", "gpus": {"count": 4}},
        ),
        ({"masterType": "cloud_special"}, "cloud-special", None),
    ],
)
def test_machine_types_of_cloud_ml_become_machine_types_of_the_same_name(
    source: dict[str, Any], name: str, spec: dict[str, Any] | None
) -> None:
    (machine,) = imported(custom(**source)).machines
    assert (machine.name, machine.spec) == (name, spec)


@pytest.mark.parametrize(
    ("duration", "seconds"), [("3600s", 3600), ("0.5s", 1), ("90.2s", 91), (120, 120), ("99999999999s", None)]
)
def test_durations_of_cloud_ml_become_whole_seconds(duration: Any, seconds: int | None) -> None:
    source = hosted(scheduling={"maxRunningTime": duration})
    if seconds is None:
        with pytest.raises(InvalidError, match=r"scheduling\.maxRunningTime is '99999999999s', a duration is expected"):
            imported(source)
    else:
        assert imported(source).manifest["spec"]["runPolicy"] == {"maxRunningSeconds": seconds}


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


@pytest.mark.parametrize(
    ("controller", "step"),
    [("kubeflow.org/training-operator", ""), ("kueue.x-k8s.io/multikueue", "set spec.managedBy")],
)
def test_a_controller_of_tfjobs_is_none_of_the_job(controller: str, step: str) -> None:
    found = line(imported(tfjob(runPolicy={"managedBy": controller})), "managedBy")
    assert found.action == "dropped"
    assert found.next.endswith(f"{step} to its name.") if step else found.next == ""


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
