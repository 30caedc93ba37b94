"""A local port that leads to a pod's, through the API server: for clients outside the cluster."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from .api_errors import Target
from .cluster import Cluster
from .errors import NotFoundError, UnreachableError
from .resources import core_path

_CHUNK = 256 * 1024
_FINISH_SECONDS = 5.0


class PortForward:
    """Listens on 127.0.0.1; every connection becomes one port-forward to the pod. Close it, or use it as a context."""

    def __init__(self, cluster: Cluster, namespace: str, pod: str, port: int) -> None:
        self._cluster, self._namespace, self._pod, self._port = cluster, namespace, pod, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._failure: str = ""
        threading.Thread(target=self._accept, daemon=True, name=f"port-forward {pod}:{port}").start()

    @property
    def address(self) -> str:
        """host:port to connect to."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    @property
    def failure(self) -> str:
        """Why the last connection could not be forwarded; empty while all is well."""
        return self._failure

    def close(self) -> None:
        """Stop listening; open connections end with the process or their peer."""
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def check(self) -> None:
        """Open one connection for trial; raises UnreachableError with the API server's reason."""
        try:
            remote = self._connect()
        except Exception as error:
            raise UnreachableError(self._explain(error)) from error
        _finish(remote)

    def _accept(self) -> None:
        while True:
            try:
                local, _ = self._listener.accept()
            except OSError:
                return  # Closed.
            threading.Thread(target=self._serve, args=(local,), daemon=True).start()

    def _serve(self, local: socket.socket) -> None:
        try:
            remote = self._connect()
        except Exception as error:  # noqa: BLE001 - a thread has no caller to raise to: kept for `failure`, the peer sees a reset
            self._failure = self._explain(error)
            local.close()
            return
        threading.Thread(target=_send, args=(local, remote), daemon=True).start()
        _copy(remote, local)
        with suppress(OSError):  # The peer may have gone first.
            local.shutdown(socket.SHUT_RDWR)
        local.close()
        _finish(remote)

    def _connect(self) -> socket.socket:
        from kubernetes import client
        from kubernetes.stream import portforward

        # A client of its own: the stream module swaps a method of it while it connects, which threads must not share.
        core = client.CoreV1Api(client.ApiClient(self._cluster.api.configuration))
        forward = portforward(
            core.connect_get_namespaced_pod_portforward, self._pod, self._namespace, ports=str(self._port)
        )
        remote: socket.socket = forward.socket(self._port)
        remote.setblocking(True)
        return remote

    def _explain(self, error: BaseException) -> str:
        return (
            f"cannot forward a port to pod {self._pod} in namespace {self._namespace} "
            f"({getattr(error, 'reason', None) or error}): "
            f"`kubectl auth can-i create pods/{self._pod} --subresource=portforward -n {self._namespace}` "
            "says whether you may"
        )


def to_pods(cluster: Cluster, namespace: str, selector: str, port: int | str, *, what: str) -> PortForward:
    """A port-forward to one ready pod of the selector, to a port's number or name; NotFoundError when none is ready."""
    target = Target("list", f"pods of {what}", "pods", namespace, ours=False)
    items = cluster.get(target, core_path(namespace, "pods"), {"labelSelector": selector}).get("items", [])
    ready = [item for item in items if _ready(item)]
    if not ready:
        raise NotFoundError(
            f"{what} has no ready pod in namespace {namespace} ({len(items)} with labels {selector}): "
            f"see `kubectl get pods -n {namespace} -l {selector}`"
        )
    return _to(cluster, ready[0], port)


def to_pod(cluster: Cluster, target: Target, port: int | str) -> PortForward:
    """A port-forward to the pod of that name, to a port's number or name; UnreachableError when it is not ready."""
    pod = cluster.get(target, core_path(target.namespace, "pods", target.name))
    if not _ready(pod):
        raise UnreachableError(f"{target} is not ready: try again in a moment, or ask the platform team what keeps it")
    return _to(cluster, pod, port)


def _to(cluster: Cluster, pod: dict[str, Any], port: int | str) -> PortForward:
    forward = PortForward(cluster, pod["metadata"]["namespace"], pod["metadata"]["name"], _number(pod, port))
    forward.check()
    return forward


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def _number(pod: dict[str, Any], port: int | str) -> int:
    ports = [entry for container in pod["spec"]["containers"] for entry in container.get("ports") or []]
    named = [int(entry["containerPort"]) for entry in ports if entry.get("name") == port]
    return named[0] if named else int(port)


def _send(local: socket.socket, remote: socket.socket) -> None:
    _copy(local, remote)
    with suppress(OSError):  # The other direction may have ended first.
        remote.shutdown(socket.SHUT_WR)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    # An OSError says that either side hung up, which is how a connection may end.
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)


def _finish(remote: socket.socket) -> None:
    """Close the forwarding side: say that nothing follows and take what is still coming.

    Closed with unread data it would be reset, and the thread behind it would print a traceback.
    """
    with suppress(OSError):
        remote.shutdown(socket.SHUT_WR)
        remote.settimeout(_FINISH_SECONDS)
        while remote.recv(_CHUNK):
            pass
    remote.close()
