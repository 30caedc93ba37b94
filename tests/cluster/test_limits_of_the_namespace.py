"""Quotas and LimitRanges that shut a job out are named as the cause, with what to change."""

from typing import Any

import pytest
from support.jobs import pod_name, training_job
from support.kube_apiserver import Cluster
from support.operator_process import OperatorProcess


def limit_range(**limits: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "team-limits"},
        "spec": {"limits": [{"type": "Container"} | limits]},
    }


def refused(cluster: Cluster, *words: str) -> str:
    """The message of the job, once it has all these words."""

    def probe() -> str:
        job = cluster.get("TrainingJob", "digits") or {}
        message = str(job.get("status", {}).get("message", ""))
        return message if all(word in message for word in words) else ""

    found: str = cluster.wait(f"a message with {words}", probe)
    return found


@pytest.mark.parametrize(
    "limits",
    [
        {"max": {"cpu": "20m"}},
        {"min": {"memory": "4Gi"}},
        {"max": {"cpu": "10"}, "maxLimitRequestRatio": {"memory": "1"}},
        {"default": {"cpu": "20m"}, "defaultRequest": {"cpu": "10m"}},
    ],
    ids=["too large", "too small", "too far apart", "a default limit below the request"],
)
def test_a_limit_range_is_named_as_the_cause_and_the_pod_made_when_it_is_gone(
    cluster: Cluster, operator: OperatorProcess, limits: dict[str, Any]
) -> None:
    cluster.create(limit_range(**limits))
    cluster.create(training_job())
    refused(
        cluster,
        "A LimitRange of the namespace is the cause",
        "MachineType standard",
        "the chart's values agent.* (agent.cpuLimit)",
    )
    cluster.delete("LimitRange", "team-limits")
    cluster.wait("the pod", lambda: cluster.get("Pod", pod_name("digits")))


def test_a_quota_on_cpu_limits_says_which_settings_give_them(cluster: Cluster, operator: OperatorProcess) -> None:
    hard = {"limits.cpu": "8", "requests.cpu": "8"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": hard}}
    cluster.create(quota)
    cluster.patch("ResourceQuota", "team", {"status": {"hard": hard, "used": dict.fromkeys(hard, "0")}}, "status")
    cluster.create(training_job())
    refused(
        cluster,
        "ResourceQuota team of the namespace wants limits.cpu",
        "spec.cpuLimit",
        "the chart's values agent.* (agent.cpuLimit)",
    )
