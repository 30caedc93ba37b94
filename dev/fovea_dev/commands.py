"""Run other programs: output to a log file, an error that names it, and no orphan when we are killed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from fovea_dev.progress import StepFailed


def run(
    command: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    nice: int = 0,
    stdin: str | None = None,
) -> None:
    """Run a program to its end, its output appended to `log`. Raises StepFailed naming the program and the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in command]
    prefix = ["nice", "-n", str(nice)] if nice else []
    with log.open("ab") as file:
        file.write(f"$ {shlex.join(words)}\n".encode())
        file.flush()
        result = subprocess.run(
            [*_die_with_us(), *prefix, *words],
            stdin=None if stdin is not None else subprocess.DEVNULL,
            input=None if stdin is None else stdin.encode(),
            stdout=file,
            stderr=file,
            cwd=cwd,
            env=dict(environment) if environment is not None else None,
            check=False,
        )
    if result.returncode != 0:
        raise StepFailed(f"{words[0]} ended with exit code {result.returncode}", log)


def output(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Standard output of a program. Raises StepFailed with its standard error."""
    words = [str(word) for word in command]
    path = os.environ.get("PATH") if environment is None else environment.get("PATH")
    if shutil.which(words[0], path=path) is None:
        raise StepFailed(f"{words[0]} is not on PATH ({path}): `make up` installs or builds what it needs")
    result = subprocess.run(
        words,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=dict(environment) if environment is not None else None,
        check=False,
    )
    if result.returncode != 0:
        raise StepFailed(f"{shlex.join(words)}: exit code {result.returncode}: {result.stderr.strip()}")
    return result.stdout


def succeeds(command: Sequence[str | Path]) -> bool:
    """Whether a program ends with exit code 0; its output is thrown away. A missing program counts as no."""
    words = [str(word) for word in command]
    if shutil.which(words[0]) is None:
        return False
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def extended(environment: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with some variables set."""
    return {**os.environ, **environment}


def _die_with_us() -> list[str]:
    # A build that outlives a killed `up` would compete with the next one.
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
