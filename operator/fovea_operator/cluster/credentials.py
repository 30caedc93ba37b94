"""How to reach the API server: the pod's service account inside a cluster, the usual kubeconfig outside of one."""

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fovea_operator.errors import FoveaError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class NoCredentials(FoveaError):
    """There is no way to the API server: says what was looked for and where."""


@dataclass(frozen=True)
class Credentials:
    """A server and how to be let in."""

    server: str
    ca: bytes | None = None
    """PEM of the authority; None: the system's."""
    certificate: bytes | None = None
    key: bytes | None = None
    token: str = ""
    insecure: bool = False

    def context(self) -> ssl.SSLContext | bool:
        """TLS settings for a client; False for plain http."""
        if not self.server.startswith("https:"):
            return False
        context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate and self.key:
            # The ssl module takes a client certificate from a file only.
            with tempfile.NamedTemporaryFile() as file:
                file.write(self.certificate + b"\n" + self.key)
                file.flush()
                context.load_cert_chain(file.name)
        return context


def load(environment: Mapping[str, str] = os.environ) -> Credentials:
    """Read them again (tokens and certificates are rotated on disk). KUBECONFIG wins; raises NoCredentials."""
    if environment.get("KUBECONFIG"):
        return from_kubeconfig([Path(part) for part in environment["KUBECONFIG"].split(os.pathsep) if part])
    if environment.get("KUBERNETES_SERVICE_HOST") and (SERVICE_ACCOUNT / "token").exists():
        return from_service_account(environment)
    default = Path("~/.kube/config").expanduser()
    if default.exists():
        return from_kubeconfig([default])
    raise NoCredentials(
        f"no way to the API server: neither KUBECONFIG, nor {SERVICE_ACCOUNT}/token, nor {default} is there; "
        "set KUBECONFIG, or run as a pod with automountServiceAccountToken"
    )


def from_service_account(environment: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> Credentials:
    """Credentials of a pod."""
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment.get("KUBERNETES_SERVICE_PORT", "443")
    return Credentials(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        ca=(folder / "ca.crt").read_bytes(),
        token=(folder / "token").read_text().strip(),
    )


def from_kubeconfig(paths: list[Path]) -> Credentials:
    """Credentials of the current context; the first file that names something wins."""
    current = ""
    found: dict[str, dict[str, dict[str, Any]]] = {"contexts": {}, "clusters": {}, "users": {}}
    for path in paths:
        try:
            document = yaml.safe_load(path.expanduser().read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise NoCredentials(f"kubeconfig {path} cannot be read: {error}; correct KUBECONFIG") from error
        current = current or document.get("current-context") or ""
        for part, known in found.items():
            for item in document.get(part) or ():
                known.setdefault(item["name"], {**(item.get(part[:-1]) or {}), "folder": path.expanduser().parent})
    where = os.pathsep.join(str(path) for path in paths)
    context = _named(found["contexts"], current, "context", where)
    cluster = _named(found["clusters"], context.get("cluster", ""), "cluster", where)
    user = _named(found["users"], context.get("user", ""), "user", where)
    if user.get("exec") or user.get("auth-provider"):
        raise NoCredentials(
            f"kubeconfig {where}: user {context['user']!r} logs in by a plugin, which the operator does not start; "
            "use a service account's token or a client certificate"
        )
    token = user.get("token") or ""
    if not token and user.get("tokenFile"):
        token = (user["folder"] / user["tokenFile"]).read_text().strip()
    return Credentials(
        server=cluster["server"],
        ca=_content(cluster, "certificate-authority"),
        certificate=_content(user, "client-certificate"),
        key=_content(user, "client-key"),
        token=token,
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
    )


def _named(known: dict[str, dict[str, Any]], name: str, what: str, where: str) -> dict[str, Any]:
    if name not in known:
        raise NoCredentials(f"kubeconfig {where} has no {what} {name!r}; correct current-context or add the {what}")
    return known[name]


def _content(item: dict[str, Any], field: str) -> bytes | None:
    if item.get(f"{field}-data"):
        return base64.b64decode(item[f"{field}-data"])
    if item.get(field):
        return bytes((item["folder"] / item[field]).read_bytes())
    return None
