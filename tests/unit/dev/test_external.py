import io
from pathlib import Path

import pytest
from fovea_dev import external
from fovea_dev.external import OtherCluster
from fovea_dev.images import PLATFORM_IMAGES
from fovea_dev.layout import Cache
from fovea_dev.progress import Progress, StepFailed
from fovea_dev.target import External
from fovea_dev.tools import Tools


@pytest.fixture
def cluster(tmp_path: Path) -> OtherCluster:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    return OtherCluster(External(kubeconfig, None), Cache(tmp_path / "cache"), Progress(io.StringIO()))


def test_kubectl_and_helm_are_built_where_the_machine_has_none(
    cluster: OtherCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []

    def build(tools: Tools, _module: object, programs: list[str], _notes: list[str]) -> None:
        built.extend(programs)
        tools.bin.mkdir(parents=True, exist_ok=True)
        for name in programs:
            (tools.bin / name).write_text("#!/bin/sh\necho ok\n")
            (tools.bin / name).chmod(0o755)

    monkeypatch.setattr(Tools, "build", build)
    monkeypatch.setattr(external.prerequisites, "for_tools", lambda _: [])
    monkeypatch.setenv("PATH", str(tmp_path))
    cluster.up()
    assert built == ["kubectl", "helm"]


def test_without_kubectl_the_status_says_so(
    cluster: OtherCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not cluster.status()
    assert "kubectl is not on PATH" in capsys.readouterr().out


def test_images_for_a_cluster_without_a_registry_are_refused_naming_the_variable(cluster: OtherCluster) -> None:
    with pytest.raises(StepFailed, match="FOVEA_REGISTRY is not set: name a registry"):
        cluster.build_images(PLATFORM_IMAGES)
