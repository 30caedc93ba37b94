"""The embedded store from outside the cluster: who is named in the values may upload by a port-forward, and nothing else there."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fovea.sdk.api_errors import Target
from fovea.sdk.cluster import Cluster
from fovea_api.contract import names, storage
from fovea_dev.apiserver import ApiServer
from support import helm
from support.command_line import Ran, fovea
from support.kubelet_server import kubelet_server
from support.object_store import ObjectStore, object_store
from support.polling import until

__all__ = ["object_store"]

TEAM = "vision"
STORE = "fovea-object-store"
POD = f"{STORE}-0"
MAY = {"objectStore": {"embedded": {"portForwardSubjects": [{"kind": "Group", "name": "data-scientists"}]}}}
PROGRESS = {("get", "services/proxy", "fovea-operator:8080"), ("get", "services/proxy", "fovea-operator:progress")}
"""What everybody may who is known: read live progress, with a ticket."""
FORWARD = {
    ("get", "services", STORE),
    ("get", "pods", POD),
    ("get", "pods/portforward", POD),
    ("create", "pods/portforward", POD),
}
OWN_NAMESPACE = ("system:aggregate-to-view", "system:aggregate-to-edit")
"""What the roles view and edit are made of: nothing aggregates them here, since no controller runs."""


def post(server: ApiServer, path: str, manifest: dict[str, Any]) -> None:
    server.client.request("POST", path, manifest)


@pytest.fixture(scope="module")
def installed(server: ApiServer) -> ApiServer:
    """The chart with its defaults, and a team whose members may edit in its namespace."""
    helm.install(server.kubeconfig)
    post(server, "/api/v1/namespaces", {"metadata": {"name": TEAM}})
    post(server, f"/api/v1/namespaces/{helm.NAMESPACE}/serviceaccounts", {"metadata": {"name": "default"}})
    group = "rbac.authorization.k8s.io"
    for role in OWN_NAMESPACE:
        binding = {
            "metadata": {"name": role.rpartition(":")[2]},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": group, "kind": "Group", "name": "data-scientists"}],
        }
        post(server, f"/apis/{group}/v1/namespaces/{TEAM}/rolebindings", binding)
    return server


@pytest.fixture(scope="module")
def scientist(installed: ApiServer) -> Path:
    """A kubeconfig of a member of the team."""
    return installed.user_kubeconfig("anna", "data-scientists")


@pytest.fixture
def running(installed: ApiServer, object_store: ObjectStore) -> Iterator[None]:
    """The store's pod, behind a kubelet that leads to a real MinIO."""
    pods = f"/api/v1/namespaces/{helm.NAMESPACE}/pods"
    stateful_set = installed.client.get(f"/apis/apps/v1/namespaces/{helm.NAMESPACE}/statefulsets/{STORE}")["spec"]
    template = stateful_set["template"]
    ports = template["spec"]["containers"][0]["ports"]
    with kubelet_server(installed, "node") as node:
        spec = {"nodeName": node.name, "containers": [{"name": "minio", "image": "minio", "ports": ports}]}
        post(installed, pods, {"metadata": {"name": POD, "labels": template["metadata"]["labels"]}, "spec": spec})
        ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        installed.client.request("PATCH", f"{pods}/{POD}/status", ready, "application/merge-patch+json")
        parts = urlsplit(object_store.endpoint)
        node.ports[POD, ports[0]["containerPort"]] = (str(parts.hostname), int(parts.port or 0))
        yield
        installed.client.request("DELETE", f"{pods}/{POD}?gracePeriodSeconds=0")


@pytest.fixture
def key(installed: ApiServer, object_store: ObjectStore, tmp_path: Path) -> Iterator[None]:
    """The team's Secret with its key, as `provision` writes it."""
    files = {file.name: file.read_text() for file in object_store.keys(TEAM, tmp_path / "keys").iterdir()}
    files[storage.SECRET_ENDPOINT] = f"http://{STORE}.{helm.NAMESPACE}.svc:9000"
    data = {name: base64.b64encode(text.encode()).decode() for name, text in files.items() if text}
    secrets = f"/api/v1/namespaces/{TEAM}/secrets"
    post(installed, secrets, {"metadata": {"name": names.OBJECT_STORE_SECRET}, "data": data})
    yield
    installed.client.request("DELETE", f"{secrets}/{names.OBJECT_STORE_SECRET}")


def upload(kubeconfig: Path, folder: Path) -> Ran:
    (folder / "cat").mkdir(parents=True)
    (folder / "cat/1.png").write_bytes(b"a picture")
    return fovea("--kubeconfig", kubeconfig, "-n", TEAM, "data", "upload", folder, "pictures")


def rights(kubeconfig: Path) -> set[tuple[str, str, str]]:
    """(verb, resource, name) of the core group that a user has in the release's namespace."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": helm.NAMESPACE},
    }
    asked = Target("create", "SelfSubjectRulesReview", "selfsubjectrulesreviews", ours=False)
    user = Cluster(kubeconfig=str(kubeconfig))
    answer = user.create(asked, "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review)
    return {
        (verb, resource, name)
        for rule in answer["status"]["resourceRules"]
        if "" in rule["apiGroups"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }


def test_by_default_nobody_may_and_the_error_names_the_value_to_set(
    installed: ApiServer, scientist: Path, running: None, key: None, tmp_path: Path
) -> None:
    helm.install(installed.kubeconfig)
    until(lambda: rights(scientist) == PROGRESS, seconds=30, what="a scientist may read live progress and nothing else")
    ran = upload(scientist, tmp_path / "pictures")
    assert ran.code == 1
    assert f"you may not get Service {STORE} in namespace {helm.NAMESPACE}" in ran.err
    assert "objectStore.embedded.portForwardSubjects" in ran.err
    assert "role edit" not in ran.err


def test_a_group_that_is_named_uploads_through_the_port_forward_and_may_nothing_else_there(
    installed: ApiServer, scientist: Path, object_store: ObjectStore, running: None, key: None, tmp_path: Path
) -> None:
    helm.install(installed.kubeconfig, MAY)
    until(lambda: rights(scientist) == FORWARD | PROGRESS, seconds=30, what="a scientist may forward a port as well")
    ran = upload(scientist, tmp_path / "pictures").ok()
    assert "reaching it by a port-forward" in ran.err
    assert object_store.names(f"{TEAM}/datasets/pictures/") == ["cat/1.png"]


def test_a_store_that_is_not_ready_is_said_so(
    installed: ApiServer, scientist: Path, running: None, key: None, tmp_path: Path
) -> None:
    helm.install(installed.kubeconfig, MAY)
    until(lambda: rights(scientist) == FORWARD | PROGRESS, seconds=30, what="a scientist may forward a port as well")
    unready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    path = f"/api/v1/namespaces/{helm.NAMESPACE}/pods/{POD}/status"
    installed.client.request("PATCH", path, unready, "application/merge-patch+json")
    ran = upload(scientist, tmp_path / "pictures")
    assert ran.code == 1
    assert f"Pod {POD} in namespace {helm.NAMESPACE} is not ready: try again in a moment" in ran.err
