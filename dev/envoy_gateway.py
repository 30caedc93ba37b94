"""Envoy Gateway in the cluster of `make up`: built from its module, installed by its own chart, with Fovea's models behind it.

    python dev/envoy_gateway.py [--remove]

Building it takes minutes the first time, so nothing else waits for it. `make deploy` keeps models behind it while it is there.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from string import Template

from deploy import GATEWAY_CLASS, MARK, Deployment
from deploy import GATEWAY_NAMESPACE as NAMESPACE
from fovea_dev.layout import Cache
from fovea_dev.tools import Tools, module_of

RELEASE = "envoy-gateway"
CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
WEBHOOK = f"envoy-gateway-topology-injector.{NAMESPACE}"
"""What `helm uninstall` leaves, and what refuses every pod of a proxy from then on."""


def install(deployment: Deployment, *settings: str) -> None:
    """Install it and put models behind it. What is there is upgraded. `settings`: values of Fovea's chart (NAME=VALUE)."""
    images = deployment.built("envoy-gateway", "envoy")
    source = Tools(Cache.from_environment()).source(module_of("envoy-gateway")) / "charts/gateway-helm"
    crds = source / "charts/crds/crds"
    deployment.run("kubectl", "apply", "--server-side", "--force-conflicts", "-R", "-f", str(crds), capture=True)
    with tempfile.TemporaryDirectory() as place:
        chart = Path(place) / "gateway-helm"
        shutil.copytree(source, chart)
        values = Template((chart / "values.tmpl.yaml").read_text(encoding="utf-8"))
        filled = values.substitute(GatewayImage=images["envoy-gateway"], GatewayImagePullPolicy="IfNotPresent")
        (chart / "values.yaml").write_text(filled, encoding="utf-8")
        deployment.run(
            *("helm", "upgrade", "--install", RELEASE, str(chart), "--namespace", NAMESPACE, "--create-namespace"),
            *("--set", "crds.enabled=false", "--set", "deployment.envoyGateway.resources.requests.cpu=50m"),
            *("--wait", "--timeout", "5m"),
        )
    label, value = MARK
    gateway_class = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": GATEWAY_CLASS, "labels": {label: value}},
        "spec": {"controllerName": CONTROLLER},
    }
    deployment.run("kubectl", "apply", "-f", "-", stdin=json.dumps(gateway_class))
    deployment.install(*settings)
    deployment.run(
        "kubectl", "wait", "gateway/fovea", "-n", "fovea-system", "--for=condition=Programmed", "--timeout=3m"
    )


def remove(deployment: Deployment) -> None:
    """Take models from behind it, then uninstall it. Its definitions stay."""
    # The label first: `install` goes by it. The class has a finalizer, which goes when its last Gateway has, by the controller.
    marked = deployment.run(
        "kubectl", "get", "gatewayclass", GATEWAY_CLASS, "-o=name", "--ignore-not-found", capture=True
    )
    if marked:
        deployment.run("kubectl", "label", "gatewayclass", GATEWAY_CLASS, f"{MARK[0]}-")
    deployment.install()
    deployment.run("kubectl", "delete", "gatewayclass", GATEWAY_CLASS, "--ignore-not-found", "--timeout=60s")
    deployment.run("helm", "uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait")
    deployment.run("kubectl", "delete", "mutatingwebhookconfiguration", WEBHOOK, "--ignore-not-found")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--remove", action="store_true", help="uninstall instead")
    (remove if parser.parse_args().remove else install)(Deployment())


if __name__ == "__main__":
    main()
