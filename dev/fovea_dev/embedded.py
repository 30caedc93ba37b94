"""The embedded cluster as a whole: `up` as a list of steps, `down`, and what `status` shows."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from fovea_dev import addons, control_plane, network, owner, packages, prerequisites, registry, teardown
from fovea_dev.builder import Buildah
from fovea_dev.images import CLUSTER_IMAGES, PLATFORM_IMAGES, Image, Images, Pushed
from fovea_dev.layout import REPOSITORY_ROOT, Cluster
from fovea_dev.locks import locked
from fovea_dev.node import Node
from fovea_dev.processes import Processes, Program
from fovea_dev.progress import Progress
from fovea_dev.steps import Step, Work, run_steps
from fovea_dev.tools import TOOLS, Module, Tools, module_of, tool_steps

DAEMONS = (
    "registry",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
    "volumes",
    "policies",
)


class EmbeddedCluster:
    """Brings one embedded cluster up and down."""

    def __init__(self, cluster: Cluster, progress: Progress) -> None:
        self.cluster = cluster
        self.progress = progress
        self.processes = Processes(cluster.pids, cluster.logs)
        self.tools = Tools(cluster.cache)
        self.builder = Buildah(cluster.cache)
        self.images = Images(cluster.cache, self.tools, self.builder, cluster.registry)
        self.plane = control_plane.of_cluster(cluster, self.tools.path)
        self.node = Node(cluster, self.plane, self.processes, self.tools)
        self._pushed: dict[str, Pushed] = {}

    def up(self, *, bare: bool = False) -> None:
        """Bring up what does not run. `bare`: without the images of Fovea and its object store."""
        prerequisites.demand(prerequisites.for_embedded_cluster(self.cluster.cache))
        with self._locked():
            owner.claim(self.cluster, self.processes, self.progress)
            self.builder.clear_unfinished()
            run_steps(self._steps(() if bare else PLATFORM_IMAGES), self.progress)
        self.progress.say(f"Cluster {self.cluster.name!r} is up after {self.progress.seconds:.0f} s.")
        self.progress.say(f"  export KUBECONFIG={self.cluster.kubeconfig}")

    def down(self, *, keep_images: bool = True) -> None:
        """Take the cluster down; nothing of it is left but caches."""
        with self._locked():
            owner.clear_other(self.cluster, self.processes, self.progress)
            teardown.take_down(self.cluster, self.processes, self.progress, keep_images=keep_images)

    def exists(self) -> bool:
        """Whether there is anything that `down` would take down: what runs, or what was kept of it."""
        return self.cluster.state.exists() or self.cluster.run.exists()

    def build_images(self, chosen: Sequence[Image]) -> dict[str, Pushed]:
        """Build and push those of the chosen images that changed; where each of them is."""
        with self._locked():
            owner.claim(self.cluster, self.processes, self.progress)
            self.builder.clear_unfinished()
            run_steps(self._build_steps(chosen), self.progress)
        return {image.name: self._pushed[image.name] for image in chosen}

    def status(self) -> list[tuple[str, str]]:
        """Each process of the cluster and its state, the API server's readiness last."""
        lines: list[tuple[str, str]] = []
        for name in DAEMONS:
            identity = self.processes.identity(name)
            lines.append((name, f"running, pid {identity.pid}" if identity else "not running"))
        if not self.plane.pki.certificate("admin").exists():
            ready = "was never started"
        else:
            ready = "ready" if self.plane.client().is_ready() else "not ready"
        lines.append(("API server", f"{self.cluster.api_url} {ready}"))
        if ready == "ready":
            healthy = self._is_healthy()
            lines.append(("node and DNS", "ready" if healthy else "not ready"))
        return lines

    def is_up(self) -> bool:
        """Whether every process runs, the API server and the node are ready and DNS answers."""
        if not all(self.processes.identity(name) for name in DAEMONS):
            return False
        return self.plane.client().is_ready() and self._is_healthy()

    def _steps(self, platform_images: Sequence[Image]) -> list[Step]:
        all_packages = packages.NODE_PACKAGES + packages.IMAGE_PACKAGES
        modules = [module for module in TOOLS if platform_images or module.name != "minio"]
        return [
            Step("packages", lambda notes: packages.install(all_packages, self.cluster.cache, notes)),
            Step("keys", self._keys),
            *self._tool_steps(modules),
            Step("registry", self._registry, after=("packages",)),
            Step("network", lambda notes: network.bring_up(self.cluster, notes), after=("packages",)),
            Step("control plane", self._control_plane, after=("tool kubernetes", "keys", "network")),
            *self._image_steps([*CLUSTER_IMAGES, *platform_images], [module.name for module in modules]),
            Step("node", self._node, after=("control plane", "image pause")),
            Step("cluster services", self._addons, after=("node", "image coredns")),
        ]

    def _build_steps(self, chosen: Sequence[Image]) -> list[Step]:
        # By name, since engines such as Envoy Gateway are not among the cluster's own tools.
        modules = (module_of(name) for image in chosen for name in image.tools)
        needed = {module.name: module for module in modules}
        return [
            Step("packages", lambda notes: packages.install(packages.IMAGE_PACKAGES, self.cluster.cache, notes)),
            *self._tool_steps(list(needed.values())),
            Step("registry", self._registry, after=("packages",)),
            *self._image_steps(chosen, list(needed)),
        ]

    def _tool_steps(self, modules: Sequence[Module]) -> list[Step]:
        return tool_steps(self.tools, [name for module in modules for name in module.programs])

    def _image_steps(self, images: Sequence[Image], modules: Sequence[str]) -> list[Step]:
        steps: list[Step] = []
        if any(image.based for image in images):
            steps.append(Step("base image", self.builder.prepare, after=("packages",)))
        previous = ""
        for image in images:
            after = ["registry", *(f"tool {name}" for name in modules if name in image.programs)]
            if image.based:
                after.append("base image")
            if image.members:
                # Two large builds at once would only fight for the two cores.
                if previous:
                    after.append(previous)
                previous = f"image {image.name}"
            steps.append(Step(f"image {image.name}", self._build_image(image), tuple(after)))
        return steps

    def _build_image(self, image: Image) -> Work:
        def work(notes: list[str]) -> None:
            self._pushed[image.name] = self.images.ensure(image, notes)

        return work

    def _registry(self, notes: list[str]) -> None:
        registry.bring_up(self.cluster, self.processes, notes)

    def _keys(self, notes: list[str]) -> None:
        existed = self.plane.pki.certificate("kube-proxy").exists()
        self.plane.make_keys()
        self.node.make_keys()
        notes.append("already there" if existed else "made")

    def _control_plane(self, notes: list[str]) -> None:
        control_plane.bring_up(self.cluster, self.plane, self.processes, notes)

    def _node(self, notes: list[str]) -> None:
        self.node.bring_up(self._pushed["pause"].reference, notes)

    def _addons(self, notes: list[str]) -> None:
        self._own_program("volumes", {"folder": self.cluster.volumes, "node": self.cluster.node_name}, ["volumes.py"])
        self._own_program("policies", {"table": self.cluster.policy_table}, ["policies.py", "policy_rules.py"])
        image = self._pushed["coredns"].reference
        addons.bring_up(self.cluster, self.plane.client(), image, self.processes, notes)

    def _is_healthy(self) -> bool:
        return addons.is_healthy(self.cluster, self.plane.client(), self.processes)

    def _own_program(self, name: str, own: Mapping[str, object], files: Sequence[str]) -> None:
        """Run a module of ours as a process of the cluster. It starts again when one of its files has changed."""
        pki, api = self.plane.pki, self.plane.api
        flags: dict[str, object] = {
            "host": api.host,
            "port": api.port,
            "authority": pki.certificate("ca"),
            "certificate": pki.certificate("admin"),
            "key": pki.key("admin"),
            **own,
        }
        command = [sys.executable, "-m", f"fovea_dev.{name}", *(f"--{flag}={value}" for flag, value in flags.items())]
        environment = {"PYTHONPATH": str(REPOSITORY_ROOT / "dev"), "PYTHONDONTWRITEBYTECODE": "1"}
        source = "".join((Path(__file__).parent / file).read_text() for file in files)
        self.processes.ensure(Program(name, command, environment), configuration=source + pki.fingerprint())

    def _locked(self) -> AbstractContextManager[None]:
        def waiting() -> None:
            self.progress.say(f"     ... another run works on cluster {self.cluster.name!r}; waiting for it to end")

        return locked(self.cluster.lock, waiting)
