"""A cluster that is not ours to make: kind, or whatever FOVEA_KUBECONFIG names. Same images, other transport."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from fovea_dev import prerequisites
from fovea_dev.builder import Buildah, Builder, Docker
from fovea_dev.commands import extended, output, run, succeeds
from fovea_dev.images import PLATFORM_IMAGES, Image, Images, Pushed
from fovea_dev.layout import Cache
from fovea_dev.pki import write_private
from fovea_dev.prerequisites import Prerequisite
from fovea_dev.progress import Progress, StepFailed
from fovea_dev.target import External, Kind, Target
from fovea_dev.tools import Tools, module_of

_KIND_REGISTRY = "localhost/fovea"


class _KindBuilder(Docker):
    """docker builds; "pushing" loads the image into the kind cluster's nodes."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster

    def push(self, reference: str, log: Path) -> None:
        """`kind load docker-image`."""
        run(["kind", "load", "docker-image", "--name", self._cluster, reference], log=log)


class OtherCluster:
    """Checks that the cluster answers and brings the images to it. Never changes or removes what it did not make."""

    def __init__(self, target: Target, cache: Cache, progress: Progress) -> None:
        self._target = target
        self._cache = cache
        self._progress = progress
        self._tools = Tools(cache)
        builder: Builder
        if isinstance(target, Kind):
            builder, registry = _KindBuilder(target.name), _KIND_REGISTRY
        else:
            builder = Docker() if succeeds(["docker", "info"]) else Buildah(cache)
            registry = (target.registry if isinstance(target, External) else None) or ""
        self._registry = registry
        self._builder = builder
        self.images = Images(cache, self._tools, builder, registry)

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig to use."""
        if isinstance(self._target, External):
            return self._target.kubeconfig
        return self._cache.root / "kind" / "kubeconfig"

    def needs(self) -> list[Prerequisite]:
        """What the machine must have for this cluster and its images, beside what builds Go programs."""
        if isinstance(self._target, Kind):
            return prerequisites.for_kind()
        if self._registry and isinstance(self._builder, Buildah):
            return prerequisites.for_buildah(self._builder.base_image)
        return []

    def up(self, *, bare: bool = False) -> None:
        """Make sure that the cluster answers, then bring the images there (unless `bare`)."""
        if isinstance(self._target, Kind) or not bare:
            prerequisites.demand(self.needs())
        if isinstance(self._target, Kind):
            self._ensure_kind(self._target.name)
        self._ensure_clients()
        with self._progress.step("API server") as notes:
            notes.append(self._ask())
        if not bare and self._registry:
            self.build_images(PLATFORM_IMAGES)
        elif not bare:
            self._progress.say("     FOVEA_REGISTRY is not set: no images are built; the chart's values must name some")
        self._progress.say(f"  export KUBECONFIG={self.kubeconfig}")

    def down(self) -> None:
        """Delete the kind cluster if `up` created it; a cluster named by FOVEA_KUBECONFIG is never touched."""
        if isinstance(self._target, Kind):
            self._delete_kind(self._target.name)
        else:
            self._progress.say(f"     {self.kubeconfig} is not a cluster of ours: nothing to take down")

    def status(self) -> bool:
        """Print whether the API server answers."""
        try:
            print(f"API server                {self._ask()}")
        except StepFailed as error:
            print(f"API server                {error}")
            return False
        return True

    def build_images(self, chosen: Sequence[Image]) -> dict[str, Pushed]:
        """Build and push (or load) those of the chosen images that changed; where each of them is."""
        if not self._registry:
            raise StepFailed(
                "FOVEA_REGISTRY is not set: name a registry the cluster can pull from, e.g. registry.example/fovea"
            )
        prerequisites.demand(self.needs())
        for program in sorted({name for image in chosen for name in image.tools}):
            with self._progress.step(f"tool {program}") as notes:
                self._tools.build(module_of(program), [program], notes)
        with self._progress.step("base image") as notes:
            self._builder.prepare(notes)
        pushed = {}
        for image in chosen:
            with self._progress.step(f"image {image.name}") as notes:
                pushed[image.name] = self.images.ensure(image, notes)
        return pushed

    @property
    def _created(self) -> Path:
        """Marks a kind cluster that `up` created: only such a one is deleted."""
        return self._cache.root / "kind" / "created"

    def _ensure_kind(self, name: str) -> None:
        with self._progress.step("kind cluster") as notes:
            notes.append(name)
            if not _kind_exists(name):
                self._create_kind(name)
            write_private(self.kubeconfig, output(["kind", "get", "kubeconfig", "--name", name]))

    def _create_kind(self, name: str) -> None:
        # Marked before: what a killed `up` has begun is ours, too.
        self._created.parent.mkdir(parents=True, exist_ok=True)
        self._created.write_text(f"{name}\n")
        try:
            run(["kind", "create", "cluster", "--name", name, "--wait", "120s"], log=self._cache.logs / "kind.log")
        except StepFailed:
            if not _kind_exists(name):
                self._created.unlink()
            raise

    def _delete_kind(self, name: str) -> None:
        prerequisites.demand(prerequisites.for_kind())
        there = _kind_exists(name)
        if there and not self._created.exists():
            self._progress.say(
                f"     the kind cluster {name!r} was not created by `make up` with FOVEA_CACHE={self._cache.root}: it stays "
                f"(kind delete cluster --name {name})"
            )
            return
        if there:
            with self._progress.step("kind cluster"):
                run(["kind", "delete", "cluster", "--name", name], log=self._cache.logs / "kind.log")
        else:
            self._progress.say(f"     there is no kind cluster {name!r}: nothing to take down")
        self._created.unlink(missing_ok=True)
        self.kubeconfig.unlink(missing_ok=True)

    def _ensure_clients(self) -> None:
        """Build kubectl and helm where the machine has none."""
        lacking = [name for name in ("kubectl", "helm") if shutil.which(name) is None]
        if lacking:
            prerequisites.demand(prerequisites.for_tools(self._cache))
        for name in lacking:
            with self._progress.step(f"tool {name}") as notes:
                self._tools.build(module_of(name), [name], notes)

    def _ask(self) -> str:
        if not self.kubeconfig.is_file():
            if isinstance(self._target, Kind):
                raise StepFailed(f"the kind cluster {self._target.name!r} is not up: run `make up`")
            raise StepFailed(f"FOVEA_KUBECONFIG={self.kubeconfig}: there is no such file")
        environment = extended({"KUBECONFIG": str(self.kubeconfig), "PATH": self._path()})
        return output(["kubectl", "get", "--raw", "/readyz"], environment=environment).strip()

    def _path(self) -> str:
        return f"{os.environ.get('PATH', '')}:{self._tools.bin}"


def _kind_exists(name: str) -> bool:
    return name in output(["kind", "get", "clusters"]).split()
