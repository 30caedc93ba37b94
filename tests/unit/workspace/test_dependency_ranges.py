"""What users install names ranges of dependencies, which the lock lies in. `make ranges` tests both ends."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def dependencies(part: str) -> dict[str, str]:
    listed = tomllib.loads((ROOT / part / "pyproject.toml").read_text())["project"]["dependencies"]
    found = [re.fullmatch(r"([a-z0-9-]+)(.*)", line) for line in listed]
    return {match[1]: match[2] for match in found if match}


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@pytest.mark.parametrize("part", ["api", "wire", "client"])
def test_what_users_install_has_a_lower_and_an_upper_bound_and_no_pin(part: str) -> None:
    locked = {one["name"]: one["version"] for one in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    assert dependencies(part)
    for name, bounds in dependencies(part).items():
        match = re.fullmatch(r">=([0-9.]+),<([0-9.]+)", bounds)
        assert match, f"{part}: {name}{bounds}: write >=LOWEST,<FIRST THAT IS NOT KNOWN"
        assert numbers(match[1]) <= numbers(locked[name]) < numbers(match[2]), name


def test_the_wire_code_binds_itself_to_no_version_of_protobuf() -> None:
    modules = sorted((ROOT / "wire/fovea_wire").glob("*_pb2.py"))
    assert modules
    for module in modules:
        text = module.read_text()
        assert "runtime_version" not in text, module.name
        assert "internal import builder" not in text, module.name
