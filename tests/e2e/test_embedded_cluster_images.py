"""Images are made of exactly the code they are named after, and a change of it costs no more than the code's own layer."""

import json
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from fovea_dev.images import named, snapshot
from fovea_dev.registry import MANIFEST_TYPES
from support.polling import until

ROOT = Path(__file__).parents[2]
IMAGE = named("fovea")


def test_a_changed_line_of_code_runs_in_a_pod_and_only_the_codes_layer_is_made_anew(
    cluster: Any, unique: str, tmp_path: Path
) -> None:
    copy = tmp_path / "repository"
    snapshot({name: path for name, path in IMAGE.source_files().items() if name != "Dockerfile"}, copy)
    shutil.copytree(ROOT / "dev", copy / "dev")
    changed = copy / "api/fovea_api/__init__.py"
    changed.write_text(f"{changed.read_text()}\nMARK = {unique!r}\n")
    before = build(ROOT, cluster.environment)
    after = build(copy, cluster.environment)
    assert after != before
    *below, code = layers(after)
    assert below == layers(before)[:-1]
    assert code != layers(before)[-1]
    try:
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
    finally:
        cluster.kubectl("delete", "pod", unique, "--ignore-not-found", "--now")
    assert said == unique
    assert build(ROOT, cluster.environment) == before


def layers(reference: str) -> list[str]:
    """Digests of the content of an image's layers, the base's first."""
    registry, _, name = reference.partition("/")
    repository, _, tag = name.partition(":")

    def get(path: str) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://{registry}/v2/{repository}/{path}", headers={"Accept": MANIFEST_TYPES}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    digests: list[str] = get(f"blobs/{get(f'manifests/{tag}')['config']['digest']}")["rootfs"]["diff_ids"]
    return digests


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
