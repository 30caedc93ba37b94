"""The local image registry: Debian's docker-registry on loopback, its images kept in the cache."""

from __future__ import annotations

import http.client
import json

from fovea_dev.layout import Cluster
from fovea_dev.pki import write_private
from fovea_dev.processes import Processes, Program
from fovea_dev.progress import StepFailed

MANIFEST_TYPES = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def configuration(cluster: Cluster) -> str:
    """docker-registry's configuration (JSON, which is YAML)."""
    return json.dumps(
        {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(cluster.cache.registry)},
                "delete": {"enabled": True},
                "cache": {"blobdescriptor": "inmemory"},
            },
            "http": {"addr": cluster.registry, "secret": "not-used-by-a-single-registry"},
        },
        indent=2,
    )


def bring_up(cluster: Cluster, processes: Processes, notes: list[str]) -> None:
    """Make the registry run and answer."""
    file = cluster.config / "registry.json"
    text = configuration(cluster)
    write_private(file, text)
    cluster.cache.registry.mkdir(parents=True, exist_ok=True)
    if processes.identity("registry") is None and answers(cluster.registry):
        raise StepFailed(
            f"something else answers on {cluster.registry}, where our image registry would be: "
            f"end it, or choose another port with FOVEA_REGISTRY_PORT"
        )
    processes.ensure(Program("registry", ["docker-registry", "serve", str(file)]), configuration=text)
    processes.wait("registry", lambda: answers(cluster.registry), 30, f"an answer on {cluster.registry}")
    notes.append(cluster.registry)


def answers(registry: str) -> bool:
    """Whether a registry answers there."""
    return _status(registry, "GET", "/v2/") == http.HTTPStatus.OK


def has_image(registry: str, name: str, tag: str) -> bool:
    """Whether a tag (or digest) is in the registry."""
    return _status(registry, "HEAD", f"/v2/{name}/manifests/{tag}") == http.HTTPStatus.OK


def _status(registry: str, method: str, path: str) -> int:
    connection = http.client.HTTPConnection(registry, timeout=5)
    try:
        connection.request(method, path, headers={"Accept": MANIFEST_TYPES})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
