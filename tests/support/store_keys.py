"""A namespace's Secret with its key of the object store, for a client that has no variables."""

import base64
from pathlib import Path

import pytest
from fovea_api.contract import names
from support.kube_apiserver import Cluster
from support.object_store import ObjectStore

VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_CA_BUNDLE",
    "FOVEA_BUCKET",
)


@pytest.fixture(autouse=True)
def no_store_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without S3 variables: what the Secret says counts."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def make_secret(cluster: Cluster, object_store: ObjectStore, keys: Path, **changed: str) -> None:
    """The namespace's Secret with its own key, as the agent's `provision` makes it."""
    files = {file.name: file.read_text() for file in object_store.keys(cluster.namespace, keys).iterdir()} | changed
    data = {name: base64.b64encode(text.encode()).decode() for name, text in files.items() if text}
    metadata = {"name": names.OBJECT_STORE_SECRET, "namespace": cluster.namespace}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    cluster.api.request("POST", f"/api/v1/namespaces/{cluster.namespace}/secrets", manifest)
