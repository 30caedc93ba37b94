import dataclasses
import re
from pathlib import Path

import pytest
from fovea_dev import tools
from fovea_dev.layout import Cache
from fovea_dev.progress import StepFailed
from fovea_dev.tools import ENGINES, KUBERNETES_MINOR, MODULES, PEERS, TOOLS, Tools, module_of

KUBERNETES = module_of("kubelet")


def test_every_go_module_below_tools_is_built_and_every_program_is_named_as_its_tool() -> None:
    modules = (*TOOLS, *PEERS, *ENGINES)
    assert {module.name for module in modules} == {path.parent.name for path in MODULES.glob("*/go.mod")}
    for module in modules:
        text = (module.folder / "go.mod").read_text()
        for package in module.programs.values():
            assert re.search(rf"^(tool )?\s*{re.escape(package)}$", text, re.MULTILINE), package


def test_the_staging_modules_have_the_version_of_kubernetes() -> None:
    version = KUBERNETES.version()
    text = (KUBERNETES.folder / "go.mod").read_text()
    replaced = dict(re.findall(r"^\s*(k8s\.io/\S+) => k8s\.io/\S+ (v\S+)$", text, re.MULTILINE))
    assert set(replaced.values()) == {version.replace("v1.", "v0.", 1)}
    assert len(replaced) >= 33


def test_helm_is_told_the_version_of_kubernetes_that_is_built() -> None:
    assert KUBERNETES.version().split(".")[1] == KUBERNETES_MINOR
    assert f"chartutil.k8sVersionMinor={KUBERNETES_MINOR}" in module_of("helm").link_flags()


def test_the_version_a_program_reports_is_the_one_in_go_mod() -> None:
    assert f"gitVersion={KUBERNETES.version()} " in KUBERNETES.link_flags() + " "


def test_a_build_is_named_after_everything_it_is_made_of() -> None:
    digest = KUBERNETES.digest("go1.26.0")
    assert KUBERNETES.digest("go1.26.0") == digest
    assert KUBERNETES.digest("go1.26.1") != digest
    assert dataclasses.replace(KUBERNETES, version_flags=()).digest("go1.26.0") != digest
    assert dataclasses.replace(KUBERNETES, name="etcd", version_of="go.etcd.io/etcd/server/v3").digest("x") != digest


def test_an_unknown_tool_is_named_with_those_there_are() -> None:
    with pytest.raises(StepFailed, match=r"no such tool: kubelte .*kubelet"):
        module_of("kubelte")


def test_only_what_is_missing_is_compiled_and_the_links_point_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []

    def compile_nothing(command: list[str | Path], **_: object) -> None:
        target = Path(command[command.index("-o") + 1])
        compiled.append(target.name)
        target.write_text(f"program {target.name}")

    monkeypatch.setattr(tools, "run", compile_nothing)
    killed = tmp_path / "tools/kubernetes/another-digest/.build.4711.kubernetes"
    killed.mkdir(parents=True)
    built = Tools(Cache(tmp_path))
    built.build(KUBERNETES, ["kube-apiserver"])
    assert compiled == ["kube-apiserver"]
    assert not killed.exists()
    built.build(KUBERNETES, ["kube-apiserver", "kubectl"])
    assert compiled == ["kube-apiserver", "kubectl"]
    built.build(KUBERNETES, ["kube-apiserver", "kubectl"])
    assert compiled == ["kube-apiserver", "kubectl"]
    assert (built.bin / "kubectl").read_text() == "program kubectl"
    assert built.path("kubectl").is_relative_to(tmp_path / "tools/kubernetes")
