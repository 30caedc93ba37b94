"""Submit -> RUNNING: how long a job takes from the POST until the status says that it runs."""

import os
import statistics
import time
from typing import Any

from fovea_api.contract import labels
from support.local_jobs import machine_type, program_job

from local.cluster import NAMESPACE, Local, wait

WAITS = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); time.sleep(3600)"
POLL_SECONDS = 0.05


def start(local: Local, *, quick: bool) -> None:
    """Jobs one after the other, beside bare pods of the same image: what Fovea adds is the difference."""
    from fovea.sdk import Client

    os.environ["KUBECONFIG"] = local.environment["KUBECONFIG"]
    client = Client(namespace=NAMESPACE)
    count = 3 if quick else 10
    machine = machine_type(f"{local.word}-start")
    with local.made(machine):
        jobs, pods = [], []
        for number in range(count):
            name = f"{local.word}-{number}"
            jobs.append(_seconds_to_running(local, client, name, machine["metadata"]["name"]))
            pods.append(_seconds_of_a_bare_pod(local, client, f"{name}-bare"))
    print(f"\n### Submit → RUNNING ({count} jobs in a row, no inputs)\n")
    print("| | p50 s | max s |\n|---|---|---|")
    print(f"| TrainingJob: POST until the status says RUNNING | {statistics.median(jobs):.2f} | {max(jobs):.2f} |")
    print(f"| bare pod of the same image: POST until Running | {statistics.median(pods):.2f} | {max(pods):.2f} |")


def _seconds_to_running(local: Local, client: Any, name: str, machine: str) -> float:
    manifest = program_job(name, local.images["fovea"], machine, WAITS)
    try:
        begun = time.monotonic()
        client.jobs.kinds.create(manifest)

        def running() -> bool:
            return bool(client.jobs.kinds.get(name).get("status", {}).get("state") == "RUNNING")

        wait(running, 180, f"job {name} is RUNNING", POLL_SECONDS)
        return time.monotonic() - begun
    finally:
        local.kubectl("delete", "trainingjob", name, "-n", NAMESPACE, "--ignore-not-found")
        selector = f"{labels.JOB}={name}"
        wait(lambda: not local.list("pods", selector=selector), 90, f"no pod of {name}")


def _seconds_of_a_bare_pod(local: Local, client: Any, name: str) -> float:
    from fovea.sdk.api_errors import Target

    path = f"/api/v1/namespaces/{NAMESPACE}/pods"
    container = {"name": "main", "image": local.images["fovea"], "command": ["python", "-c", WAITS]}
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]},
    }
    target = Target("get", "Pod", "pods", NAMESPACE, name, ours=False)
    try:
        begun = time.monotonic()
        client.cluster.create(target, path, manifest)
        wait(
            lambda: client.cluster.get(target, f"{path}/{name}")["status"].get("phase") == "Running",
            120,
            f"pod {name} runs",
            POLL_SECONDS,
        )
        return time.monotonic() - begun
    finally:
        local.kubectl("delete", "pod", name, "-n", NAMESPACE, "--ignore-not-found", "--grace-period=1")
