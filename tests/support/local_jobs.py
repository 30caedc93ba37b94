"""Jobs for the local cluster: small Python programs in one of Fovea's images, on machines of which many fit on a small node."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fovea_api.contract import names
from fovea_api.v1alpha1 import API_VERSION
from support.jobs import of_job, pod_name
from support.polling import until

NAMESPACE = "vision"

DONE = "print('done')"

COUNT = """
import json, os, pathlib, signal, sys, time

def stop(*_):
    sys.exit(143)

signal.signal(signal.SIGTERM, stop)  # process 1 is not ended by a signal that it does not handle
steps, pause, hold = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None
folder = pathlib.Path(os.environ['FOVEA_CHECKPOINT_DIR'])
found = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
first = max(found, default=0)
starts = json.loads((folder / str(first) / 'starts.json').read_text()) if found else []
starts.append(first)
print('starting at step', first, flush=True)
for step in range(first + 1, steps + 1):
    time.sleep(pause)
    unfinished = folder / '.unfinished'
    unfinished.mkdir()
    (unfinished / 'starts.json').write_text(json.dumps(starts))
    unfinished.rename(folder / str(step))
    with open(os.environ['FOVEA_PROGRESS_FILE'], 'a') as progress:
        print(json.dumps({'step': step, 'steps': steps}), file=progress)
    while step == hold and not found:
        time.sleep(0.1)
output = pathlib.Path(os.environ['FOVEA_OUTPUT_DIR'])
metrics = {'starts': len(starts), 'last_start': first, 'steps': steps}
(output / 'evaluation.json').write_text(json.dumps({'metrics': metrics}))
(output / '_SUCCESS').touch()
"""
"""Counts `steps` with a `pause` between them, a checkpoint each; its metrics say how often and where it started.

With a third number it stays at that step until it is ended: only what starts from a checkpoint goes on to the end."""

FAIL_ONCE = """
import os, pathlib, sys
folder = pathlib.Path(os.environ['FOVEA_CHECKPOINT_DIR'])
if not (folder / '1').exists():
    (folder / '.unfinished').mkdir()
    (folder / '.unfinished').joinpath('state').write_text('1')
    (folder / '.unfinished').rename(folder / '1')
    sys.exit(int(sys.argv[1]))
print('second attempt')
"""
"""Ends with a code as long as there is no checkpoint, and leaves one."""

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('deaf', flush=True)
time.sleep(300)
"""
"""Does not end when it is asked to, but later."""


def machine_type(name: str, **spec: Any) -> dict[str, Any]:
    """A MachineType that is small where `spec` says nothing else."""
    return {
        "apiVersion": API_VERSION,
        "kind": "MachineType",
        "metadata": {"name": name},
        "spec": {"cpu": "10m", "memory": "256Mi", **spec},
    }


def program_job(
    name: str, image: str, machine: str, program: str, *arguments: str, namespace: str = "vision", **spec: Any
) -> dict[str, Any]:
    """A TrainingJob that runs `python -c program arguments…`; keywords are fields of the spec (camelCase)."""
    container = {"image": image, "command": ["python", "-c", program], "args": list(arguments)}
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "trainer": {"container": container},
            "scaleTier": "CUSTOM",
            "roles": {names.ROLE_CHIEF: {"machineType": machine}},
            **spec,
        },
    }


class Jobs:
    """Jobs that are submitted together: most of what they do is to wait."""

    def __init__(self, cluster: Any) -> None:
        self.cluster, self.word = cluster, f"t{uuid.uuid4().hex[:8]}"
        self.machine, self.image = self.word, cluster.deployment.images()["fovea"]
        self.submitted: list[str] = []

    @classmethod
    @contextmanager
    def of(cls, cluster: Any) -> Iterator["Jobs"]:
        """Jobs on a machine type of their own; at the end all are deleted."""
        made = cls(cluster)
        try:
            cluster.apply(machine_type(made.machine, memory="1Gi"))
            yield made
        finally:
            quiet = ("--ignore-not-found", "--wait=false")
            if made.submitted:
                cluster.kubectl("delete", "trainingjob", *made.submitted, "-n", NAMESPACE, *quiet)
            cluster.kubectl("delete", "machinetype", made.machine, *quiet)

    def name(self, what: str) -> str:
        """Name of a job."""
        return f"{self.word}-{what}"

    def submit(self, what: str, program: str, *arguments: str, **spec: Any) -> str:
        """Create a job; returns its name."""
        name = self.name(what)
        self.submitted.append(name)
        self.cluster.apply(program_job(name, self.image, self.machine, program, *arguments, **spec))
        return name

    def pods(self, job: str) -> list[dict[str, Any]]:
        """A job's pods."""
        found: list[dict[str, Any]] = self.cluster.list("pods", NAMESPACE, of_job(job))
        return found

    def started(self, job: str) -> None:
        """Wait until the program writes its log."""
        self.cluster.wait_for_state(job, "RUNNING")
        until(
            lambda: self.cluster.kubectl("logs", pod_name(job), "-n", NAMESPACE, "-c", "trainer", check=False),
            seconds=60,
            what=f"first line of {job}",
        )

    def patch(self, job: str, spec: dict[str, Any]) -> None:
        """kubectl patch."""
        merge = json.dumps({"spec": spec})
        self.cluster.kubectl("patch", "trainingjob", job, "-n", NAMESPACE, "--type=merge", "-p", merge)
