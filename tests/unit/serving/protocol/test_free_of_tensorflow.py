"""What a gateway or a console imports of serving loads no TensorFlow and nothing that only a server needs."""

import subprocess
import sys

import pytest

PROBE = """
import importlib, pkgutil, sys
from fovea_serving import protocol
names = [module.name for module in pkgutil.walk_packages(protocol.__path__, "fovea_serving.protocol.")]
for name in names:
    importlib.import_module(name)
print(*names)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
HEAVY = {"tensorflow", "keras", "tensorflow_serving", "h5py", "aiohttp", "uvloop"}


def loaded_by(code: str) -> tuple[set[str], set[str]]:
    """The modules of the protocol, and all packages that were loaded."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules, packages = done.stdout.splitlines()
    return set(modules.split()), set(packages.split())


def test_every_module_of_the_protocol_is_imported_without_tensorflow() -> None:
    modules, packages = loaded_by(PROBE)
    assert {f"fovea_serving.protocol.{name}" for name in ("tensors", "json_requests", "examples", "metrics")} <= modules
    assert packages & HEAVY == set()
    assert {"numpy", "fovea_wire"} <= packages


@pytest.mark.parametrize("heavy", ["aiohttp", "tensorflow_serving"])
def test_the_probe_notices_what_is_heavy(heavy: str) -> None:
    assert heavy in loaded_by(f"import {heavy}{PROBE}")[1]
