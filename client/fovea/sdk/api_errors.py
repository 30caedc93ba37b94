"""What an answer of the API server means to a user: the one place where status codes become Fovea's errors. Pure."""

import json
from dataclasses import dataclass
from typing import Any

from .errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    FoveaError,
    InvalidError,
    NotFoundError,
    NotInstalledError,
    UnreachableError,
)

_INSTALL = (
    "helm install fovea charts/fovea --namespace fovea-system --create-namespace "
    "--set images.fovea=REGISTRY/fovea:TAG --set images.trainer=REGISTRY/fovea-tensorflow:TAG "
    "--set 'objectStore.namespaces={{{namespace}}}' (docs/how-to/install.md says how to build the images)"
)
_GROUPS = {
    "trainingjobs": "jobs",
    "modelversions": "versions",
    "modeldeployments": "deployments",
    "batchpredictions": "predictions",
}
"""Commands of `fovea` by the kind that they are about."""


@dataclass(frozen=True)
class Target:
    """What a request was about: a verb for the sentence, a kind, its plural, name and namespace where known."""

    verb: str
    kind: str
    plural: str
    namespace: str = ""
    name: str = ""
    ours: bool = True
    """Whether the kind is one of Fovea's: if the server does not know it, Fovea is not installed."""
    remedy: str = "ask the platform team for the role edit (or view) in that namespace"
    """What to do when the user may not."""

    def __str__(self) -> str:
        subject = f"{self.kind} {self.name}".strip()
        return f"{subject} in namespace {self.namespace}" if self.namespace else subject


def from_response(target: Target, code: int, body: bytes) -> FoveaError:
    """The error for an HTTP answer >= 400."""
    status = _status(body)
    message = str(status.get("message") or body.decode(errors="replace").strip() or f"HTTP {code}")
    details = status.get("details") if isinstance(status.get("details"), dict) else {}
    if code == 404:
        return _not_found(target, status, message)
    if code == 410:
        return ConflictError(f"{target}: what was to be watched is too old by now, read it again ({message})")
    if code == 409:
        if status.get("reason") == "AlreadyExists":
            return AlreadyExistsError(f"{target} exists already: choose another name or delete it first")
        return ConflictError(f"{target} was changed by somebody else meanwhile: try again ({message})")
    if code in (401, 403):
        return _refused(target, code, message)
    if code in (400, 422):
        return InvalidError(_invalid(target, details or {}, message))
    if code == 429 or code >= 500:
        return UnreachableError(
            f"the API server could not {target.verb} {target} (HTTP {code}: {message}): try again in a moment"
        )
    return FoveaError(f"cannot {target.verb} {target}: HTTP {code}: {message}")


def from_failure(server: str, error: Exception) -> FoveaError:
    """The error for a request that got no answer at all."""
    cause: BaseException = error
    while (inner := getattr(cause, "reason", None) or cause.__cause__) is not None and isinstance(inner, BaseException):
        cause = inner
    text = str(cause)
    if "CERTIFICATE" in text.upper() or "SSL" in type(cause).__name__:
        return UnreachableError(
            f"the API server {server} is not trusted ({text}): check certificate-authority in the kubeconfig, "
            "or choose another context with --context"
        )
    return UnreachableError(
        f"the API server {server} does not answer ({text}): is the cluster up and the context right? "
        "See `kubectl config current-context`; choose another with --context or --kubeconfig"
    )


def _status(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _not_found(target: Target, status: dict[str, Any], message: str) -> FoveaError:
    # A missing object comes as a Status with its name; a path that the server does not serve without one.
    named = bool((status.get("details") or {}).get("name")) if isinstance(status.get("details"), dict) else False
    if target.ours and not named:
        return NotInstalledError(
            f"Fovea is not installed in this cluster (it does not know {target.plural}): "
            f"{_INSTALL.format(namespace=target.namespace)}, or choose another cluster with --context"
        )
    if (status.get("details") or {}).get("kind") == "namespaces":
        return NotFoundError(
            f"namespace {target.namespace} does not exist: "
            f"create it with `kubectl create namespace {target.namespace}` or choose another with --namespace"
        )
    if target.name:
        group = _GROUPS.get(target.plural)
        hint = f": see `fovea {group} list -n {target.namespace}`" if group else ""
        return NotFoundError(f"{target} does not exist{hint}")
    return NotFoundError(f"cannot {target.verb} {target}: {message}")


def _refused(target: Target, code: int, message: str) -> ForbiddenError:
    if code == 401:
        return ForbiddenError(
            f"the API server does not accept your credentials for {target.verb} {target}: log in again, "
            "or check the user of the current context (`kubectl config view --minify`)"
        )
    # A right may be bound to a name, but for create.
    named = f"/{target.name}" if target.name and target.verb != "create" else ""
    # `pods/log` would ask kubectl about a pod named log.
    plural, _, subresource = target.plural.partition("/")
    can_i = f"kubectl auth can-i {target.verb} {plural}{named}"
    if subresource:
        can_i += f" --subresource={subresource}"
    if target.namespace:
        can_i += f" -n {target.namespace}"
    return ForbiddenError(
        f"you may not {target.verb} {target}: {target.remedy}; `{can_i}` asks the cluster. It said: {message}"
    )


def _invalid(target: Target, details: dict[str, Any], message: str) -> str:
    causes = [cause for cause in details.get("causes") or [] if isinstance(cause, dict)]
    lines = []
    for cause in causes:
        field, text = str(cause.get("field", "")), str(cause.get("message", ""))
        line = f"{field}: {text}" if field not in ("", "<nil>") else text
        if line and line not in lines:
            lines.append(line)
    if not lines:
        return f"{target} was refused: {message}"
    if len(lines) > 1:
        # The server says of each rule it could not evaluate that it did not; beside real causes that is noise.
        lines = [line for line in lines if "some validation rules were not checked" not in line] or lines
    return f"{target} is not valid:\n" + "\n".join(f"  - {line}" for line in lines)
