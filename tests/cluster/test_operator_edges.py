"""What the operator leaves alone, what it is refused, what it costs, and who may report progress."""

import json
from collections.abc import Callable
from typing import Any

from fovea_api.contract import labels
from fovea_api.contract.report import ProgressReport
from support.jobs import condition, of_job, pod_name, training_job
from support.kube_apiserver import Cluster
from support.kubelet_player import Kubelet
from support.operator_process import OperatorProcess
from support.progress_reports import pod_token, post_progress

Start = Callable[..., OperatorProcess]


def plain_pod(name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {"containers": [{"name": "main", "image": "registry.invalid/other:1"}]},
    }


def audited(cluster: Cluster) -> list[dict[str, Any]]:
    """The operator's finished requests in the test's namespace."""
    lines = cluster.server.audit_log.read_text().splitlines()
    records = [json.loads(line) for line in lines if cluster.namespace in line]
    # Our own client names itself, Kopf's does so too; the tests' clients do not.
    return [record for record in records if record.get("userAgent", "").startswith(("fovea-operator", "kopf"))]


def writes(cluster: Cluster) -> list[str]:
    return [
        f"{record['verb']} {record['objectRef']['resource']}"
        for record in audited(cluster)
        if record["userAgent"] == "fovea-operator"
        and record["verb"] not in ("get", "list", "watch")
        and record["objectRef"]["resource"] != "leases"
    ]


def test_a_job_costs_three_writes_and_one_event(cluster: Cluster, kubelet: Kubelet, operator: OperatorProcess) -> None:
    cluster.create(training_job())
    pod = pod_name("digits")
    cluster.wait("the pod", lambda: cluster.get("Pod", pod))
    kubelet.running(pod)
    cluster.job_in("digits", "RUNNING")
    kubelet.succeeded(pod)
    cluster.job_in("digits", "SUCCEEDED")
    cluster.wait("the event", lambda: cluster.list("Event"))
    assert operator.stop() == 0
    cluster.wait("the last write in the audit log", lambda: "create events" in writes(cluster))
    done = writes(cluster)
    assert sorted(done) == ["create events", "create pods", "patch trainingjobs", "patch trainingjobs"], done


def test_foreign_pods_are_neither_watched_nor_touched(
    cluster: Cluster, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    ours = {labels.MANAGED: labels.MANAGED_VALUE, labels.JOB: "digits"}
    cluster.create(plain_pod("stranger"))
    cluster.create(plain_pod("pretender", labels=ours))
    job = cluster.create(training_job())
    cluster.wait("the pod", lambda: cluster.get("Pod", pod_name("digits")))
    kubelet.vanish("pretender")
    cluster.delete("TrainingJob", "digits")
    cluster.wait("the job's pod is deleted", lambda: cluster.get("Pod", pod_name("digits")) is None)
    assert job["metadata"]["uid"]
    assert [pod["metadata"]["name"] for pod in cluster.list("Pod")] == ["stranger"]
    # A watch is in the audit log when it ends, a moment after it.
    assert operator.stop() == 0

    def asked(verb: str) -> list[str]:
        pods = [r for r in audited(cluster) if r["objectRef"]["resource"] == "pods"]
        return [r["requestURI"] for r in pods if r["verb"] == verb]

    cluster.wait("a list and a watch of pods in the audit log", lambda: asked("list") and asked("watch"))
    assert [uri for verb in ("list", "watch") for uri in asked(verb) if "labelSelector=" not in uri] == []


def test_a_pod_name_taken_by_a_stranger_is_told_and_the_stranger_left_alone(
    cluster: Cluster, operator: OperatorProcess
) -> None:
    cluster.create(plain_pod(pod_name("digits")))
    cluster.create(training_job())
    cluster.wait(
        "the job says whose pod stands in its way",
        lambda: pod_name("digits") in (cluster.get("TrainingJob", "digits") or {}).get("status", {}).get("message", ""),
    )
    cluster.delete("Pod", pod_name("digits"), grace=0)
    cluster.wait("the job's own pod", lambda: cluster.list("Pod", of_job("digits")))


def test_a_refused_pod_is_told_and_made_when_the_quota_allows(cluster: Cluster, operator: OperatorProcess) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    cluster.create(quota)
    # No controller manager runs here: say for it what is used.
    cluster.patch("ResourceQuota", "none", {"status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}}, "status")
    cluster.create(training_job())
    refused = cluster.wait(
        "the refusal in the job's message",
        lambda: (
            (job := cluster.get("TrainingJob", "digits"))
            and "exceeded quota" in job.get("status", {}).get("message", "")
            and job
        ),
    )
    assert refused["status"]["state"] == "QUEUED"
    assert "PodRefused" in {c["reason"] for c in refused["status"]["conditions"]}
    cluster.delete("ResourceQuota", "none")
    cluster.wait("the pod", lambda: cluster.get("Pod", pod_name("digits")))


def test_a_job_deleted_while_running_takes_its_pod_along_with_a_short_grace(
    cluster: Cluster, kubelet: Kubelet, start_operator: Start
) -> None:
    start_operator(CANCEL_GRACE_SECONDS="7").wait_ready()
    cluster.create(training_job())
    name = pod_name("digits")
    cluster.wait("the pod", lambda: cluster.get("Pod", name))
    kubelet.bind(name)
    kubelet.running(name)
    cluster.job_in("digits", "RUNNING")
    cluster.delete("TrainingJob", "digits")
    pod = cluster.wait(
        "the pod is being deleted",
        lambda: (pod := cluster.get("Pod", name)) and pod["metadata"].get("deletionTimestamp") and pod,
    )
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 7
    assert kubelet.finish_deletions() == [name]


def test_a_pod_of_a_deleted_job_that_others_deleted_first_gets_the_short_grace_too(
    cluster: Cluster, kubelet: Kubelet, start_operator: Start
) -> None:
    start_operator(CANCEL_GRACE_SECONDS="7").wait_ready()
    cluster.create(training_job())
    name = pod_name("digits")
    cluster.wait("the pod", lambda: cluster.get("Pod", name))
    kubelet.bind(name)
    kubelet.running(name)
    cluster.job_in("digits", "RUNNING")
    cluster.delete("Pod", name)

    def grace() -> int:
        return int((cluster.get("Pod", name) or {"metadata": {}})["metadata"].get("deletionGracePeriodSeconds", -1))

    assert grace() == 600
    cluster.delete("TrainingJob", "digits")
    cluster.wait("the short grace", lambda: grace() == 7)
    assert kubelet.finish_deletions() == [name]


def test_a_namesake_submitted_after_a_deletion_gets_a_pod_of_its_own(
    cluster: Cluster, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    cluster.create(training_job())
    name = pod_name("digits")
    old = cluster.wait("the pod", lambda: cluster.get("Pod", name))
    kubelet.bind(name)
    cluster.delete("TrainingJob", "digits")
    job = cluster.create(training_job())
    cluster.wait(
        "the new job says what it waits for",
        lambda: (
            f"Waiting for pod {name} of the deleted job of this name"
            in (cluster.get("TrainingJob", "digits") or {}).get("status", {}).get("message", "")
        ),
    )
    cluster.wait("the old pod is being deleted", kubelet.finish_deletions)
    new = cluster.wait(
        "the new pod",
        lambda: (pod := cluster.get("Pod", name)) and pod["metadata"]["uid"] != old["metadata"]["uid"] and pod,
    )
    assert new["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]


def test_progress_reaches_the_status_from_the_pod_itself_and_from_nobody_else(
    cluster: Cluster, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    cluster.create(training_job())
    name = pod_name("digits")
    pod = cluster.wait("the pod", lambda: cluster.get("Pod", name))
    kubelet.bind(name)
    kubelet.running(name)
    stranger = cluster.create(plain_pod("stranger"))
    report = ProgressReport(step=120, steps=400, metrics={"loss": 0.5})
    own = pod_token(cluster, pod)
    assert post_progress(operator, "nonsense", report).status == 403
    assert post_progress(operator, pod_token(cluster, pod, "somebody-else"), report).status == 403
    assert post_progress(operator, pod_token(cluster, stranger), report).status == 403
    assert post_progress(operator, own, report).status == 204
    job = cluster.wait(
        "the progress in the status",
        lambda: (job := cluster.get("TrainingJob", "digits")) and job.get("status", {}).get("progress") and job,
    )
    assert job["status"]["progress"] == {"summary": "120/400", "step": 120, "steps": 400, "metrics": {"loss": 0.5}}
    assert condition(job, "Running")["status"] == "True"


def test_metrics_count_jobs_by_state_and_calls_by_verb_and_code(cluster: Cluster, operator: OperatorProcess) -> None:
    cluster.create(training_job())
    cluster.wait("the pod", lambda: cluster.get("Pod", pod_name("digits")))
    text = cluster.wait(
        "the pod's creation in the metrics",
        lambda: (text := operator.metrics()) and 'resource="pods",verb="create"' in text and text,
    )
    assert 'fovea_api_calls_total{code="201",resource="pods",verb="create"} 1.0' in text
    assert 'fovea_jobs{state="QUEUED"}' in text
    assert "fovea_queue_depth" in text
    assert "fovea_job_first_pod_seconds_count 1.0" in text
    assert operator.probe("/healthz") == 200
