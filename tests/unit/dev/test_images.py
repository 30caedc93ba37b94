import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from fovea_dev import images, registry
from fovea_dev.embedded import EmbeddedCluster
from fovea_dev.images import ALL_IMAGES, IMAGES, Image, Images, digest, named, package_files, snapshot
from fovea_dev.layout import REPOSITORY_ROOT, Cache, Cluster
from fovea_dev.progress import Progress, StepFailed
from fovea_dev.tools import Tools, module_of

DOCKERFILES = sorted([*IMAGES.glob("*/Dockerfile"), *(REPOSITORY_ROOT / "examples").glob("*/Dockerfile")])


class RecordingBuilder:
    """Builds nothing and remembers what it was asked for."""

    base_image = "localhost/base:1"

    def __init__(self) -> None:
        self.built: list[tuple[str, list[str]]] = []
        self.pushed: list[str] = []

    def prepare(self, notes: list[str]) -> None:
        notes.append(self.base_image)

    def build(
        self, *, dockerfile: Path, context: Path, reference: str, arguments: Mapping[str, str], log: Path
    ) -> None:
        del arguments, log
        assert dockerfile == context / "Dockerfile"
        self.built.append((reference, sorted(str(p.relative_to(context)) for p in context.rglob("*") if p.is_file())))

    def push(self, reference: str, log: Path) -> None:
        del log
        self.pushed.append(reference)


def test_there_is_a_dockerfile_for_every_image_and_an_image_for_every_dockerfile() -> None:
    assert {image.folder / "Dockerfile" for image in ALL_IMAGES} == set(DOCKERFILES)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_an_image_does_not_run_as_root_and_names_no_place_of_this_machine(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    users = re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
    assert users
    assert all(int(user) > 0 and int(group) > 0 for user, group in users)
    assert not re.search(r"https?://|127\.0\.0\.1|/etc/ssl", text)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_no_step_mounts_another_stage_since_buildah_would_not_see_that_it_changed(dockerfile: Path) -> None:
    assert not re.search(r"--mount=\S*from=", re.sub(r"^#.*$", "", dockerfile.read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("image", [image for image in ALL_IMAGES if image.members], ids=lambda image: image.name)
def test_a_build_gets_exactly_what_its_dockerfile_copies(image: Image) -> None:
    text = (image.folder / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    sources = {word for line in copied for word in line.split()}
    given = {name for name in image.source_files() if name != "Dockerfile"}
    assert {s for s in sources if s not in given and not any(g.startswith(f"{s}/") for g in given)} == set()
    assert {g for g in given if not any(g == s or g.startswith(f"{s}/") for s in sources)} == set()


def test_the_digest_changes_with_content_name_and_settings(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("two")
    first = digest({"a": tmp_path / "a", "b": tmp_path / "b"}, ["x=1"])
    assert digest({"b": tmp_path / "b", "a": tmp_path / "a"}, ["x=1"]) == first
    assert digest({"a": tmp_path / "b", "b": tmp_path / "a"}, ["x=1"]) != first
    assert digest({"a": tmp_path / "a", "c": tmp_path / "b"}, ["x=1"]) != first
    assert digest({"a": tmp_path / "a"}, ["x=1"]) != first
    assert digest({"a": tmp_path / "a", "b": tmp_path / "b"}, ["x=2"]) != first


def test_caches_and_hidden_files_are_no_source(tmp_path: Path) -> None:
    for name in ("p/m.py", "p/__pycache__/m.pyc", "p/.hidden", ".venv/x.py", "dist/p.whl", "p/data.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert [str(path.relative_to(tmp_path)) for path in package_files(tmp_path)] == ["p/data.json", "p/m.py"]


def test_an_image_is_built_from_a_copy_pushed_and_not_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = RecordingBuilder()
    monkeypatch.setattr(registry, "has_image", lambda host, name, tag: f"{host}/{name}:{tag}" in builder.pushed)
    subject = Images(Cache(tmp_path), Tools(Cache(tmp_path)), builder, "127.0.0.1:5000")
    fovea = named("fovea")
    killed = tmp_path / "scratch/image-fovea/api/half-written.py"
    killed.parent.mkdir(parents=True)
    killed.touch()
    pushed = subject.ensure(fovea, [])
    notes: list[str] = []
    assert subject.ensure(fovea, notes) == pushed == subject.pushed(fovea)
    assert notes == [pushed.tag, "unchanged"]
    ((reference, files),) = builder.built
    assert builder.pushed == [reference] == [f"127.0.0.1:5000/fovea:{pushed.tag}"]
    assert "uv.lock" in files
    assert "api/half-written.py" not in files
    assert list((tmp_path / "scratch").iterdir()) == []
    assert "api/fovea_api/__init__.py" in files


def test_a_registry_that_cannot_be_asked_gets_every_image_and_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_image(host: str, _name: str, _tag: str) -> bool:
        raise registry.CannotAsk(f"{host} answers 401")

    monkeypatch.setattr(registry, "has_image", has_image)
    builder = RecordingBuilder()
    subject = Images(Cache(tmp_path), Tools(Cache(tmp_path)), builder, "registry.example/team")
    notes: list[str] = []
    pushed = [subject.ensure(named(name), notes).reference for name in ("fovea", "fovea-tensorflow")]
    assert builder.pushed == pushed
    assert pushed[0].startswith("registry.example/team/fovea:")
    said = [note for note in notes if "answers 401" in note]
    assert said == ["built and pushed without asking what the registry has: registry.example/team answers 401"]


def test_the_gpu_image_is_the_same_dockerfile_with_another_argument() -> None:
    cpu, gpu = named("fovea-tensorflow"), named("fovea-tensorflow-gpu")
    assert cpu.source_files() == gpu.source_files()
    assert (cpu.arguments, gpu.arguments) == ({"VARIANT": "cpu"}, {"VARIANT": "gpu"})


def test_an_unknown_image_is_named_with_those_there_are() -> None:
    with pytest.raises(StepFailed, match=r"no such image: fove .*fovea-tensorflow"):
        named("fove")


def test_a_snapshot_keeps_places_and_content(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("text")
    copies = snapshot({"deep/place": tmp_path / "source"}, tmp_path / "copy")
    assert copies == {"deep/place": tmp_path / "copy/deep/place"}
    assert copies["deep/place"].read_text() == "text"
    assert images.DOCKERFILE == "Dockerfile"


@pytest.mark.parametrize("image", [image for image in ALL_IMAGES if image.based], ids=lambda image: image.name)
def test_an_image_on_the_base_is_built_after_the_base_also_when_it_is_the_only_one(
    image: Image, tmp_path: Path
) -> None:
    steps = {
        step.name: step for step in EmbeddedCluster(Cluster(Cache(tmp_path)), Progress())._image_steps([image], [])
    }
    assert "base image" in steps
    assert "base image" in steps[f"image {image.name}"].after


@pytest.mark.parametrize("image", ALL_IMAGES, ids=lambda image: image.name)
def test_what_goes_into_an_image_is_built_before_it_engines_too(image: Image, tmp_path: Path) -> None:
    steps = EmbeddedCluster(Cluster(Cache(tmp_path)), Progress())._build_steps([image])
    [build] = [step for step in steps if step.name == f"image {image.name}"]
    tools = {f"tool {module_of(name).name}" for name in image.tools}
    assert tools <= set(build.after)
    assert set(build.after) <= {step.name for step in steps}
