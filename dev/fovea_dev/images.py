"""Which images there are, what each is made of, and building and pushing those whose sources changed."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fovea_dev import registry
from fovea_dev.builder import Builder
from fovea_dev.layout import DEV_FOLDER, REPOSITORY_ROOT, Cache
from fovea_dev.locks import locked
from fovea_dev.progress import StepFailed
from fovea_dev.tools import Tools

IMAGES = DEV_FOLDER / "images"
DOCKERFILE = "Dockerfile"
_WORKSPACE = ("pyproject.toml", "uv.lock")
_MEMBERS = ("api", "wire", "operator", "agent", "trainers", "serving", "gateway", "client")
# What a package client inside a build may need to find its index.
_OF_A_PACKAGE = "catatonit"
_PACKAGE_SETTINGS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_VERSION")


@dataclass(frozen=True)
class Image:
    """An image: programs to copy into an otherwise empty one, or on a base with Python parts of the repository or a folder."""

    name: str
    programs: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    context: str = ""
    """A folder of the repository that has a Dockerfile and all that it copies."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    dockerfile: str = ""

    @property
    def folder(self) -> Path:
        return REPOSITORY_ROOT / self.context if self.context else IMAGES / (self.dockerfile or self.name)

    @property
    def based(self) -> bool:
        """Whether it is built on the base with Python, with packages from an index."""
        return bool(self.members or self.context)

    @property
    def tools(self) -> tuple[str, ...]:
        """Its programs that are built from Go modules: all but the one of a Debian package."""
        return tuple(name for name in self.programs if name != _OF_A_PACKAGE)

    def source_files(self, root: Path = REPOSITORY_ROOT) -> dict[str, Path]:
        """The files of the repository that the image is made of, by their place in the build's context."""
        files = {DOCKERFILE: self.folder / DOCKERFILE}
        if self.context:
            files |= {path.name: path for path in sorted((root / self.context).glob("*.py"))}
        if self.members:
            names = [*_WORKSPACE, *(f"{member}/pyproject.toml" for member in _MEMBERS)]
            for member in self.members:
                names += [str(path.relative_to(root)) for path in package_files(root / member)]
            files |= {name: root / name for name in names}
        return files


# The cluster itself can't do without the first two.
CLUSTER_IMAGES = (Image("pause", programs=("catatonit",)), Image("coredns", programs=("coredns",)))
PLATFORM_IMAGES = (
    Image("minio", programs=("minio",)),
    Image("fovea", members=("api", "wire", "operator", "agent", "gateway")),
    Image("fovea-tensorflow", members=("api", "wire", "trainers", "serving"), arguments={"VARIANT": "cpu"}),
)
OPTIONAL_IMAGES = (
    Image(
        "fovea-tensorflow-gpu",
        members=("api", "wire", "trainers", "serving"),
        arguments={"VARIANT": "gpu"},
        dockerfile="fovea-tensorflow",
    ),
    Image("example-programs", context="examples/programs"),
    Image("kueue", programs=("kueue",)),
    Image("envoy-gateway", programs=("envoy-gateway",)),
    Image("envoy", context="dev/images/envoy"),
)
ALL_IMAGES = CLUSTER_IMAGES + PLATFORM_IMAGES + OPTIONAL_IMAGES


@dataclass(frozen=True)
class Pushed:
    """An image in a registry. `tag` is made of what went in: another tag means another content."""

    repository: str
    tag: str

    @property
    def reference(self) -> str:
        """What a pod names as its image."""
        return f"{self.repository}:{self.tag}"


def named(name: str) -> Image:
    """The image of that name. Raises StepFailed naming those there are."""
    for image in ALL_IMAGES:
        if image.name == name:
            return image
    raise StepFailed(f"no such image: {name} (there are: {', '.join(image.name for image in ALL_IMAGES)})")


def package_files(folder: Path) -> list[Path]:
    """The files of a folder that go into an image: no caches, nothing hidden, no build results."""
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(n for n in folders if n not in ("__pycache__", "dist", "build") and not n.startswith("."))
        found += [Path(parent) / n for n in sorted(files) if not n.endswith(".pyc") and not n.startswith(".")]
    return found


def snapshot(files: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """Copies of files at their places below a folder."""
    copies: dict[str, Path] = {}
    for name, path in files.items():
        copies[name] = folder / name
        copies[name].parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copies[name])
    return copies


def digest(files: Mapping[str, Path], settings: Iterable[str]) -> str:
    """A short name for a content: of files (by the name they go by) and settings."""
    total = hashlib.sha256()
    for name, path in sorted(files.items()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{name}\0{content}\0".encode())
    for setting in settings:
        total.update(f"{setting}\0".encode())
    return total.hexdigest()[:12]


class Images:
    """Builds images and pushes them to one registry."""

    def __init__(self, cache: Cache, tools: Tools, builder: Builder, registry_address: str) -> None:
        self._cache = cache
        self._tools = tools
        self._builder = builder
        self._registry = registry_address
        self._told = False

    def pushed(self, image: Image) -> Pushed:
        """Where the image is or will be, by its present sources."""
        return self._named(image, self._sources(image))

    def ensure(self, image: Image, notes: list[str]) -> Pushed:
        """Build and push an image unless the registry has exactly this one."""
        with self._scratch(image) as scratch:
            # From a copy: the tag must not name other sources than those that went in, whatever is edited meanwhile.
            sources = snapshot(self._sources(image), scratch)
            pushed = self._named(image, sources)
            notes.append(pushed.tag)
            if self._is_there(image, pushed, notes):
                notes.append("unchanged")
            else:
                self._build(image, scratch, pushed.reference)
        return pushed

    def _is_there(self, image: Image, pushed: Pushed, notes: list[str]) -> bool:
        """Whether the registry has it; a registry that does not answer gets it again, with one message."""
        try:
            return registry.has_image(self._registry, image.name, pushed.tag)
        except registry.CannotAsk as error:
            if not self._told:
                notes.append(f"built and pushed without asking what the registry has: {error}")
            self._told = True
            return False

    @contextmanager
    def _scratch(self, image: Image) -> Iterator[Path]:
        """An empty folder, this image's alone until the end."""
        with locked(self._cache.locks / f"image-{image.name}.lock"):
            folder = self._cache.root / "scratch" / f"image-{image.name}"
            if folder.exists():
                shutil.rmtree(folder)  # a killed build's
            folder.mkdir(parents=True)
            yield folder
            shutil.rmtree(folder)

    def _named(self, image: Image, sources: Mapping[str, Path]) -> Pushed:
        settings = [f"{name}={value}" for name, value in sorted(image.arguments.items())]
        if image.based:
            settings.append(self._builder.base_image)
        return Pushed(f"{self._registry}/{image.name}", digest(sources, settings))

    def _sources(self, image: Image) -> dict[str, Path]:
        """Every file that the image is made of, by its place in the build's context."""
        sources = image.source_files()
        for name in image.programs:
            sources[name] = self._program(name)
        return sources

    def _build(self, image: Image, context: Path, reference: str) -> None:
        log = self._cache.logs / f"image-{image.name}.log"
        self._builder.build(
            dockerfile=context / DOCKERFILE,
            context=context,
            reference=reference,
            arguments=self._arguments(image),
            log=log,
        )
        self._builder.push(reference, log)

    def _arguments(self, image: Image) -> dict[str, str]:
        if not image.based:
            return {}
        settings = {name: os.environ[name] for name in _PACKAGE_SETTINGS if name in os.environ}
        return {"BASE": self._builder.base_image, **settings, **image.arguments}

    def _program(self, name: str) -> Path:
        if name == _OF_A_PACKAGE:
            found = shutil.which(name)
            if found is None:
                raise StepFailed("catatonit is not installed; `fovea_dev up` installs it")
            return Path(found)
        return self._tools.path(name)
