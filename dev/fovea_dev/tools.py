"""Build the cluster's Go programs from their own go.mod files, once: a build is named after all it is made of."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from fovea_dev.commands import extended, output, run
from fovea_dev.layout import DEV_FOLDER, Cache
from fovea_dev.locks import locked
from fovea_dev.progress import StepFailed
from fovea_dev.steps import Step, Work

MODULES = DEV_FOLDER / "tools"


@dataclass(frozen=True)
class Module:
    """One folder with a go.mod: the programs it builds (name -> Go package) and where their version is stamped."""

    name: str
    programs: dict[str, str] = field(hash=False)
    version_of: str
    version_flags: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return MODULES / self.name

    def version(self) -> str:
        """The version that go.mod requires of the module `version_of`."""
        text = (self.folder / "go.mod").read_text()
        match = re.search(rf"^\s*(?:require )?{re.escape(self.version_of)} (v\S+)", text, re.MULTILINE)
        if match is None:
            raise StepFailed(f"{self.folder}/go.mod requires no {self.version_of}")
        return match.group(1)

    def link_flags(self) -> str:
        """Flags of the Go linker: no debug tables, and the version the program reports."""
        version = self.version()
        major, minor = version.removeprefix("v").split(".")[:2]
        stamps = [flag.format(version=version, major=major, minor=minor) for flag in self.version_flags]
        return " ".join(["-s", "-w", *(f"-X {stamp}" for stamp in stamps)])

    def digest(self, go_version: str) -> str:
        """Changes when a rebuild is needed."""
        parts = [go_version, self.link_flags(), repr(sorted(self.programs.items()))]
        parts += [(self.folder / name).read_text() for name in ("go.mod", "go.sum")]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


KUBERNETES_MINOR = "36"
_KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl")

# In the order in which `up` needs them.
TOOLS = (
    Module("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}, "go.etcd.io/etcd/server/v3"),
    Module(
        "kubernetes",
        {name: f"k8s.io/kubernetes/cmd/{name}" for name in _KUBERNETES},
        "k8s.io/kubernetes",
        (
            "k8s.io/component-base/version.gitVersion={version}",
            "k8s.io/component-base/version.gitMajor={major}",
            "k8s.io/component-base/version.gitMinor={minor}",
        ),
    ),
    Module("coredns", {"coredns": "github.com/coredns/coredns"}, "github.com/coredns/coredns"),
    Module("minio", {"minio": "github.com/minio/minio"}, "github.com/minio/minio"),
    Module(
        "helm",
        {"helm": "helm.sh/helm/v3/cmd/helm"},
        "helm.sh/helm/v3",
        (
            "helm.sh/helm/v3/internal/version.version={version}",
            # Otherwise `helm template` and `helm lint` take the cluster for a Kubernetes 1.20.
            "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1",
            f"helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={KUBERNETES_MINOR}",
            "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1",
            f"helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor={KUBERNETES_MINOR}",
        ),
    ),
)

# What tests and benchmarks compare with: no part of the cluster, built only when one asks for it.
PEERS = (
    # A second object store, which is not MinIO: what is published has to work on any S3.
    Module(
        "versitygw",
        {"versitygw": "github.com/versity/versitygw/cmd/versitygw"},
        "github.com/versity/versitygw",
        ("main.Version={version}",),
    ),
    Module(
        "training-operator",
        {"training-operator": "github.com/kubeflow/training-operator/cmd/training-operator.v1"},
        "github.com/kubeflow/training-operator",
    ),
)


# What Fovea works with where a cluster has it: built only when something asks for it.
ENGINES = (
    Module(
        "kueue",
        {"kueue": "sigs.k8s.io/kueue/cmd/kueue"},
        "sigs.k8s.io/kueue",
        ("sigs.k8s.io/kueue/pkg/version.GitVersion={version}",),
    ),
    Module(
        "envoy-gateway",
        {"envoy-gateway": "github.com/envoyproxy/gateway/cmd/envoy-gateway"},
        "github.com/envoyproxy/gateway",
        ("github.com/envoyproxy/gateway/internal/cmd/version.envoyGatewayVersion={version}",),
    ),
)
_ALL = (*TOOLS, *PEERS, *ENGINES)


def module_of(program: str) -> Module:
    """The module that builds a program."""
    for module in _ALL:
        if program in module.programs:
            return module
    known = ", ".join(sorted(name for module in _ALL for name in module.programs))
    raise StepFailed(f"no such tool: {program} (there are: {known})")


def environment(cache: Cache) -> dict[str, str]:
    """Environment of `go`: caches below ours, no cgo, no other toolchain, nothing of a surrounding workspace."""
    return {
        "GOCACHE": str(cache.go_build),
        "GOMODCACHE": str(cache.go_modules),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-trimpath -mod=readonly -modcacherw",
    }


class Tools:
    """The Go programs in a cache: `bin` holds a link to the current build of each."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    @property
    def bin(self) -> Path:
        """Folder with the programs."""
        return self._cache.tools_bin

    def path(self, program: str) -> Path:
        """The built program; its link is resolved, so that a running process does not change under a rebuild."""
        module_of(program)
        return (self.bin / program).resolve()

    def is_current(self, module: Module, programs: Iterable[str]) -> bool:
        """Whether these programs of a module are built from what go.mod says now."""
        return all(self.path(name) == self._target(module, name) and self.path(name).exists() for name in programs)

    def build(self, module: Module, programs: Sequence[str] | None = None, notes: list[str] | None = None) -> None:
        """Build what is not there yet of a module (all its programs by default), and point the links to it."""
        notes = [] if notes is None else notes
        wanted = list(module.programs) if programs is None else list(programs)
        notes.append(module.version())
        if self.is_current(module, wanted):
            notes.append("already built")
            return
        with locked(self._cache.locks / f"tool-{module.name}.lock"):
            missing = [name for name in wanted if not self._target(module, name).exists()]
            if missing:
                self._compile(module, missing)
        self.bin.mkdir(parents=True, exist_ok=True)
        for name in wanted:
            link = self.bin / name
            fresh = self.bin / f".{name}.{os.getpid()}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(os.path.relpath(self._target(module, name), self.bin))
            fresh.replace(link)

    def source(self, module: Module) -> Path:
        """Folder of the module `version_of` in the module cache: what else it brings, e.g. its manifests."""
        command = ["go", "mod", "download", "-json", module.version_of]
        answer = output(command, cwd=module.folder, environment=extended(environment(self._cache)))
        return Path(json.loads(answer)["Dir"])

    def _target(self, module: Module, program: str) -> Path:
        return (self._cache.tools / module.name / module.digest(go_version()) / program).resolve()

    def _compile(self, module: Module, programs: Sequence[str]) -> None:
        target = self._target(module, programs[0]).parent
        target.mkdir(parents=True, exist_ok=True)
        for left in (self._cache.tools / module.name).glob("*/.build*"):
            shutil.rmtree(left)  # by a killed build: we hold the lock
        scratch = target / ".build"
        scratch.mkdir()
        log = self._cache.logs / f"tools-{module.name}.log"
        go = extended(environment(self._cache))
        try:
            for name in programs:
                # One program at a time: the most needed ones are there early, and a killed build keeps what it had.
                command: list[str | Path] = [
                    "go",
                    "build",
                    "-ldflags",
                    module.link_flags(),
                    "-o",
                    scratch / name,
                    module.programs[name],
                ]
                run(command, log=log, cwd=module.folder, environment=go, nice=5)
                (scratch / name).replace(target / name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def tool_steps(tools: Tools, programs: Sequence[str]) -> list[Step]:
    """Steps that build these programs, a module each and one after the other: `go build` uses all cores by itself."""
    steps: list[Step] = []
    for module in dict.fromkeys(module_of(name) for name in programs):
        wanted = [name for name in programs if name in module.programs]
        after = (steps[-1].name,) if steps else ()
        work: Work = partial(tools.build, module, wanted)
        steps.append(Step(f"tool {module.name}", work, after))
    return steps


_go_version: list[str] = []


def go_version() -> str:
    """What `go` calls itself, e.g. "go1.26.0"."""
    if not _go_version:
        answer = output(["go", "env", "-json", "GOVERSION"], environment=extended({"GOTOOLCHAIN": "local"}))
        _go_version.append(str(json.loads(answer)["GOVERSION"]))
    return _go_version[0]
