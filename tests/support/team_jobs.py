"""Jobs of a team on the local cluster: small programs and recipes, submitted as YAML, removed after the test."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fovea_agent.restore import published_numbers, read_manifest
from fovea_agent.store import Store
from fovea_api.contract import labels, names, storage
from fovea_api.contract.manifest import Manifest
from support.polling import until

PRELUDE = """
import json, os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # process 1 is not ended by a signal that it does not handle
inputs, checkpoints, model, output, cache = (
    pathlib.Path(os.environ[f"FOVEA_{name}_DIR"]) for name in ("INPUT", "CHECKPOINT", "MODEL", "OUTPUT", "CACHE")
)
def checkpoint(step, text):
    staging = checkpoints / f".staging-{step}"
    staging.mkdir()
    (staging / "state").write_text(text)
    staging.rename(checkpoints / str(step))
def told(word):
    # A word from the test: a file that it makes by `kubectl exec`.
    while not (checkpoints.parent / "progress" / word).exists():
        time.sleep(0.1)
"""
"""What the programs of tests begin with; it knows nothing of Fovea but directories."""


def program(image: str, machine: str, source: str, **spec: Any) -> dict[str, Any]:
    """Spec of a job that runs a Python program; keywords are further fields of the spec (camelCase)."""
    container = {"image": image, "command": ["python3", "-c", PRELUDE + source]}
    roles = {names.ROLE_CHIEF: {"machineType": machine}}
    return {"trainer": {"container": container}, "scaleTier": "CUSTOM", "roles": roles, **spec}


class TeamJobs:
    """Jobs of one namespace. Everything submitted through it is removed at the end."""

    def __init__(self, cluster: Any, namespace: str = "vision") -> None:
        self.cluster, self.namespace = cluster, namespace
        self.submitted: list[str] = []

    def submit(self, name: str, spec: dict[str, Any]) -> str:
        """Create a job; returns its name."""
        self.submitted.append(name)
        metadata = {"name": name, "namespace": self.namespace}
        self.cluster.apply(
            {"apiVersion": "fovea.dev/v1alpha1", "kind": "TrainingJob", "metadata": metadata, "spec": spec}
        )
        return name

    def ended(self, job: str, state: str = "SUCCEEDED", seconds: float = 240) -> dict[str, Any]:
        """Status of a job that has ended; another end than the one wanted is an error with everything there is to see."""
        status: dict[str, Any] = self.cluster.wait_for_state(
            job, "SUCCEEDED", "FAILED", "CANCELLED", seconds=seconds, namespace=self.namespace
        )
        assert status["state"] == state, (
            f"{json.dumps(status, indent=1)}\n{self.cluster.diagnosis(job, self.namespace)}"
        )
        return status

    def runs(self, job: str, attempt: int = 0, seconds: float = 180) -> str:
        """Name of the pod of an attempt once its program runs."""
        name = self.pod(job, attempt)

        def running() -> bool:
            statuses = self.cluster.get("pod", name, self.namespace).get("status", {}).get("containerStatuses", [])
            return any(one["name"] == names.TRAINER_CONTAINER and "running" in one["state"] for one in statuses)

        try:
            until(running, seconds=seconds, what=f"the program of {name} runs")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.cluster.diagnosis(job, self.namespace)}") from None
        return name

    def pod(self, job: str, attempt: int) -> str:
        """Name of the pod of an attempt."""
        return names.training_pod(job, names.ROLE_CHIEF, 0, attempt)

    def pods(self, job: str) -> list[dict[str, Any]]:
        """All pods of a job."""
        found: list[dict[str, Any]] = self.cluster.list("pods", self.namespace, f"{labels.JOB}={job}")
        return found

    def log(self, pod: str, container: str) -> str:
        """What a container of a pod has said."""
        said: str = self.cluster.kubectl("logs", pod, "-c", container, "-n", self.namespace)
        return said

    def execute(self, pod: str, container: str, *command: str, stdin: str | None = None) -> str:
        """Run a command in a container of a pod."""
        options = ("-i",) if stdin is not None else ()
        said: str = self.cluster.kubectl(
            "exec", *options, pod, "-c", container, "-n", self.namespace, "--", *command, stdin=stdin
        )
        return said

    def tell(self, pod: str, word: str) -> None:
        """Say a word that the program waits for with `told`."""
        self.execute(pod, names.TRAINER_CONTAINER, "touch", f"/fovea/progress/{word}")

    def prefix(self, job: str) -> str:
        """Where in the store a job publishes."""
        uid = self.cluster.get("trainingjob", job, self.namespace)["metadata"]["uid"]
        return storage.job(self.namespace, job, uid)

    def condition(self, status: dict[str, Any], type_: str) -> dict[str, Any]:
        """A condition of a status by its type, empty when there is none."""
        found: dict[str, Any] = next((one for one in status.get("conditions", []) if one["type"] == type_), {})
        return found

    def remove(self) -> None:
        """Delete the jobs and what was made of them; what they published stays in the store, as for every user."""
        for kind in ("trainingjobs", "batchpredictions", "modeldeployments", "modelversions"):
            found = self.cluster.list(kind, self.namespace)
            mine = [
                one["metadata"]["name"]
                for one in found
                if any(one["metadata"]["name"].startswith(job) for job in self.submitted)
            ]
            if mine:
                self.cluster.kubectl("delete", kind, *mine, "-n", self.namespace, "--wait=false", "--ignore-not-found")


@contextmanager
def team_jobs(cluster: Any, namespace: str = "vision") -> Iterator[TeamJobs]:
    """Jobs that are removed at the end."""
    jobs = TeamJobs(cluster, namespace)
    try:
        yield jobs
    finally:
        jobs.remove()


def published_steps(store: Store, job_prefix: str) -> list[int]:
    """Steps of a job's published checkpoints, ascending."""
    parent = storage.checkpoints(job_prefix)
    return sorted(published_numbers(store, parent))


def manifest_at(store: Store, uri: str) -> Manifest:
    """The manifest of a publication by its address."""
    return read_manifest(store, storage.Location.parse(uri).key)


def digests(manifest: Manifest) -> dict[str, str]:
    """SHA-256 of each file by its path."""
    return {entry.path: entry.sha256 for entry in manifest.entries}
