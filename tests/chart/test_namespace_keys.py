"""A label on a namespace is enough for a key: with the chart's rights alone, on a real API server; the store is played."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fovea_agent.arguments import parser
from fovea_agent.errors import AgentError, KeyRefused
from fovea_agent.kubernetes_secrets import ClusterSecrets
from fovea_agent.main import RUNS
from fovea_agent.namespace_keys import NamespaceKeys
from fovea_agent.provision import Secrets
from fovea_api.contract import labels, names
from fovea_dev.apiserver import ApiServer
from support import helm

ACCOUNT = "fovea-namespace-keys"
PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts/{name}",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/{name}",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings/{name}",
}


class Store:
    """Makes keys, and withdraws them."""

    def provide(self, namespace: str, target: Secrets) -> bool:
        if target.read(namespace):
            return False
        target.write(namespace, {"accessKey": namespace})
        return True

    def revoke(self, namespace: str) -> None:
        raise AssertionError(namespace)


class Cluster:
    """An API server with two namespaces, and the rights of the chart's account."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.api, self.server, self.folder = server.client, server, folder

    def namespace(self, name: str, **label: str) -> None:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": label}}
        self.api.apply(f"/api/v1/namespaces/{name}", manifest)

    def install(self, values: dict[str, Any] | None = None, account: str = ACCOUNT) -> ClusterSecrets:
        """Make account and rights as the chart renders them; what the Deployment (or the Job) then reaches."""
        for item in helm.template(values):
            metadata = item["metadata"]
            if metadata["name"] == account and item["kind"] in PATHS:
                path = PATHS[item["kind"]].format(namespace=metadata.get("namespace", ""), name=account)
                self.api.apply(path, item)
        (self.folder / "token").write_text(self.server.service_account_token(helm.NAMESPACE, account))
        return ClusterSecrets(self.server.url, self.folder / "token", self.server.plane.pki.certificate("ca"))

    def key(self, namespace: str) -> str | None:
        found = self.api.get(f"/api/v1/namespaces/{namespace}/secrets")["items"]
        data = [item["data"] for item in found if item["metadata"]["name"] == names.OBJECT_STORE_SECRET]
        return base64.b64decode(data[0]["accessKey"]).decode() if data else None


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(server, tmp_path)
    cluster.namespace(helm.NAMESPACE)
    yield cluster
    for kind in ("ClusterRoleBinding", "ClusterRole"):
        if cluster.api.exists(PATHS[kind].format(name=ACCOUNT)):
            cluster.api.request("DELETE", PATHS[kind].format(name=ACCOUNT))


def test_a_namespace_gets_its_key_when_it_is_labelled_and_keeps_it_afterwards(cluster: Cluster) -> None:
    cluster.namespace("vision")
    keys = NamespaceKeys(Store(), cluster.install())
    assert keys.round() == 0
    cluster.namespace("vision", **{labels.OBJECT_STORE: "enabled"})
    assert keys.round() == 1
    assert cluster.key("vision") == "vision"
    cluster.namespace("vision")
    assert keys.round() == 0
    assert cluster.key("vision") == "vision"


def test_no_other_secret_is_reached(cluster: Cluster) -> None:
    cluster.namespace("vision")
    reached = cluster.install()
    assert reached._ask("GET", "/api/v1/namespaces/vision/secrets").status == 403
    assert reached._ask("GET", "/api/v1/namespaces/vision/secrets/other").status == 403
    assert reached._ask("GET", "/api/v1/secrets").status == 403
    body = b'{"apiVersion":"v1","kind":"Secret","metadata":{"name":"other"}}'
    assert reached._ask("PATCH", "/api/v1/namespaces/vision/secrets/other?fieldManager=a", body).status == 403


def test_of_an_operator_of_some_namespaces_only_those_get_keys(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("in", "out"):
        cluster.namespace(name, **{labels.OBJECT_STORE: "enabled"})
    reached = cluster.install({"watchNamespaces": ["in"]})
    NamespaceKeys(Store(), reached).round()
    assert (cluster.key("in"), cluster.key("out")) == ("in", None)
    with pytest.raises(KeyRefused, match="does not let provision reach the Secret"):
        reached.read("out")
    assert [record.fields["namespace"] for record in caplog.records if record.levelname == "ERROR"] == ["out"]  # type: ignore[attr-defined]


def test_without_the_right_to_list_namespaces_it_says_so(cluster: Cluster) -> None:
    reached = cluster.install()
    cluster.api.request("DELETE", PATHS["ClusterRoleBinding"].format(name=ACCOUNT))
    with pytest.raises(AgentError, match=r"namespaces cannot be listed \(status 403\)"):
        reached.labelled(labels.OBJECT_STORE)
    cluster.install()


def test_the_agent_takes_the_arguments_that_the_chart_gives_it() -> None:
    prefix = "shared/$$/$(HOME)"
    manifests = helm.template({"objectStore": {"sharedPrefixes": [prefix]}})
    for kind, name in (("Deployment", ACCOUNT), ("Job", "fovea-provision")):
        container = helm.one(manifests, kind, name)["spec"]["template"]["spec"]["containers"][0]
        options = parser(RUNS).parse_args([*container["command"][1:], *container["args"]])
        assert (options.apply, options.labelled, options.every) == (
            True,
            kind == "Deployment",
            10.0 * (kind == "Deployment"),
        )


def test_the_job_and_the_deployment_never_make_the_key_of_one_namespace_both() -> None:
    listed = {"objectStore": {"namespaces": ["in", "out"]}}
    for more, named, left_to_the_label in (
        ({}, [], ["in", "out"]),
        ({"watchNamespaces": ["in"]}, ["out"], ["in"]),  # there the Deployment may not write the Secret of `out`
        ({"objectStore": {"namespaces": ["in", "out"], "embedded": {"labelledNamespaces": False}}}, ["in", "out"], []),
    ):
        job = helm.one(helm.template(listed | more), "Job", "fovea-provision")
        container = job["spec"]["template"]["spec"]["containers"][0]
        options = parser(RUNS).parse_args([*container["command"][1:], *container["args"]])
        assert (options.namespace, options.unless_labelled) == (named, left_to_the_label), more


def test_the_job_may_see_the_labels_of_the_namespaces_that_it_gives_keys(cluster: Cluster) -> None:
    for name, label in (("listed", {labels.OBJECT_STORE: "disabled"}), ("plain", {}), ("other", {})):
        cluster.namespace(name, **label)
    reached = cluster.install({"objectStore": {"namespaces": ["listed", "plain"]}}, account="fovea-provision")
    assert reached.label("listed", labels.OBJECT_STORE) == "disabled"
    assert reached.label("plain", labels.OBJECT_STORE) is None
    with pytest.raises(KeyRefused, match="namespace 'other'"):
        reached.label("other", labels.OBJECT_STORE)
    with pytest.raises(KeyRefused):
        reached.label("absent", labels.OBJECT_STORE)


def test_with_an_external_store_or_without_the_value_nothing_holds_a_right_to_secrets() -> None:
    external = {"objectStore": {"embedded": {"enabled": False}, "external": {"endpoint": "https://s3.example.com"}}}
    for values in (external, {"objectStore": {"embedded": {"labelledNamespaces": False}}}):
        assert [item for item in helm.template(values) if item["metadata"]["name"] == ACCOUNT] == []
