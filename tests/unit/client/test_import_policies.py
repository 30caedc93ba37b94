"""Where an imported job waits, how long it may run and how often it is tried: what policies and the labels of Kueue become."""

from typing import Any

import pytest
from fovea.sdk import InvalidError
from fovea.sdk.importing.imported import imported
from support.import_sources import hosted, tfjob
from support.imports import line


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
    ("duration", "seconds"), [("3600s", 3600), ("0.5s", 1), ("90.2s", 91), (120, 120), ("99999999999s", None)]
)
def test_durations_of_cloud_ml_become_whole_seconds(duration: Any, seconds: int | None) -> None:
    source = hosted(scheduling={"maxRunningTime": duration})
    if seconds is None:
        with pytest.raises(InvalidError, match=r"scheduling\.maxRunningTime is '99999999999s', a duration is expected"):
            imported(source)
    else:
        assert imported(source).manifest["spec"]["runPolicy"] == {"maxRunningSeconds": seconds}


@pytest.mark.parametrize(
    ("controller", "step"),
    [("kubeflow.org/training-operator", ""), ("kueue.x-k8s.io/multikueue", "set spec.managedBy")],
)
def test_a_controller_of_tfjobs_is_none_of_the_job(controller: str, step: str) -> None:
    found = line(imported(tfjob(runPolicy={"managedBy": controller})), "managedBy")
    assert found.action == "dropped"
    assert found.next.endswith(f"{step} to its name.") if step else found.next == ""
