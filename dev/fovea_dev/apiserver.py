"""A real kube-apiserver and etcd in a folder, on free loopback ports, without root or a node: for tests and benches.

    with ApiServer(Path("/tmp/plane"), tools=Tools(cache), audit=True) as server:
        run_operator(kubeconfig=server.kubeconfig)

No controller manager runs: nothing makes ServiceAccounts by itself, collects garbage or empties a deleted namespace.
"""

from __future__ import annotations

import base64
import json
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fovea_dev.api import Api
from fovea_dev.control_plane import Address, ControlPlane
from fovea_dev.pki import Pki, Subject, token_kubeconfig_text, write_private
from fovea_dev.ports import free_ports
from fovea_dev.processes import Processes
from fovea_dev.tools import TOOLS, Tools

HOST = "127.0.0.1"
START_SECONDS = 90.0
PROGRAMS = ("kube-apiserver", "etcd", "kubectl")


def build_tools(tools: Tools) -> None:
    """Build what an ApiServer needs (seconds when it is built already, minutes otherwise)."""
    for module in TOOLS:
        if wanted := [name for name in PROGRAMS if name in module.programs]:
            tools.build(module, wanted)


def audit_policy() -> dict[str, Any]:
    """One line per finished request: client, request and time, without bodies."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted", "Panic"],
        "rules": [{"level": "Metadata"}],
    }


class ApiServer:
    """Starts on entering, ends on leaving. `folder` holds keys, data and logs; its data is thrown away at the end.

    `audit`: write an audit log (level Metadata) to `audit_log`. `flags`: more flags of kube-apiserver, without dashes.
    """

    def __init__(self, folder: Path, *, tools: Tools, audit: bool = False, flags: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._tools = tools
        self._audit = audit
        self._flags = flags or {}
        api, client, peer = free_ports(3)
        self.plane = ControlPlane(
            pki=Pki(folder / "pki"),
            data=folder / "etcd",
            api=Address(HOST, api),
            etcd_client=Address(HOST, client),
            etcd_peer=Address(HOST, peer),
            program=tools.path,
        )
        self.processes = Processes(folder / "pids", folder / "logs")

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://{HOST}:{self.plane.api.port}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The audit log: one JSON object per line."""
        return self.folder / "audit.log"

    @property
    def client(self) -> Api:
        """An administrator's client (standard library only)."""
        return self.plane.client()

    def start(self) -> None:
        """Start etcd and the API server and wait until it is ready; raises StepFailed with the log if it is not."""
        for name in ("etcd", "kube-apiserver"):
            self.processes.stop(name)
        self.plane.make_keys()
        self.plane.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.processes.ensure(self.plane.etcd())
        self.start_api_server()
        self.plane.kubeconfig(self.kubeconfig)

    def start_api_server(self) -> None:
        """(Re)start the API server alone: its data are etcd's."""
        self.processes.ensure(self.plane.api_server({**self._audit_flags(), **self._flags}))
        client = self.plane.client()
        self.processes.wait(
            "kube-apiserver", lambda: _serves(client), START_SECONDS, f"ready on {self.url}", needs=["etcd"]
        )

    def stop_api_server(self) -> None:
        """End the API server; etcd and its data stay."""
        self.processes.stop("kube-apiserver")

    def stop(self) -> None:
        """End both and remove etcd's data; logs, keys and the audit log stay."""
        for name in ("kube-apiserver", "etcd"):
            self.processes.stop(name)
        shutil.rmtree(self.plane.data, ignore_errors=True)

    def user_kubeconfig(self, user: str, group: str = "") -> Path:
        """A kubeconfig for a user (with a client certificate), whose rights are what RBAC gives that name."""
        name = user.replace(":", "-").replace("/", "-")
        self.plane.pki.issue("ca", [Subject(f"user-{name}", user, group)])
        path = self.folder / f"{name}.kubeconfig"
        self.plane.kubeconfig(path, client=f"user-{name}")
        return path

    def service_account_kubeconfig(self, namespace: str, name: str, audience: str = "") -> Path:
        """A kubeconfig with a fresh token (one hour) of an existing ServiceAccount."""
        token = self.service_account_token(namespace, name, audience)
        authority = base64.b64encode(self.plane.pki.certificate("ca").read_bytes()).decode()
        path = self.folder / f"{namespace}-{name}.kubeconfig"
        write_private(path, token_kubeconfig_text(self.url, authority, token))
        return path

    def service_account_token(self, namespace: str, name: str, audience: str = "") -> str:
        """A fresh token of an existing ServiceAccount, by default for the API server itself."""
        spec: dict[str, Any] = {"expirationSeconds": 3600}
        if audience:
            spec["audiences"] = [audience]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = self.client.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", body)
        return str(answer["status"]["token"])

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _audit_flags(self) -> dict[str, str]:
        if not self._audit:
            return {}
        policy = self.folder / "audit-policy.json"
        write_private(policy, json.dumps(audit_policy()))
        return {
            "audit-policy-file": str(policy),
            "audit-log-path": str(self.audit_log),
            "audit-log-mode": "batch",
            "audit-log-maxsize": "4096",
        }


def _serves(client: Api) -> bool:
    # The default namespace appears a moment after /readyz; code that applies something into it should not have to know.
    if not client.is_ready():
        return False
    return client.exists("/api/v1/namespaces/default")


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    from fovea_dev.layout import Cache

    begun = time.monotonic()
    with TemporaryDirectory() as scratch, ApiServer(Path(scratch), tools=Tools(Cache.from_environment())) as trial:
        print(f"{trial.url} was ready after {time.monotonic() - begun:.1f} s")
