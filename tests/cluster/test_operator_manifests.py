"""What the builders make, before a real API server: strict validation, restricted pods, scaling."""

from typing import Any

import pytest
import yaml
from fovea_api.contract import labels
from support.golden import DATA
from support.kube_apiserver import Cluster, path_of

MADE = ["pod-recipe", "pod-container-gpu", "version-deployment", "service", "model-version", "model-deployment"]


def made(name: str, cluster: Cluster) -> dict[str, Any]:
    """A golden manifest, in the test's namespace."""
    manifest: dict[str, Any] = yaml.safe_load((DATA / "operator" / f"{name}.yaml").read_text(encoding="utf-8"))
    manifest["metadata"]["namespace"] = cluster.namespace
    return manifest


@pytest.fixture
def restricted(cluster: Cluster) -> Cluster:
    """A namespace that admits restricted pods only."""
    enforced = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    path = f"/api/v1/namespaces/{cluster.namespace}"
    cluster.api.request("PATCH", path, enforced, "application/merge-patch+json")
    return cluster


@pytest.mark.parametrize("name", MADE)
def test_a_manifest_passes_strict_validation(name: str, restricted: Cluster) -> None:
    manifest = made(name, restricted)
    path = path_of(manifest, name=False) + f"?fieldValidation=Strict&fieldManager={labels.FIELD_MANAGER}"
    assert restricted.api.request("POST", path, manifest)["metadata"]["uid"]


def test_the_pods_of_a_version_are_restricted(restricted: Cluster) -> None:
    template = made("version-deployment", restricted)["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    pod["metadata"] = {**template["metadata"], "name": "server", "namespace": restricted.namespace}
    assert restricted.api.request("POST", f"{path_of(pod, name=False)}?fieldValidation=Strict", pod)["metadata"]["uid"]


def test_scaling_leaves_the_template_of_a_version_alone(cluster: Cluster) -> None:
    manifest = made("version-deployment", cluster)
    manager = f"fieldManager={labels.FIELD_MANAGER}"
    before = cluster.api.request("POST", f"{path_of(manifest, name=False)}?{manager}", manifest)
    scaled = made("version-scale", cluster)
    scaled["metadata"]["name"] = manifest["metadata"]["name"]
    for replicas in (5, 3):
        scaled["spec"]["replicas"] = replicas
        query = f"{manager}&force=true"
        after = cluster.api.request("PATCH", f"{path_of(scaled)}?{query}", scaled, "application/apply-patch+yaml")
        assert after["spec"]["replicas"] == replicas
        assert after["spec"]["template"] == before["spec"]["template"]
        assert after["metadata"]["labels"] == before["metadata"]["labels"]
