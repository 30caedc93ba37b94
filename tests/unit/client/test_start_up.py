"""Importing the SDK and asking for help load nothing heavy: measured by the modules that are loaded, not by a clock."""

import json
import subprocess
import sys

import pytest

HEAVY = ("kubernetes", "grpc", "minio", "rich", "pydantic", "urllib3", "google.protobuf", "yaml", "numpy", "tensorflow")

REPORT = f"""
import json, sys
loaded = [name for name in {HEAVY!r} if name in sys.modules]
print(json.dumps(loaded), file=sys.stderr)
"""


def loaded_by(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code + REPORT], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stderr.strip().splitlines()[-1])
    return found


@pytest.mark.parametrize("module", ["fovea", "fovea.sdk", "fovea.cli.main"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    assert loaded_by(f"import {module}") == []


@pytest.mark.parametrize(
    "words",
    [["--help"], ["jobs", "submit", "--help"], ["jobs", "import", "--help"], ["--version"], ["completion", "bash"]],
)
def test_help_version_and_completion_load_nothing_heavy(words: list[str]) -> None:
    assert loaded_by(f"from fovea.cli.main import cli\ncli({words!r}, prog_name='fovea', standalone_mode=False)") == []


def test_the_probe_notices_a_heavy_module() -> None:
    assert "urllib3" in loaded_by("import urllib3")


def test_the_public_names_are_there_and_no_others() -> None:
    import fovea
    import fovea.sdk

    for module in (fovea, fovea.sdk):
        for name in module.__all__:
            assert getattr(module, name) is not None
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = module.nothing
    assert fovea.Client is fovea.sdk.Client
