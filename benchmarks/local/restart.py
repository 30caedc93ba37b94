"""From the death of a worker to its first new step: a job of asynchronous parameter servers, one worker of which is killed."""

import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from fovea_api.contract import names
from fovea_trainers.main import main as fovea_train
from support.local_jobs import machine_type

from local.cluster import NAMESPACE, Local, wait

KILL = """
import os, pathlib, signal
[child] = pathlib.Path("/proc/1/task/1/children").read_text().split()
os.kill(int(child), signal.SIGKILL)
"""
"""The trainer, not its parent, which is process 1 and ends with it."""
STEPS = """
import json, os, pathlib
path = pathlib.Path(os.environ["FOVEA_PROGRESS_FILE"])
lines = path.read_text().splitlines() if path.exists() else []
print(max([json.loads(line).get("step", 0) for line in lines if line.startswith("{")], default=0))
"""


def restart(local: Local, *, quick: bool) -> None:
    """Kill it, and look for its next attempt's first step."""
    machine = machine_type(f"{local.word}-restart", cpu="100m", memory="1Gi")
    with tempfile.TemporaryDirectory() as folder:
        if fovea_train(["make-dataset", "a8a", f"{folder}/a8a", "--count=2000"]):
            raise SystemExit("no data set was made")
        local.fovea("data", "upload", str(Path(folder) / "a8a"), local.word, "-n", NAMESPACE, "--quiet")
    jobs = [f"{local.word}-restart-{number}" for number in range(1 if quick else 3)]
    with local.made(machine):
        rows = [_one(local, job, machine["metadata"]["name"]) for job in jobs]
    print("\n### A worker of asynchronous parameter servers is killed (seconds from its death)\n")
    print("| | median | longest |\n|---|---|---|")
    for what in rows[0]:
        found = [row[what] for row in rows]
        print(f"| {what} | {statistics.median(found):.1f} | {max(found):.1f} |")


def _one(local: Local, job: str, machine: str) -> dict[str, float]:
    spec = {
        "trainer": {"recipe": "tabular"},
        "args": {"hidden": "16", "epochs": 2000, "validation-files": "*.t"},
        "inputs": {"data": f"s3://fovea/{NAMESPACE}/datasets/{local.word}"},
        "distribution": "ParameterServer",
        "roles": {
            "chief": {"machineType": machine},
            "worker": {"count": 2, "machineType": machine},
            "ps": {"count": 1, "machineType": machine},
        },
    }
    metadata = {"name": job, "namespace": NAMESPACE}
    first, second = (names.training_pod(job, names.ROLE_WORKER, 1, attempt) for attempt in (0, 1))
    manifest = {"apiVersion": "fovea.dev/v1alpha1", "kind": "TrainingJob", "metadata": metadata, "spec": spec}
    with local.made(manifest):
        wait(lambda: _steps(local, first) > 0, 300, f"{first} trains")
        began = time.monotonic()
        _execute(local, first, KILL)
        wait(lambda: bool(local.get("pod", second)), 120, f"pod {second}", 0.1)
        made = time.monotonic() - began
        wait(lambda: _runs(local.get("pod", second)), 120, f"the program of {second} runs", 0.2)
        runs = time.monotonic() - began
        wait(lambda: _steps(local, second) > 0, 120, f"{second} trains", 0.2)
        return {"its next pod is made": made, "the program runs": runs, "its first step": time.monotonic() - began}


def _runs(pod: dict[str, Any]) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return any(one["name"] == names.TRAINER_CONTAINER and "running" in one["state"] for one in statuses)


def _steps(local: Local, pod: str) -> int:
    """The newest step that a pod's program has reported; 0 while it does not run."""
    done = _execute(local, pod, STEPS)
    return int(done.stdout) if done.returncode == 0 else 0


def _execute(local: Local, pod: str, program: str) -> "subprocess.CompletedProcess[str]":
    command = ["kubectl", "exec", pod, "-n", NAMESPACE, "-c", names.TRAINER_CONTAINER, "--", "python3", "-c", program]
    return subprocess.run(command, env=local.environment, capture_output=True, text=True, check=False, timeout=60)
