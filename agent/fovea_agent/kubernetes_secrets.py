"""The Secret with a namespace's key, read and applied through the API server of the cluster the agent runs in."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import urllib3
from fovea_api.contract import labels, names, text

from fovea_agent.errors import AgentError, KeyRefused, Misconfigured

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
FIELD_MANAGER = "fovea-provision"


def secret_manifest(namespace: str, data: Mapping[str, str]) -> dict[str, Any]:
    """The Secret `fovea-object-store` of a namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.OBJECT_STORE_SECRET,
            "namespace": namespace,
            "labels": {labels.MANAGED_BY: labels.MANAGED_BY_VALUE},
        },
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in sorted(data.items())},
    }


class ClusterSecrets:
    """Secrets of a cluster, by server-side apply."""

    def __init__(self, server: str, token: Path, ca_bundle: Path | None) -> None:
        self._server = server
        self._token = token
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=5, read=30),
            retries=urllib3.Retry(
                5, backoff_factor=0.5, status_forcelist=[429, 500, 502, 503, 504], allowed_methods=None
            ),
            ca_certs=str(ca_bundle) if ca_bundle else None,
        )

    @classmethod
    def in_cluster(cls, env: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> "ClusterSecrets":
        """By the pod's own service account."""
        host, port = env.get("KUBERNETES_SERVICE_HOST", ""), env.get("KUBERNETES_SERVICE_PORT", "443")
        token = directory / "token"
        if not host or not token.is_file():
            raise Misconfigured("--apply needs to run in a pod with a service account token; use --print elsewhere")
        address = f"[{host}]" if ":" in host else host
        return cls(f"https://{address}:{port}", token, directory / "ca.crt")

    def read(self, namespace: str) -> dict[str, str] | None:
        """The namespace's Secret, None when it has none."""
        answer = self._request("GET", namespace)
        if answer.status == 404:
            return None
        self._check(answer, namespace)
        data = json.loads(answer.data).get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def write(self, namespace: str, data: Mapping[str, str]) -> None:
        """Create or replace it."""
        body = text.to_json(secret_manifest(namespace, data))
        self._check(self._request("PATCH", namespace, body), namespace)

    def labelled(self, label: str) -> dict[str, str]:
        """Namespaces with the label, and its value; without those that are being deleted."""
        answer = self._ask("GET", f"/api/v1/namespaces?labelSelector={label}")
        if answer.status >= 300:
            said = answer.data[:300].decode(errors="replace")
            raise AgentError(f"namespaces cannot be listed (status {answer.status}): {said}", reason="ApiServer")
        found = [item["metadata"] for item in json.loads(answer.data)["items"]]
        return {item["name"]: item["labels"][label] for item in found if not item.get("deletionTimestamp")}

    def label(self, namespace: str, label: str) -> str | None:
        """The label of a namespace; None without it."""
        answer = self._ask("GET", f"/api/v1/namespaces/{namespace}")
        self._check(answer, namespace, f"labels of namespace {namespace!r}")
        value = (json.loads(answer.data)["metadata"].get("labels") or {}).get(label)
        return None if value is None else str(value)

    def _request(self, method: str, namespace: str, body: bytes | None = None) -> urllib3.BaseHTTPResponse:
        path = f"/api/v1/namespaces/{namespace}/secrets/{names.OBJECT_STORE_SECRET}"
        return self._ask(method, f"{path}?fieldManager={FIELD_MANAGER}&force=true" if body else path, body)

    def _ask(self, method: str, path: str, body: bytes | None = None) -> urllib3.BaseHTTPResponse:
        url = f"{self._server}{path}"
        # Read each time: the kubelet renews it in place.
        headers = {"Authorization": f"Bearer {self._token.read_text().strip()}"}
        if body:
            headers["Content-Type"] = "application/apply-patch+yaml"
        try:
            return self._http.request(method, url, body=body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise AgentError(
                f"the API server at {self._server} does not answer: {error}", reason="ApiServer"
            ) from error

    def _check(self, answer: urllib3.BaseHTTPResponse, namespace: str, what: str = "") -> None:
        if answer.status < 300:
            return
        said = answer.data[:300].decode(errors="replace")
        what = what or f"Secret {names.OBJECT_STORE_SECRET} in namespace {namespace!r}"
        if answer.status in (401, 403):
            raise KeyRefused(f"the API server does not let provision reach the {what}: {said}", reason="Forbidden")
        if answer.status == 404:
            raise Misconfigured(f"there is no {what}: create the namespace first ({said})")
        raise AgentError(f"the {what} was refused with status {answer.status}: {said}", reason="ApiServer")
