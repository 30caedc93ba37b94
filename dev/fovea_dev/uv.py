"""Install uv, which makes the workspace's `.venv`: in a virtual environment of its own, whole or not at all."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from fovea_dev.commands import run
from fovea_dev.layout import Cache
from fovea_dev.locks import locked

REQUIREMENT = "uv>=0.9,<1"


def install(cache: Cache, notes: list[str]) -> Path:
    """Make sure that uv is there; where it is."""
    program = cache.uv_program
    with locked(cache.locks / "uv.lock"):
        if program.exists():
            notes.append("already there")
            return program
        # uv is no script: it does not mind that the folder it was installed in gets another name.
        fresh = cache.root / ".uv-tool.new"
        log = cache.logs / "uv.log"
        shutil.rmtree(fresh, ignore_errors=True)
        run([sys.executable, "-m", "venv", fresh], log=log)
        run([fresh / "bin" / "python", "-m", "pip", "install", "--quiet", REQUIREMENT], log=log)
        shutil.rmtree(cache.uv_tool, ignore_errors=True)
        fresh.rename(cache.uv_tool)
    notes.append("installed")
    return program
