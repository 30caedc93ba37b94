"""Helm on Fovea's chart: rendering, linting and, against an API server without controllers, releases without their hooks."""

import copy
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from fovea_dev.layout import Cache

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/fovea"
EMBEDDED_PROFILE = ROOT / "dev/values-embedded.yaml"
RELEASE = "fovea"
NAMESPACE = "fovea-system"
KUBERNETES = "1.36.0"
MACHINE_TYPES = frozenset(
    {"standard", "standard-gpu", "complex-model-s", "complex-model-m", "large-model", "serving-small"}
)
"""Those of the chart's own values."""
"""What `helm template` renders for: a Helm built without its release flags would assume an old one."""

Manifest = dict[str, Any]


class HelmFailed(AssertionError):
    """Helm ended with an error: what it said."""


def program() -> str:
    """Helm: on PATH, or as `fovea_dev tools` built it."""
    found = shutil.which("helm") or str(Cache.from_environment().tools_bin / "helm")
    assert Path(found).exists(), "helm is not there: PYTHONPATH=dev python3 -m fovea_dev tools --only helm"
    return found


def helm(*arguments: str, values: Mapping[str, Any] | None = None, kubeconfig: Path | None = None) -> str:
    """Run Helm, further values from standard input; its standard output. Raises HelmFailed."""
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig) if kubeconfig else os.devnull}
    command = [program(), *arguments, *(("--values", "-") if values is not None else ())]
    text = yaml.safe_dump(dict(values)) if values is not None else None
    done = subprocess.run(
        command, env=environment, input=text, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode != 0:
        raise HelmFailed(done.stdout + done.stderr)
    return done.stdout


def lint(*arguments: str) -> str:
    """`helm lint --strict`."""
    return helm("lint", str(CHART), "--strict", "--kube-version", KUBERNETES, *arguments)


def template(
    values: Mapping[str, Any] | None = None, *arguments: str, release: str = RELEASE, chart: Path = CHART
) -> list[Manifest]:
    """Every manifest that the chart renders, hooks too, without a cluster to look anything up in."""
    text = helm(
        *("template", release, str(chart), "--namespace", NAMESPACE, "--kube-version", KUBERNETES, *arguments),
        values=values or {},
    )
    return [document for document in yaml.safe_load_all(text) if document]


def install(
    kubeconfig: Path, values: Mapping[str, Any] | None = None, *, release: str = RELEASE, namespace: str = NAMESPACE
) -> str:
    """`helm upgrade --install` without hooks: nothing runs Jobs on a bare API server."""
    return helm(
        *("upgrade", "--install", release, str(CHART), "--namespace", namespace, "--create-namespace", "--no-hooks"),
        values=values or {},
        kubeconfig=kubeconfig,
    )


def one(manifests: list[Manifest], kind: str, name: str = "", namespace: str = "") -> Manifest:
    """The only manifest of a kind (and name, and namespace)."""
    found = [
        item
        for item in manifests
        if item["kind"] == kind
        and name in ("", item["metadata"]["name"])
        and namespace in ("", item["metadata"].get("namespace", ""))
    ]
    assert len(found) == 1, f"{kind} {name}: {[item['metadata']['name'] for item in found]}"
    return found[0]


def is_hook(manifest: Manifest) -> bool:
    """Whether Helm runs it at an event and does not count it among the release's objects."""
    return "helm.sh/hook" in manifest["metadata"].get("annotations", {})


def pod_templates(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Pod templates by `Kind/name` of what makes them; volumes of claims are empty folders."""
    found = {}
    for item in manifests:
        title = f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] == "Pod":
            found[title] = {"metadata": item["metadata"], "spec": item["spec"]}
        elif "template" in item.get("spec", {}):
            template = copy.deepcopy(item["spec"]["template"])
            claims = [claim["metadata"]["name"] for claim in item["spec"].get("volumeClaimTemplates", ())]
            volumes = template["spec"].setdefault("volumes", [])
            volumes += [{"name": name, "emptyDir": {}} for name in claims]
            found[title] = template
    return found
