"""Any text that a user can cause, through every write, on a real API server: nothing holds up a job's end."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fovea.sdk.api_errors import Target
from fovea.sdk.cluster import Cluster as ClientsCluster
from fovea_api.contract import text
from fovea_api.v1alpha1 import API_VERSION
from fovea_dev.api import ApiError
from fovea_operator.cluster import credentials, merge_patch, records, resources
from fovea_operator.cluster.client import ApiClient
from fovea_operator.cluster.events import Subject, manifest
from fovea_operator.cluster.keys import Ref
from fovea_operator.reconcile.shared import containers
from fovea_operator.reconcile.shared.decision import Event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.jobs import condition, pod_name, training_job
from support.kinds import TRAINING_JOB
from support.kube_apiserver import Cluster
from support.kubelet_player import Kubelet
from support.operator_process import OperatorProcess

SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
anything = st.text(st.characters(), max_size=300)
"""With lone surrogates, control characters and characters that are none."""
names_of_metrics = st.text(st.characters(), min_size=1, max_size=40)
ODD = "model failed 🤗 \x00\x01\x7f\x85\x9f\u2028\ufeff\ufffe\uffff\ud83e \udd17 \\ud83e << # ' \" \U0010ffff"


class Caller:
    """The operator's client, from a test that is not asynchronous."""

    def __init__(self, cluster: Cluster) -> None:
        self.client = ApiClient(lambda: credentials.from_kubeconfig([cluster.server.kubeconfig]))
        self._loop = asyncio.new_event_loop()

    def __call__(self, call: Callable[[ApiClient], Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._loop.run_until_complete(call(self.client))
        return found

    def close(self) -> None:
        self._loop.run_until_complete(self.client.close())
        self._loop.close()


@pytest.fixture
def operators_client(cluster: Cluster) -> Iterator[Caller]:
    caller = Caller(cluster)
    yield caller
    caller.close()


def status(message: str, metrics: dict[str, float]) -> dict[str, Any]:
    said = {"type": "Failed", "status": "True", "reason": "ProgramFailed", "message": message}
    return {
        "state": "FAILED",
        "message": message,
        "lastFailure": {"attempt": 0, "reason": "ProgramFailed", "message": message},
        "progress": {"step": 1, "metrics": metrics},
        "metrics": metrics,
        "conditions": [said | {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}],
    }


def as_read(document: Any) -> Any:
    """The document with floats for numbers: the API server writes 3.6e16 without its exponent."""
    return json.loads(json.dumps(document), parse_int=float)


def keeps_a_status(call: Caller, namespace: str, words: str, metrics: dict[str, float]) -> None:
    told = status(words, metrics)
    job = Ref(TRAINING_JOB, namespace, "digits")

    def write(changes: dict[str, Any]) -> Any:
        found = call(lambda client: client.get(resources.TRAINING_JOB, namespace, "digits"))
        before = found.get("status") or {}
        patch = merge_patch.between(before, {**before, **changes})
        return call(lambda client: client.merge_status(job, records.version(found), patch))["status"]

    assert as_read(write(told)) == as_read(text.storable(told))
    assert write({"message": words})["message"] == text.whole(words)


def keeps_a_version(call: Caller, namespace: str, number: int, words: str, metrics: dict[str, float]) -> None:
    version = {
        "apiVersion": API_VERSION,
        "kind": "ModelVersion",
        "metadata": {"name": f"digits-v{number}", "namespace": namespace},
        "spec": {
            "model": "digits",
            "version": number,
            "uri": "s3://fovea/x",
            "digest": "sha256:" + "0" * 64,
            "metrics": metrics,
            "lineage": {"source": words},
        },
    }
    kept = call(lambda client: client.create(version))["spec"]
    assert as_read(kept["metrics"]) == text.storable(metrics)
    assert kept["lineage"].get("source", "") == text.whole(words)


def keeps_a_pod(call: Caller, namespace: str, number: int, words: str) -> None:
    container = {
        "name": "main",
        "image": "registry.invalid/a:1",
        "args": [words],
        "env": [{"name": "A", "value": words}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"p-{number}", "namespace": namespace, "annotations": {"a": words}},
        "spec": {"containers": [container]},
    }
    kept = call(lambda client: client.create(pod))
    assert kept["metadata"]["annotations"]["a"] == text.whole(words)
    assert kept["spec"]["containers"][0]["args"] == [text.whole(words)]


def keeps_a_service(call: Caller, namespace: str, words: str) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "digits", "namespace": namespace, "annotations": {"a": words}},
        "spec": {"ports": [{"port": 80, "name": "http"}]},
    }
    kept = call(lambda client: client.apply(service))
    assert kept["metadata"]["annotations"]["a"] == text.whole(words)


def keeps_an_event(call: Caller, namespace: str, uid: str, words: str) -> None:
    subject = Subject(TRAINING_JOB, namespace, "digits", uid)
    event = manifest(subject, Event("Warning", "ProgramFailed", words * 20), "me", datetime.now(UTC))
    kept = call(lambda client: client.create(event))
    assert kept.get("message", "") == text.cut(words * 20, 1024)


def test_any_text_passes_through_every_write_of_the_operator(cluster: Cluster, operators_client: Caller) -> None:
    job = cluster.create(training_job())
    numbers = iter(range(1, 1_000_000))

    @SETTINGS
    @given(
        anything,
        st.dictionaries(names_of_metrics, st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
    )
    def check(words: str, metrics: dict[str, float]) -> None:
        number = next(numbers)
        keeps_a_status(operators_client, cluster.namespace, words, metrics)
        keeps_a_version(operators_client, cluster.namespace, number, words, metrics)
        keeps_a_pod(operators_client, cluster.namespace, number, words)
        keeps_a_service(operators_client, cluster.namespace, words)
        keeps_an_event(operators_client, cluster.namespace, job["metadata"]["uid"], words)

    check()


def test_any_text_passes_through_every_write_of_the_client(cluster: Cluster) -> None:
    client = ClientsCluster(kubeconfig=str(cluster.server.kubeconfig), namespace=cluster.namespace)
    target = Target("create", "TrainingJob", "trainingjobs", cluster.namespace)
    numbers = iter(range(1_000_000))

    @SETTINGS
    @given(anything)
    def check(words: str) -> None:
        container = {"image": "registry.invalid/a:1", "args": [words], "env": [{"name": "A", "value": words}]}
        job = training_job(f"digits-{next(numbers)}", trainer={"container": container})
        kept = client.create(target, cluster.path("TrainingJob"), job)["spec"]["trainer"]["container"]
        assert kept["args"] == [text.whole(words)]
        assert kept["env"] == [{"name": "A", "value": text.whole(words)}]
        patch = {"metadata": {"annotations": {"a": words}}}
        kept = client.patch(target, cluster.path("TrainingJob", job["metadata"]["name"]), patch)
        assert kept["metadata"]["annotations"]["a"] == text.whole(words)

    check()


def test_odd_last_words_end_a_job(cluster: Cluster, kubelet: Kubelet, operator: OperatorProcess) -> None:
    cluster.create(training_job(runPolicy={"backoffLimit": 0}))
    pod = pod_name("digits")
    cluster.wait("the pod", lambda: cluster.get("Pod", pod))
    kubelet.running(pod)
    kubelet.ended(pod, 1, last_words=text.whole(ODD))
    failed = cluster.job_in("digits", "FAILED")["status"]
    assert containers.last_words(text.whole(ODD)) in failed["message"]
    assert "🤗" in failed["lastFailure"]["message"]


def test_odd_metrics_do_not_hold_up_a_success(cluster: Cluster, kubelet: Kubelet, operator: OperatorProcess) -> None:
    cluster.create(training_job(model={"name": "digits"}))
    pod = pod_name("digits")
    cluster.wait("the pod", lambda: cluster.get("Pod", pod))
    kubelet.running(pod)
    kubelet.succeeded(pod, metrics={ODD: 0.5, "accuracy": 0.9})
    done = cluster.job_in("digits", "SUCCEEDED")["status"]
    version = cluster.get("ModelVersion", done["modelVersion"])
    assert version is not None
    assert done["metrics"] == version["spec"]["metrics"] == text.storable({ODD: 0.5, "accuracy": 0.9})


def test_a_status_that_the_api_server_refuses_for_its_text_ends_the_job_without_it(
    cluster: Cluster, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    """A policy stands for whatever an API server may not take: it refuses every status with a certain word."""
    name = f"no-words-{cluster.namespace}"
    rule = {
        "apiGroups": ["fovea.dev"],
        "apiVersions": ["*"],
        "operations": ["UPDATE"],
        "resources": ["trainingjobs/status"],
    }
    speakable = "!has(object.status.message) || !object.status.message.contains('unspeakable')"
    policies: dict[str, dict[str, Any]] = {
        "validatingadmissionpolicies": {
            "kind": "ValidatingAdmissionPolicy",
            "spec": {
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": cluster.namespace}},
                    "resourceRules": [rule],
                },
                "validations": [{"expression": f"!has(object.status) || {speakable}"}],
            },
        },
        "validatingadmissionpolicybindings": {
            "kind": "ValidatingAdmissionPolicyBinding",
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        },
    }
    group = "admissionregistration.k8s.io/v1"
    for plural, item in policies.items():
        cluster.api.request("POST", f"/apis/{group}/{plural}", item | {"apiVersion": group, "metadata": {"name": name}})
    cluster.create(training_job("probe"))

    def refused() -> bool:
        try:
            cluster.patch("TrainingJob", "probe", {"status": {"message": "unspeakable"}}, "status")
        except ApiError as error:
            return error.code == 422
        return False

    cluster.wait("the policy is in force", refused)
    cluster.create(training_job(runPolicy={"backoffLimit": 0}))
    pod = pod_name("digits")
    cluster.wait("the pod", lambda: cluster.get("Pod", pod))
    kubelet.running(pod)
    kubelet.ended(pod, 1, last_words="unspeakable")
    failed = cluster.job_in("digits", "FAILED")
    assert condition(failed, "Failed")["reason"] == "ProgramFailed"
    assert "The API server refused the status with its full text" in failed["status"]["message"]
    cluster.wait("the event", lambda: any(event["reason"] == "StatusRefused" for event in cluster.list("Event")))


def test_a_job_that_leaves_little_room_for_its_status_ends_with_a_short_one(
    cluster: Cluster, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    """An object may have 1.5 MiB, which the environment of a container may use up."""

    def large(name: str, room: int) -> dict[str, Any]:
        environment = [{"name": f"A{number}", "value": "x" * 12_100} for number in range(128)]
        environment[0]["value"] = "x" * (12_100 + 20_600 - room)
        container = {"image": "registry.invalid/trainer:1", "env": environment}
        return training_job(name, trainer={"container": container}, suspend=name != "digits")

    def fits(room: int) -> bool:
        try:
            cluster.create(large(f"probe-{room}", room))
        except ApiError as error:
            if "too large" not in str(error):
                raise
            return False
        return True

    least = next(room for room in range(0, 20_000, 1_000) if fits(room))
    cluster.create(large("digits", least + 7_000))
    pod = pod_name("digits")
    cluster.wait("the pod", lambda: cluster.get("Pod", pod))
    kubelet.running(pod)
    cluster.job_in("digits", "RUNNING")
    kubelet.ended(pod, 1, last_words="🤗" * 500)
    failed = cluster.job_in("digits", "FAILED")
    assert condition(failed, "Failed")["reason"] == "ProgramFailed"
    assert "The API server refused the status with its full text" in failed["status"]["message"]
    events = cluster.wait("the event", lambda: [e for e in cluster.list("Event") if e["reason"] == "StatusRefused"])
    assert "etcdserver: request is too large" in events[0]["message"]
