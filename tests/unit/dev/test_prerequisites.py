import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from fovea_dev import prerequisites
from fovea_dev.images import PLATFORM_IMAGES
from fovea_dev.layout import Cache
from fovea_dev.prerequisites import GO_AT_LEAST, Prerequisite, demand, file_system_of, parse_go_version
from fovea_dev.progress import StepFailed
from fovea_dev.tools import MODULES, TOOLS


@dataclass
class DiskUsage:
    free: int


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go version go1.26.7 linux/amd64", (1, 26, 7)),
        ("go version go1.9 linux/arm64", (1, 9, 0)),
        ("go version devel go1.27-abc linux/amd64", (1, 27, 0)),
        ("command not found", None),
    ],
)
def test_the_go_version_is_read_from_what_go_prints(text: str, expected: tuple[int, int, int] | None) -> None:
    assert parse_go_version(text) == expected


def test_the_least_go_is_what_the_strictest_module_asks_for() -> None:
    asked = [
        re.search(r"^go (\d+)\.(\d+)\.(\d+)$", file.read_text(), re.MULTILINE) for file in MODULES.glob("*/go.mod")
    ]
    assert max(tuple(map(int, found.groups())) for found in asked if found) == GO_AT_LEAST


def test_everything_that_is_missing_is_named_at_once_with_its_remedy() -> None:
    found = [
        Prerequisite("Go 1.26.7 or newer", "go1.19", met=False, remedy="install it from https://go.dev/dl/"),
        Prerequisite("make", "/usr/bin/make", met=True, remedy="apt-get install make"),
        Prerequisite("root", "uid 1000", met=False, remedy="use sudo"),
    ]
    with pytest.raises(StepFailed) as failure:
        demand(found)
    assert str(failure.value).splitlines()[1:] == [
        "  - Go 1.26.7 or newer (found: go1.19): install it from https://go.dev/dl/",
        "  - root (found: uid 1000): use sudo",
    ]


def test_a_machine_without_go_is_told_where_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    lacking = {item.name: item for item in prerequisites.for_tools(Cache(tmp_path)) if not item.met}
    assert set(lacking) >= {"Go 1.26.7 or newer", "make"}
    assert "go.dev/dl" in lacking["Go 1.26.7 or newer"].remedy


def test_published_weights_need_npm_or_the_address_of_a_registry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (lacking,) = prerequisites.for_contract_tests()
    assert (lacking.found, lacking.met) == ("neither", False)
    assert "apt-get install npm" in lacking.remedy
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://registry.example")
    (named,) = prerequisites.for_contract_tests()
    assert (named.found, named.met) == ("https://registry.example", True)
    monkeypatch.delenv("NPM_CONFIG_REGISTRY")
    (tmp_path / "npm").touch(mode=0o755)
    assert prerequisites.for_contract_tests()[0].met


def test_every_prerequisite_has_a_remedy(tmp_path: Path) -> None:
    found = prerequisites.for_embedded_cluster(Cache(tmp_path))
    assert [item.name for item in found if not item.remedy] == []
    names = " ".join(item.name for item in found)
    for word in ("Linux", "root", "openssl", "Python 3.11", "Go 1.26", "make", "GiB of disk"):
        assert word in names


def test_the_workspace_and_its_unit_tests_need_python_and_venv_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prerequisites.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else name)
    found = prerequisites.for_setup(Cache(tmp_path))
    assert [item.name for item in found] == ["Python 3.11 or newer", "Python's venv and ensurepip"]
    assert [item.met for item in found] == [True, False]
    assert "apt-get install python3-venv" in found[1].remedy
    Cache(tmp_path).uv_program.parent.mkdir(parents=True)
    Cache(tmp_path).uv_program.touch()
    assert [item.name for item in prerequisites.for_setup(Cache(tmp_path))] == ["Python 3.11 or newer"]


def test_little_disk_is_enough_only_when_the_last_tool_and_image_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prerequisites.shutil, "disk_usage", lambda _: DiskUsage(free=6 * 2**30))
    cache = Cache(tmp_path)

    def met() -> bool:
        return next(item.met for item in prerequisites.for_tools(cache) if "disk" in item.name)

    made = [cache.tools_bin / name for module in TOOLS for name in module.programs]
    made += [cache.registry / "docker/registry/v2/repositories" / i.name / "_manifests/tags" for i in PLATFORM_IMAGES]
    for path in made:
        assert not met()
        path.mkdir(parents=True)
    assert met()


def test_what_a_killed_up_has_built_counts_as_disk_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prerequisites.shutil, "disk_usage", lambda _: DiskUsage(free=20 * 2**30))
    for held, enough in ((4, False), (5, True)):
        monkeypatch.setattr(prerequisites, "_size_gib", lambda _, held=held: float(held))
        disk = next(item for item in prerequisites.for_tools(Cache(tmp_path)) if "disk" in item.name)
        assert (disk.met, disk.found) == (enough, f"20 GiB free, {held} GiB already there")


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("/var/cache/x", "ext4"), ("/data/cache", "xfs"), ("/database", "overlay"), ("/", "overlay")],
)
def test_the_file_system_of_a_folder_is_that_of_the_innermost_mount(folder: str, expected: str) -> None:
    mounts = "overlay / overlay rw 0 0\n/dev/sda /var ext4 rw 0 0\n/dev/sdb /data xfs rw 0 0\n"
    assert file_system_of(Path(folder), mounts) == expected
