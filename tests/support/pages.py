"""Pages of the documentation as tests run them: their blocks of code, and their commands in a shell."""

import os
import re
import subprocess
import sys
from pathlib import Path

from fovea_api.contract import exit_codes

ROOT = Path(__file__).parents[2]


def blocks(page: str) -> dict[str, list[str]]:
    """The blocks of code of a page, a path below the repository, by their language."""
    found: dict[str, list[str]] = {}
    text = (ROOT / page).read_text(encoding="utf-8")
    for language, content in re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        found.setdefault(language, []).append(content)
    return found


def in_environment(command: str, folder: Path, **variables: str) -> str:
    """What a command of a page prints, with the programs that `. .venv/bin/activate` brings."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == exit_codes.OK, done.stdout
    return done.stdout
