"""Which cluster is meant: one named by FOVEA_KUBECONFIG, a kind cluster where kind works, else the embedded one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fovea_dev.commands import succeeds
from fovea_dev.layout import LayoutError

KIND_CLUSTER = "fovea"


@dataclass(frozen=True)
class Embedded:
    """The cluster that `up` makes on this machine."""


@dataclass(frozen=True)
class Kind:
    """A kind cluster in the machine's docker engine; images are loaded into it."""

    name: str = KIND_CLUSTER


@dataclass(frozen=True)
class External:
    """Somebody else's cluster; images are pushed to `registry` if one is named."""

    kubeconfig: Path
    registry: str | None


Target = Embedded | Kind | External


def choose(environ: Mapping[str, str] = os.environ, kind_works: Callable[[], bool] | None = None) -> Target:
    """Choose by FOVEA_TARGET (embedded, kind), FOVEA_KUBECONFIG with FOVEA_REGISTRY, and what the machine has."""
    wanted = environ.get("FOVEA_TARGET", "")
    if wanted not in ("", "embedded", "kind"):
        raise LayoutError(
            f"FOVEA_TARGET={wanted!r}: embedded or kind (an existing cluster is named by FOVEA_KUBECONFIG)"
        )
    if wanted == "embedded":
        return Embedded()
    if wanted == "kind":
        return Kind()
    kubeconfig = environ.get("FOVEA_KUBECONFIG")
    if kubeconfig:
        return External(Path(kubeconfig).expanduser().absolute(), _registry(environ))
    return Kind() if (kind_works or _kind_works)() else Embedded()


def _kind_works() -> bool:
    return succeeds(["kind", "version"]) and succeeds(["docker", "info"])


def _registry(environ: Mapping[str, str]) -> str | None:
    """FOVEA_REGISTRY as images' names begin with it: `host[:port][/path]`."""
    registry = environ.get("FOVEA_REGISTRY", "")
    if "://" in registry:
        raise LayoutError(
            f"FOVEA_REGISTRY={registry!r}: images' names begin with it, so without {registry.split('//')[0]}//"
        )
    return registry.rstrip("/") or None
