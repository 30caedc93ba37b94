"""Progress from the operator's memory through a real API server's proxy: who gets there, and who sees only the status."""

import json
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fovea.sdk import Client, ForbiddenError, InvalidError
from fovea.sdk.api_errors import Target
from fovea_api.contract.report import PROGRESS_PATH, TICKETS_HEADER, ProgressReport
from support.command_line import Ran, fovea
from support.jobs import pod_name, training_job
from support.kube_apiserver import Cluster
from support.kubelet_player import Kubelet
from support.operator_process import OperatorProcess
from support.progress_reports import pod_token, post_progress

SERVICE, PORT = "fovea-operator", 8080
RBAC = "rbac.authorization.k8s.io"
JOBS = {"apiGroups": ["fovea.dev"], "resources": ["trainingjobs"], "verbs": ["get", "list", "watch"]}
PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
PROXY = {"apiGroups": [""], "resources": ["services/proxy"], "resourceNames": [f"{SERVICE}:{PORT}"], "verbs": ["get"]}
"""As in the chart, where a test holds it to the client."""


class Place:
    """A job of which the operator has a newer report than the status shows, and a Service that leads to the operator."""

    def __init__(self, cluster: Cluster, kubelet: Kubelet, operator: OperatorProcess) -> None:
        self.cluster, self.operator = cluster, operator
        self._lead_to_the_operator()
        cluster.create(training_job())
        name = pod_name("digits")
        pod = cluster.wait("the pod", lambda: cluster.get("Pod", name))
        kubelet.bind(name)
        kubelet.running(name)
        self._token, self.step = pod_token(cluster, pod), 0
        self.job = cluster.wait("a report that no status shows", self._job_left_behind, every=0.2)

    @property
    def written(self) -> int:
        """The step that the status shows."""
        return int(self.job["status"]["progress"]["step"])

    @property
    def ticket(self) -> str:
        return str(self.job["status"]["live"]["ticket"])

    @property
    def proxy(self) -> str:
        return f"{self.cluster.path('Service', SERVICE)}:{PORT}/proxy{PROGRESS_PATH}"

    def user(self, name: str, *rules: dict[str, Any]) -> Path:
        """The kubeconfig of a user with a client certificate, who has these rights in the namespace."""
        return self.cluster.server.user_kubeconfig(self._granted(name, *rules))

    def typed(self, kubeconfig: Path, *words: str) -> Ran:
        """`fovea …` of a user."""
        return fovea("--kubeconfig", kubeconfig, "-n", self.cluster.namespace, *words)

    def _granted(self, name: str, *rules: dict[str, Any]) -> str:
        user = f"{name}-{self.cluster.namespace}"
        path = f"/apis/{RBAC}/v1/namespaces/{self.cluster.namespace}"
        metadata = {"name": user, "namespace": self.cluster.namespace}
        role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": list(rules)}
        binding = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": user},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
        }
        self.cluster.api.request("POST", f"{path}/roles", role)
        self.cluster.api.request("POST", f"{path}/rolebindings", binding)
        self.cluster.wait(f"the rights of {user}", lambda: all(self._may(user, rule) for rule in rules))
        return user

    def _may(self, user: str, rule: dict[str, Any]) -> bool:
        resource, _, subresource = rule["resources"][0].partition("/")
        asked = {
            "namespace": self.cluster.namespace,
            "group": rule["apiGroups"][0],
            "resource": resource,
            "subresource": subresource,
            "verb": rule["verbs"][0],
            "name": rule.get("resourceNames", [""])[0],
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": asked},
        }
        answer = self.cluster.api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    def _job_left_behind(self) -> dict[str, Any] | None:
        """The job, once its status stays behind the reports: until it rests, each look at it writes the newest one."""
        self.step += 1
        assert post_progress(self.operator, self._token, ProgressReport(step=self.step, steps=400)).status == 204
        job = self.cluster.get("TrainingJob", "digits")
        status = (job or {}).get("status", {})
        if status.get("state") != "RUNNING" or not status.get("live") or not status.get("progress"):
            return None
        return job if status["progress"]["step"] < self.step - 5 else None

    def _lead_to_the_operator(self) -> None:
        """No controller makes endpoints here. The API server leads to addresses of pods only, and not to loopback."""
        address = {"ip": own_address()}
        container = {"name": "operator", "image": "registry.invalid/fovea:1"}
        self.cluster.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}, "spec": {"containers": [container]}}
        )
        self.cluster.patch("Pod", "operator", {"status": {"podIP": address["ip"], "podIPs": [address]}}, "status")
        ports = [{"name": "progress", "port": PORT}]
        metadata = {"name": SERVICE, "namespace": self.cluster.namespace}
        self.cluster.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}})
        pod = {"kind": "Pod", "name": "operator", "namespace": self.cluster.namespace}
        subset = {
            "addresses": [{**address, "targetRef": pod}],
            "ports": [{"name": "progress", "port": self.operator.report_port}],
        }
        endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": [subset]}
        self.cluster.api.request("POST", f"/api/v1/namespaces/{self.cluster.namespace}/endpoints", endpoints)


def own_address() -> str:
    """An address of this machine that is not loopback. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


@pytest.fixture
def place(cluster: Cluster, kubelet: Kubelet, start_operator: Callable[..., OperatorProcess]) -> Place:
    url = f"http://{SERVICE}.{cluster.namespace}.svc:{PORT}"
    # No report is worth a status of its own for longer than the test.
    return Place(cluster, kubelet, start_operator(REPORT_URL=url, PROGRESS_SECONDS="3600").wait_ready())


def test_a_user_with_a_certificate_sees_what_no_status_shows_yet(place: Place) -> None:
    ada = place.user("ada", JOBS, PODS, PROXY)
    listed = place.typed(ada, "jobs", "list").ok()
    assert f"step {place.step}/400" in listed.out
    assert listed.err == ""
    assert f"step {place.step}/400 (" in place.typed(ada, "jobs", "describe", "digits").ok().out
    [stored] = place.typed(ada, "jobs", "list", "--format", "json").ok().json()
    assert stored["status"]["progress"]["summary"] == f"{place.written}/400"


def test_a_user_without_the_right_to_the_proxy_sees_the_status_and_its_age(place: Place) -> None:
    listed = place.typed(place.user("bob", JOBS, PODS), "jobs", "list").ok()
    assert f"step {place.written}/400" in listed.out
    assert "s ago" in listed.out
    assert listed.err == ""


def test_a_user_who_may_not_read_the_job_reads_nothing_through_the_proxy_and_reports_nothing(place: Place) -> None:
    eve = Client(kubeconfig=str(place.user("eve", PROXY)), namespace=place.cluster.namespace)
    target = Target("get", "Service", "services/proxy", place.cluster.namespace, SERVICE, ours=False)
    with pytest.raises(ForbiddenError):
        eve.jobs.get("digits")
    with pytest.raises(InvalidError, match="tickets are needed"):
        eve.cluster.get(target, place.proxy)
    with pytest.raises(ForbiddenError, match="cannot create resource"):
        eve.cluster.create(target, place.proxy, {"step": 1})
    with pytest.raises(ForbiddenError, match="cannot get resource"):
        eve.cluster.get(target, place.proxy.replace(f":{PORT}", ":9090"))


def test_progress_is_live_until_the_operator_ends(place: Place, client: Client) -> None:
    job = client.jobs.get("digits")
    seen = job.progress()
    assert (seen.live, seen.progress and seen.progress.step) == (True, place.step)
    place.operator.stop()
    seen = job.progress()
    assert (seen.live, seen.progress and seen.progress.step) == (False, place.written)


def test_a_program_in_the_cluster_may_ask_the_operator_itself(place: Place) -> None:
    def ask(*tickets: str) -> Any:
        url = f"http://127.0.0.1:{place.operator.report_port}{PROGRESS_PATH}"
        request = urllib.request.Request(url, headers={TICKETS_HEADER: ",".join(tickets)})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())["found"]

    found = ask(place.ticket, "another")
    assert {ticket: shown["progress"]["step"] for ticket, shown in found.items()} == {place.ticket: place.step}
