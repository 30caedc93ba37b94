"""The connection to a cluster's API server: the usual kubeconfig, JSON in and out, one error mapping.

The `kubernetes` package reads kubeconfigs (exec plugins, certificates, in-cluster tokens) and authenticates requests;
it is imported on the first request only, because that takes half a second.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from . import object_names
from .api_errors import Target, from_failure, from_response
from .errors import FoveaError, InvalidError

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT = (5.0, 60.0)
"""Seconds to connect and between two pieces of an answer."""
_WATCH_SECONDS = 240
_USER_AGENT = "fovea-client"


def in_pod() -> bool:
    """Whether this process runs in a pod, so that names of Services resolve. Elsewhere asking can take long."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


class Cluster:
    """One cluster as one user sees it. Opened lazily; safe to share between threads."""

    def __init__(
        self, *, context: str | None = None, kubeconfig: str | None = None, namespace: str | None = None
    ) -> None:
        self._context, self._kubeconfig, self._namespace = context, kubeconfig, namespace
        self._api: Any = None

    @property
    def namespace(self) -> str:
        """The namespace asked for, else the context's (without a kubeconfig the pod's own), else default."""
        if self._namespace is None:
            self._namespace = self._own_namespace()
        return object_names.existing("namespace", self._namespace)

    def within(self, namespace: str) -> "Cluster":
        """The same connection in another namespace."""
        if namespace == self.namespace:
            return self
        other = Cluster(context=self._context, kubeconfig=self._kubeconfig, namespace=namespace)
        other._api = self.api
        return other

    @property
    def server(self) -> str:
        """URL of the API server."""
        return str(self.api.configuration.host)

    @property
    def api(self) -> Any:
        """The kubernetes.client.ApiClient of this connection."""
        if self._api is None:
            self._api = self._connect()
        return self._api

    def get(self, target: Target, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """GET a JSON document."""
        return self._json(target, "GET", path, query)

    def ask(self, target: Target, path: str, headers: Mapping[str, str], seconds: float) -> dict[str, Any]:
        """GET a JSON document with one try of at most `seconds`. Raises as `get` does."""
        response = self._request(target, "GET", path, headers=headers, once=seconds)
        return self._document(target, response)

    def create(self, target: Target, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """POST an object with strict field validation: a misspelt field is an error, not ignored."""
        query = {"fieldValidation": "Strict", "fieldManager": "fovea-client"}
        if dry_run:
            query["dryRun"] = "All"
        return self._json(target, "POST", path, query, body)

    def patch(self, target: Target, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge-patch an object."""
        query = {"fieldManager": "fovea-client"}
        return self._json(target, "PATCH", path, query, body, "application/merge-patch+json")

    def delete(self, target: Target, path: str, *, uid: str = "") -> str:
        """DELETE an object, in the background; with `uid` only that one, not a successor of the same name. Returns its uid."""
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        answer = self._json(target, "DELETE", path, None, options)
        # A Status, or the object itself where a finalizer keeps it.
        return str((answer.get("details") or answer.get("metadata") or {}).get("uid", ""))

    def watch(self, target: Target, path: str, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Events {type, object} of one watch request until the server ends it, after some minutes. Raises as `get`."""
        seconds = int(query.get("timeoutSeconds", _WATCH_SECONDS))
        query = {**query, "watch": "true", "timeoutSeconds": seconds}
        with self.stream(target, path, query, read_timeout=seconds + 10.0) as response, self._answered(target):
            for line in _lines(response):
                event = json.loads(line)
                if event.get("type") == "ERROR":
                    status = event.get("object", {})
                    raise from_response(target, int(status.get("code", 500)), json.dumps(status).encode())
                yield event

    def lines(
        self, target: Target, path: str, query: Mapping[str, Any], *, connected: Callable[[], None] = lambda: None
    ) -> Iterator[str]:
        """Lines of a text as they come, for example a log that is followed. Raises as `get` does.

        `connected` is called when the server has begun to answer, which may be long before the first line.
        """
        with self.stream(target, path, query) as response, self._answered(target):
            connected()
            for line in _lines(response, keep_empty=True):
                yield line.decode(errors="replace")

    @contextmanager
    def stream(
        self, target: Target, path: str, query: Mapping[str, Any] | None = None, *, read_timeout: float | None = None
    ) -> Iterator[Any]:
        """The raw urllib3 response of a GET, to be read as it comes; closed at the end."""
        response = self._request(target, "GET", path, query, timeout=(_TIMEOUT[0], read_timeout or 3600.0))
        try:
            yield response
        finally:
            # Not drained: the rest of a followed stream may never come.
            response.close()

    @contextmanager
    def _answered(self, target: Target) -> Iterator[None]:
        import urllib3
        from kubernetes.client.rest import ApiException

        try:
            yield
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise from_failure(self.server, error) from error
        except ApiException as error:
            if not error.status:
                raise from_failure(self.server, error) from error
            raise from_response(target, int(error.status), (error.body or "").encode()) from error

    def _json(
        self,
        target: Target,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        return self._document(target, self._request(target, method, path, query, body, content_type))

    def _document(self, target: Target, response: Any) -> dict[str, Any]:
        with self._answered(target):
            document = json.loads(response.data)
        if not isinstance(document, dict):
            raise FoveaError(
                f"the API server answered {target.verb} {target} with {type(document).__name__}, not an object"
            )
        return document

    def _request(
        self,
        target: Target,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        timeout: tuple[float, float] = _TIMEOUT,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        once: float | None = None,
    ) -> Any:
        """The answer to a request, not yet read. `once`: seconds for one try, in place of the timeouts."""
        api = self.api
        with self._answered(target):
            # Of the package only what all its versions have: its connections, their trust and their credentials.
            sent = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": _USER_AGENT, **headers}
            for setting in api.configuration.auth_settings().values():
                sent[setting["key"]] = setting["value"]
            response = api.rest_client.pool_manager.request(
                method,
                f"{api.configuration.host}{path}" + (f"?{urlencode(query)}" if query else ""),
                body=None if body is None else json.dumps(api.sanitize_for_serialization(body)),
                headers=sent,
                timeout=_urllib3_timeout(timeout, once),
                preload_content=False,
                **({} if once is None else {"retries": False}),
            )
            if response.status >= 400:
                raise from_response(target, response.status, response.data)
        return response

    def _connect(self) -> Any:
        from kubernetes import client, config

        with self._configuring():
            if self._pod_credentials():
                configuration = client.Configuration()
                config.load_incluster_config(client_configuration=configuration)
                api = client.ApiClient(configuration)
            else:
                api = config.new_client_from_config(config_file=self._config_file(), context=self._context)
        api.user_agent = _USER_AGENT
        return api

    @contextmanager
    def _configuring(self) -> Iterator[None]:
        import yaml
        from kubernetes import config

        try:
            yield
        # A file that is no kubeconfig ends in the first error of the package that reads it.
        except (config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, AttributeError) as error:
            raise InvalidError(self._config_problem(error)) from error

    def _pod_credentials(self) -> bool:
        """Whether the pod's own service account is used: as by kubectl, only where there is no kubeconfig at all."""
        asked = self._context or self._kubeconfig or os.environ.get("KUBECONFIG")
        # Not Path.exists(): a home that this user may not look into is an error there, and common in pods.
        return (
            not asked and in_pod() and (_SERVICE_ACCOUNT / "token").exists() and not os.access(_users_config(), os.F_OK)
        )

    def _config_file(self) -> str:
        return self._kubeconfig or os.environ.get("KUBECONFIG") or str(_users_config())

    def _config_problem(self, error: Exception) -> str:
        where = f"kubeconfig {self._config_file()}"
        remedy = "set KUBECONFIG or pass --kubeconfig; on the embedded cluster `make up` says where its kubeconfig is"
        if not any(os.path.exists(file) for file in self._config_file().split(os.pathsep)):  # noqa: PTH110 - raises nothing
            return f"{where} does not exist: {remedy}"
        if self._context and "context" in str(error).lower():
            return f"{where} has no usable context {self._context}: `kubectl config get-contexts` lists them ({error})"
        return f"{where} cannot be used ({error}): {remedy}"

    def _own_namespace(self) -> str:
        from kubernetes import config

        if self._pod_credentials():
            return (_SERVICE_ACCOUNT / "namespace").read_text().strip() or "default"
        with self._configuring():
            contexts, active = config.list_kube_config_contexts(self._config_file())
        chosen = next((c for c in contexts if c["name"] == self._context), active) if self._context else active
        return str((chosen or {}).get("context", {}).get("namespace") or "default")


def _urllib3_timeout(seconds: tuple[float, float], total: float | None) -> Any:
    import urllib3

    return urllib3.Timeout(connect=seconds[0], read=seconds[1], total=total)


def _users_config() -> Path:
    """The user's kubeconfig, which need not exist."""
    config = Path("~", ".kube", "config")
    try:
        return config.expanduser()
    except RuntimeError:
        return config  # A pod's user may have no home.


def _lines(response: Any, *, keep_empty: bool = False) -> Iterator[bytes]:
    buffer = b""
    for chunk in response.stream(amt=None, decode_content=True):
        buffer += chunk
        *lines, buffer = buffer.split(b"\n")
        yield from (line for line in lines if keep_empty or line.strip())
    if buffer.strip():
        yield buffer
