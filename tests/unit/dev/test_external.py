import io
from pathlib import Path

import pytest
from fovea_dev import builder, external
from fovea_dev.external import OtherCluster
from fovea_dev.images import PLATFORM_IMAGES
from fovea_dev.layout import Cache
from fovea_dev.progress import Progress, StepFailed
from fovea_dev.target import External, Kind
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


KIND = """#!/bin/sh
# Plays kind: its clusters are the files of a folder.
cd {folder}
case "$1 $2" in
  "get clusters") ls ;;
  "get kubeconfig") echo "kubeconfig of $4" ;;
  "create cluster") [ ! -e ../refuses ] && touch "$4" ;;
  "delete cluster") rm "$4" ;;
esac
"""


@pytest.fixture
def kind_clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file for each cluster of a played kind, beside a docker that answers."""
    folder = tmp_path / "clusters"
    folder.mkdir()
    programs = {"kind": KIND.format(folder=folder), "docker": "#!/bin/sh\n", "kubectl": "#!/bin/sh\necho ok\n"}
    programs["helm"] = programs["docker"]
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return folder


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def kind(tmp_path: Path, said: io.StringIO) -> OtherCluster:
    return OtherCluster(Kind(), Cache(tmp_path / "cache"), Progress(said))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_kind_cluster_that_up_created_goes_with_down(kind: OtherCluster, kind_clusters: Path) -> None:
    (kind_clusters / "other").touch()
    for _ in range(2):
        kind.up(bare=True)
    assert names(kind_clusters) == ["fovea", "other"]
    assert kind.kubeconfig.read_text() == "kubeconfig of fovea\n"
    kind.down()
    assert names(kind_clusters) == ["other"]
    assert not kind.kubeconfig.exists()


def test_a_kind_cluster_of_that_name_which_up_did_not_create_stays(
    kind: OtherCluster, kind_clusters: Path, said: io.StringIO
) -> None:
    (kind_clusters / "fovea").touch()
    kind.up(bare=True)
    kind.down()
    assert names(kind_clusters) == ["fovea"]
    assert "was not created by `make up`" in said.getvalue()
    assert "kind delete cluster --name fovea" in said.getvalue()


def test_a_cluster_that_was_made_by_hand_later_is_not_taken_for_ours(kind: OtherCluster, kind_clusters: Path) -> None:
    (kind_clusters.parent / "refuses").touch()
    with pytest.raises(StepFailed, match="kind ended with exit code 1"):
        kind.up(bare=True)
    (kind_clusters.parent / "refuses").unlink()
    kind.up(bare=True)
    (kind_clusters / "fovea").unlink()
    kind.down()  # there is none: this forgets that there was one
    (kind_clusters / "fovea").touch()
    kind.down()
    assert names(kind_clusters) == ["fovea"]


def test_the_status_of_a_kind_cluster_that_is_not_up_names_kind_and_the_next_step(
    kind: OtherCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not kind.status()
    assert capsys.readouterr().out.split(maxsplit=2)[2] == "the kind cluster 'fovea' is not up: run `make up`\n"


def test_without_kind_and_docker_up_says_to_install_them(
    kind: OtherCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for step in (kind.up, kind.down):
        with pytest.raises(StepFailed, match=r"(?s)kind .*install it from https://kind.*install docker") as failure:
            step()
        assert "FOVEA_TARGET=embedded" in str(failure.value)


@pytest.mark.parametrize(
    ("base", "lacking"),
    [(builder.LOCAL_BASE, ["buildah", "mmdebstrap"]), ("registry.example/python:3.11", ["buildah"])],
)
def test_without_docker_the_programs_that_build_images_are_asked_for_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str, lacking: list[str]
) -> None:
    def build(*_: object) -> None:
        raise AssertionError("a tool is built although no image can be")

    monkeypatch.setattr(Tools, "build", build)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("FOVEA_BASE_IMAGE", base)
    target = External(tmp_path / "kubeconfig", "registry.example/team")
    subject = OtherCluster(target, Cache(tmp_path / "cache"), Progress(io.StringIO()))
    assert [item.name for item in subject.needs() if not item.met] == lacking
    for step in (subject.up, lambda: subject.build_images(PLATFORM_IMAGES)):
        with pytest.raises(StepFailed, match="apt-get install buildah; or start a docker engine"):
            step()
