"""Owner references: what Kubernetes deletes when its owner goes."""

from typing import Any

from fovea_api.v1alpha1 import API_VERSION, Resource


def reference(owner: Resource) -> dict[str, Any]:
    """The controller reference to put on a child."""
    return {
        "apiVersion": API_VERSION,
        "kind": owner.kind,
        "name": owner.metadata.name,
        "uid": owner.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
