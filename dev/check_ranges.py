"""Run the tests of the client and the wire at both ends of their ranges of dependencies: the oldest versions that they allow, and the newest."""

import os
import subprocess
import sys
from pathlib import Path

from fovea_dev.layout import Cache

ROOT = Path(__file__).resolve().parents[1]
ENDS = ("lowest-direct", "highest")
TOOLS = ("pytest>=9", "pytest-timeout>=2.4", "hypothesis>=6.150")
# The runner of an old click completes one command a process, which is what a shell does, and the second not.
FOLDERS = ("tests/unit/wire", "tests/unit/client")
LEFT_OUT = ("tests/unit/client/test_usage.py::test_commands_and_options_are_completed",)


def check(end: str) -> int:
    """Make an environment of its own and test in it; pytest's exit code."""
    cache = Cache.from_environment().root
    uv, folder = cache / "uv-tool/bin/uv", cache / "ranges" / end
    python = folder / "bin/python"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    install = (uv, "pip", "install", "--quiet", "--python", python)
    subprocess.run([uv, "venv", "--quiet", "--clear", folder], check=True, env=environment)
    ours = ("--no-sources", "--resolution", end, "./api", "./wire", "./client")
    subprocess.run([*install, *ours], cwd=ROOT, check=True, env=environment)
    subprocess.run([*install, *TOOLS], cwd=ROOT, check=True, env=environment)
    print(f"\n=== the client with the {end} versions", flush=True)
    subprocess.run([uv, "pip", "list", "--python", python], check=True, env=environment)
    left_out = [f"--deselect={test}" for test in LEFT_OUT]
    command = [
        str(python),
        "-m",
        "pytest",
        *FOLDERS,
        "-q",
        "-p",
        "no:cacheprovider",
        *left_out,
    ]
    return subprocess.run(command, cwd=ROOT, check=False, env=environment).returncode


if __name__ == "__main__":
    sys.exit(max([check(end) for end in ENDS]))
