"""A test that plays the operator: it writes the statuses of jobs."""

import threading
from typing import Any

from support.kube_apiserver import Cluster


def set_status(cluster: Cluster, name: str, **status: Any) -> None:
    """Write fields of a job's status."""
    cluster.patch("TrainingJob", name, {"status": status}, "status")


def set_status_soon(cluster: Cluster, name: str, *steps: dict[str, Any]) -> threading.Thread:
    """Write one status after the other from another thread, half a second apart."""

    def write() -> None:
        for status in steps:
            pause.wait(0.5)
            set_status(cluster, name, **status)

    pause = threading.Event()
    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread
