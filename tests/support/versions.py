"""Versions of a model on an API server, and the Deployments that serve them."""

from typing import Any

from fovea_api.contract import labels
from fovea_api.v1alpha1 import API_VERSION
from support.kube_apiserver import Cluster
from support.kubelet_player import DIGEST


def model_version(model: str, number: int) -> dict[str, Any]:
    """A version that somebody has registered."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelVersion",
        "metadata": {"name": f"{model}-v{number}"},
        "spec": {"model": model, "version": number, "uri": f"s3://fovea/team/{model}/{number}", "digest": DIGEST},
    }


def workload_of(cluster: Cluster, version: int) -> dict[str, Any]:
    """The Deployment of a version, once it is there."""
    found = cluster.wait(
        f"the Deployment of version {version}",
        lambda: cluster.list("Deployment", f"{labels.VERSION}={version}"),
    )
    assert len(found) == 1
    return dict(found[0])
