"""What is in the images, and what must not be: each program runs in a pod of the cluster, as a tenant's would."""

from typing import Any

import pytest
from support.polling import until

OPERATOR_MODULE = (
    "import operator, sysconfig; assert operator.__file__.startswith(sysconfig.get_path('stdlib')), operator.__file__"
)
IMAGES = ("fovea", "fovea-tensorflow")


def run_in(cluster: Any, image: str, name: str, *command: str) -> tuple[int, str]:
    """Exit code and log of a command in one of our images, run without root and with a read-only root file system."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "vision"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "main",
                    "image": cluster.deployment.images()[image],
                    "command": list(command),
                    "securityContext": {"runAsNonRoot": True, "readOnlyRootFilesystem": True},
                }
            ],
        },
    }
    cluster.apply(manifest)
    try:

        def ended() -> dict[str, Any] | None:
            statuses = cluster.get("pod", name)["status"].get("containerStatuses") or [{}]
            return statuses[0].get("state", {}).get("terminated")

        state = until(ended, seconds=240, what=f"end of {command} in {image}")
        return int(state["exitCode"]), cluster.kubectl("logs", name, "-n", "vision")
    finally:
        cluster.kubectl("delete", "pod", name, "-n", "vision", "--wait=false")


@pytest.mark.parametrize("image", IMAGES)
def test_operator_is_the_standard_librarys_in_every_image(cluster: Any, unique: str, image: str) -> None:
    assert run_in(cluster, image, unique, "python", "-c", OPERATOR_MODULE) == (0, "")


def test_the_image_of_operator_and_agent_has_no_tensorflow(cluster: Any, unique: str) -> None:
    code, log = run_in(cluster, "fovea", unique, "python", "-c", "import tensorflow")
    assert code == 1
    assert "No module named 'tensorflow'" in log


def test_the_image_of_trainers_has_neither_kopf_nor_the_stores_client(cluster: Any, unique: str) -> None:
    program = "import importlib.util as u; print([m for m in ('kopf', 'kubernetes', 'minio') if u.find_spec(m)])"
    assert run_in(cluster, "fovea-tensorflow", unique, "python", "-c", program) == (0, "[]\n")


@pytest.mark.parametrize(
    ("image", "program"),
    [
        ("fovea", "fovea-operator"),
        ("fovea", "fovea-comparator"),
        ("fovea", "fovea-agent"),
        ("fovea-tensorflow", "fovea-train"),
        ("fovea-tensorflow", "fovea-model-server"),
    ],
)
def test_every_program_of_an_image_says_how_it_is_used(cluster: Any, unique: str, image: str, program: str) -> None:
    code, log = run_in(cluster, image, unique, program, "--help")
    assert code == 0
    assert "usage" in log.lower()
    assert program in log
