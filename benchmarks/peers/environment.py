"""A virtual environment for each peer, in the cache: what peers depend on is at odds with what Fovea does.

`pins/` has the versions of all packages of a peer, as `uv pip compile` found them together with the TensorFlow that
Fovea has. An environment is made the first time that it is asked for, and again when its pins have changed.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from fovea_dev import uv
from fovea_dev.commands import extended, run
from fovea_dev.layout import Cache
from fovea_dev.locks import locked
from fovea_dev.progress import StepFailed, last_lines

PINS = Path(__file__).parent / "pins"


class NotInstalled(Exception):
    """A peer whose environment can't be made; the message says why."""


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment."""
    cache = Cache.from_environment()
    folder, pins = cache.peers / peer, PINS / f"{peer}.txt"
    said = folder / "pins.txt"
    with locked(cache.locks / f"peer-{peer}.lock", lambda: print(f"{peer}: another run installs it", file=sys.stderr)):
        if not said.exists() or said.read_text() != pins.read_text():
            count = pins.read_text().count("==")
            print(f"{peer}: installing {count} packages into {folder}", file=sys.stderr)
            log = cache.logs / f"peer-{peer}.log"
            try:
                _make(cache, folder, pins, log)
            except (StepFailed, OSError) as error:
                said_last = " ".join(last_lines(log, 2)) if log.exists() else ""
                raise NotInstalled(f"not installed: {error}: {said_last} (log: {log})") from error
            shutil.copyfile(pins, said)
    return folder / "bin" / "python"


def _make(cache: Cache, folder: Path, pins: Path, log: Path) -> None:
    program = uv.install(cache, [])
    shutil.rmtree(folder, ignore_errors=True)
    variables = extended({"UV_CACHE_DIR": str(cache.uv), "UV_SYSTEM_CERTS": "true"})
    run([program, "venv", "--quiet", "--python", sys.executable, folder], log=log, environment=variables)
    # Bytecode at once: each first start of a server would take a minute longer.
    words = [program, "pip", "install", "--quiet", "--compile-bytecode", "--python", folder / "bin" / "python"]
    run([*words, "--requirements", pins], log=log, environment=variables)


def version(python: Path, package: str) -> str:
    """Of a package in an environment."""
    words = [python, "-c", "import sys; from importlib.metadata import version; print(version(sys.argv[1]))", package]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
