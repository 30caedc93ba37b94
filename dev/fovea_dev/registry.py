"""The local image registry: Debian's docker-registry on loopback, its images kept in the cache."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request

from fovea_dev.layout import Cluster
from fovea_dev.pki import write_private
from fovea_dev.processes import Processes, Program
from fovea_dev.progress import StepFailed

MANIFEST_TYPES = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


class CannotAsk(Exception):
    """A registry that does not say what it has: no answer, no trusted certificate, a login. Says which."""


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
    try:
        return _status("GET", f"{_base(registry)}/v2/") == http.HTTPStatus.OK
    except CannotAsk:
        return False


def has_image(registry: str, name: str, tag: str) -> bool:
    """Whether a tag (or digest) is in the registry `host[:port][/path]`. Raises CannotAsk if it does not say."""
    host, _, path = registry.partition("/")
    if host == "localhost":
        return False  # so docker and buildah call images that are in no registry
    repository = f"{path}/{name}" if path else name
    status = _status("HEAD", f"{_base(host)}/v2/{repository}/manifests/{tag}")
    if status not in (http.HTTPStatus.OK, http.HTTPStatus.NOT_FOUND):
        login = " (it wants a login)" if status == http.HTTPStatus.UNAUTHORIZED else ""
        raise CannotAsk(f"{host} answers {status}{login}")
    return status == http.HTTPStatus.OK


def _is_loopback(host: str) -> bool:
    return host.partition(":")[0] == "localhost" or host.startswith(("127.", "[::1]"))


def _base(host: str) -> str:
    """Where a registry's API is: only on loopback without TLS, as docker and containerd have it, too."""
    return f"{'http' if _is_loopback(host) else 'https'}://{host}"


def _status(method: str, url: str) -> int:
    request = urllib.request.Request(url, method=method, headers={"Accept": MANIFEST_TYPES})  # noqa: S310 - http or https, by _base
    # What is on this machine is not asked through a proxy.
    direct = [urllib.request.ProxyHandler({})] if url.startswith("http://") else []
    try:
        with urllib.request.build_opener(*direct).open(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CannotAsk(f"{url.split('/')[2]}: {getattr(error, 'reason', error)}") from error
