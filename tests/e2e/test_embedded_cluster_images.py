"""Images are made of exactly the code they are named after, and a change of it is in a pod within a minute."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fovea_dev.images import named, snapshot
from support.polling import until

ROOT = Path(__file__).parents[2]
IMAGE = named("fovea")


def test_a_changed_line_of_code_runs_in_a_pod_within_a_minute(cluster: Any, unique: str, tmp_path: Path) -> None:
    copy = tmp_path / "repository"
    snapshot({name: path for name, path in IMAGE.source_files().items() if name != "Dockerfile"}, copy)
    shutil.copytree(ROOT / "dev", copy / "dev")
    changed = copy / "api/fovea_api/__init__.py"
    changed.write_text(f"{changed.read_text()}\nMARK = {unique!r}\n")
    before = build(ROOT, cluster.environment)
    try:
        begun = time.monotonic()
        after = build(copy, cluster.environment)
        assert after != before
        cluster.kubectl(
            "run",
            unique,
            f"--image={after}",
            "--restart=Never",
            "--",
            "python3",
            "-c",
            "import fovea_api as a; print(a.MARK)",
        )
        said = until(lambda: cluster.kubectl("logs", unique, check=False).strip(), seconds=120, what="the pod's output")
        seconds = time.monotonic() - begun
    finally:
        build(ROOT, cluster.environment)  # so that what was pushed last is this repository's code again
        cluster.kubectl("delete", "pod", unique, "--ignore-not-found", "--now")
    assert said == unique
    assert seconds < 60


def build(repository: Path, environment: dict[str, str]) -> str:
    """Reference of the image made of a repository's code."""
    done = subprocess.run(
        [sys.executable, "-m", "fovea_dev", "images", IMAGE.name, "--json"],
        env={**environment, "PYTHONPATH": str(repository / "dev")},
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reference: str = json.loads(done.stdout)[IMAGE.name]["reference"]
    return reference
