"""Install Fovea in the cluster of `make up` (embedded, kind or FOVEA_KUBECONFIG) by its Helm chart, as a user would, with the images built here."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from functools import cached_property
from pathlib import Path

from fovea_dev import proxies
from fovea_dev.layout import Cache
from fovea_dev.locks import locked
from fovea_dev.target import External, choose

ROOT = Path(__file__).resolve().parents[1]
CACHE = Cache.from_environment().root
RELEASE = "fovea"
NAMESPACE = "fovea-system"
MARK = ("fovea.dev/made-by", "make-deploy")
"""Label of the release that this script makes: how it tells its own from a platform team's."""
GATEWAY_CLASS = "fovea-envoy"
"""Of the Envoy Gateway that dev/envoy_gateway.py installs."""
GATEWAY_NAMESPACE = "envoy-gateway-system"
GATEWAY_SERVICE = "fovea-gateway"
NAMESPACE_OF_TEAM = "vision"
"""The team of the examples and the demo: its namespace gets a key of the object store."""


class Deployment:
    """The cluster, its images and the chart."""

    @cached_property
    def kubeconfig(self) -> Path:
        """Asked for only when it is needed: before `cluster` there may be none yet."""
        return Path(self._dev("kubeconfig", capture=True).strip())

    def environment(self) -> dict[str, str]:
        """Environment in which kubectl, helm and fovea reach the cluster."""
        path = os.pathsep.join([str(Path(sys.executable).parent), str(CACHE / "tools/bin"), os.environ["PATH"]])
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path}
        proxies.spare_the_cluster(environment)
        return environment

    def cluster(self) -> None:
        """Bring the cluster up and build the images that changed."""
        self._dev("up")

    def images(self) -> dict[str, str]:
        """References of the images of this checkout's sources, by name; what the registry lacks is built first."""
        return self._references

    @cached_property
    def _references(self) -> dict[str, str]:
        return self.built()

    def built(self, *names: str) -> dict[str, str]:
        """References of images by name, the platform's if none is named; what they are made of is built first."""
        pushed = json.loads(self._dev("images", *names, "--json", capture=True))
        return {name: image["reference"] for name, image in pushed.items()}

    def demo_pictures(self) -> Path:
        """Folder with the demo's pictures: `train/<digit>/`, `held-out/`."""
        return CACHE / "demo/digits"

    def install(self, *settings: str, namespaces: tuple[str, ...] = (NAMESPACE_OF_TEAM,)) -> None:
        """Install or upgrade the chart and wait until it is ready; `settings` are further --set values.

        Teams that an earlier installation gave a key of the object store keep it.
        """
        self._refuse_a_foreign_release()
        images = self.images()
        for namespace in namespaces:
            self._ensure_namespace(namespace)
        teams = dict.fromkeys([*namespaces, *self._teams()])
        values = [
            f"images.fovea={images['fovea']}",
            f"images.trainer={images['fovea-tensorflow']}",
            f"images.modelServer={images['fovea-tensorflow']}",
            f"objectStore.embedded.image={images['minio']}",
            f"objectStore.namespaces={{{','.join(teams)}}}",
            *self._gateway(),
            *settings,
        ]
        chosen = [word for value in values for word in ("--set", value)]
        chart = str(ROOT / "charts/fovea")
        profile = str(ROOT / "dev/values-embedded.yaml")
        # Two upgrades at a time would end with "another operation is in progress".
        with locked(CACHE / ".deploy.lock"):
            self.run(
                *("helm", "upgrade", "--install", RELEASE, chart, "--namespace", NAMESPACE, "--create-namespace"),
                *("--labels", "=".join(MARK)),
                *("--values", profile, *chosen, "--wait", "--wait-for-jobs", "--timeout", "5m", "--hide-notes"),
            )

    def remove(self) -> None:
        """Uninstall the chart."""
        self._refuse_a_foreign_release()
        self.run("helm", "uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait")

    def run(self, *command: str, stdin: str | None = None, capture: bool = False) -> str:
        """Run a command against the cluster; ends the program with its output when it fails."""
        environment = self.environment()
        if shutil.which(command[0], path=environment["PATH"]) is None:
            sys.exit(f"{command[0]} is not on PATH: `make up` builds it")
        done = subprocess.run(
            command,
            env=environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            text=True,
            check=False,
            stdout=subprocess.PIPE if capture else None,
        )
        if done.returncode != 0:
            sys.exit(f"{' '.join(command[:3])} … ended with exit code {done.returncode}")
        return done.stdout or ""

    def exports(self) -> str:
        """What makes a shell's kubectl, helm and fovea reach the cluster."""
        return f"export KUBECONFIG={self.kubeconfig} PATH={Path(sys.executable).parent}:{CACHE}/tools/bin:$PATH"

    def _refuse_a_foreign_release(self) -> None:
        """End the program where the chart was installed by somebody else: our values would replace theirs.

        On the cluster of `make up` every release is ours, also one of a time when none was marked.
        """
        target = choose(kind_works=lambda: False)
        if not isinstance(target, External) or not self._releases() or self._releases("--selector", "=".join(MARK)):
            return
        sys.exit(
            f"release {RELEASE} in namespace {NAMESPACE} of FOVEA_KUBECONFIG={target.kubeconfig} was not made by `make deploy`: "
            f"it stays as it is. Name another cluster in FOVEA_KUBECONFIG, upgrade this release with its own values "
            f"(docs/how-to/install.md), or, if it may go, `helm uninstall {RELEASE} -n {NAMESPACE}` first"
        )

    def _releases(self, *selection: str) -> list[dict[str, str]]:
        """Our release as Helm lists it, in whatever state; nothing where it is not installed (or not selected)."""
        here = ("--namespace", NAMESPACE, "--output", "json")
        listed = self.run("helm", "list", "--all", "--filter", f"^{RELEASE}$", *selection, *here, capture=True)
        found: list[dict[str, str]] = json.loads(listed)
        return found

    def _teams(self) -> list[str]:
        """Namespaces of the installed release that are still there."""
        if not self._releases():
            return []
        here = ("--namespace", NAMESPACE, "--output", "json")
        values = json.loads(self.run("helm", "get", "values", RELEASE, *here, capture=True)) or {}
        present = self.run("kubectl", "get", "namespaces", "--output", "name", capture=True).split()
        teams = values.get("objectStore", {}).get("namespaces", [])
        return [team for team in teams if f"namespace/{team}" in present]

    def gateway_address(self) -> str:
        """host:port of the gateway for gRPC, by a port of the node; empty where models are behind none of ours."""
        if not self._gateway():
            return ""
        address = '--output=jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}'
        host = self.run("kubectl", "get", "nodes", address, capture=True)
        service = ("service", GATEWAY_SERVICE, "--namespace", GATEWAY_NAMESPACE, "--ignore-not-found")
        port = self.run(
            "kubectl", "get", *service, "--output=jsonpath={.spec.ports[?(@.port==8500)].nodePort}", capture=True
        )
        return f"{host}:{port}" if host and port else ""

    def _gateway(self) -> list[str]:
        """Values that put models behind our Envoy Gateway, where it is."""
        marked = ("--selector", "=".join(MARK), "--output", "name", "--ignore-not-found")
        found = self.run(
            "kubectl", "api-resources", "--api-group=gateway.networking.k8s.io", "--output=name", capture=True
        )
        if "gatewayclasses" not in found or not self.run("kubectl", "get", "gatewayclasses", *marked, capture=True):
            return []
        return [
            f"gateway.className={GATEWAY_CLASS}",
            "gateway.envoy.enabled=true",
            f"gateway.envoy.image={self.built('envoy')['envoy']}",
            "gateway.envoy.serviceType=NodePort",
        ]

    def _ensure_namespace(self, name: str) -> None:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self.run("kubectl", "apply", "-f", "-", stdin=json.dumps(manifest), capture=True)

    def _dev(self, *arguments: str, capture: bool = False) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "dev")}
        done = subprocess.run(
            [sys.executable, "-m", "fovea_dev", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else None,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(done.returncode)
        return done.stdout or ""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--remove", action="store_true", help="uninstall instead")
    options = parser.parse_args()
    deployment = Deployment()
    if options.remove:
        deployment.remove()
        return
    deployment.install()
    pictures = deployment.demo_pictures()
    print(
        f"""Fovea is installed. Next:
  {deployment.exports()}
  python dev/digits.py {pictures}
  fovea data upload {pictures}/train digits -n {NAMESPACE_OF_TEAM}
  kubectl apply -f examples/digits.yaml
  fovea jobs wait digits -n {NAMESPACE_OF_TEAM}"""
    )


if __name__ == "__main__":
    main()
