"""TFJobs of programs that know nothing of Fovea: each is imported, submitted and run as it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.local_jobs import machine_type
from support.polling import until
from support.team_jobs import TeamJobs, team_jobs

PROGRAMS = Path(__file__).parents[1] / "data/tfjobs"
MACHINE, NAMESPACE = "moving-in", "vision"
FLAGS = [
    "--ps_hosts=$(FOVEA_PS_HOSTS)",
    "--worker_hosts=$(FOVEA_WORKER_HOSTS)",
    "--job_name=$(FOVEA_JOB_NAME)",
    "--task_index=$(FOVEA_TASK_INDEX)",
]
TFJOBS: dict[str, tuple[dict[str, int], list[str], dict[str, str]]] = {
    "mirrored_workers": (
        {"Worker": 2},
        ["--train_steps=100"],
        {"chief-0": "chief 0 of 2: accuracy 0.9", "worker-0": "worker 0 of 2: accuracy 0.9"},
    ),
    "parameter_servers": ({"Chief": 1, "Worker": 1, "PS": 1}, [], {"chief-0": "chief: added up to 20"}),
    "between_graphs": ({"Worker": 2, "PS": 1}, FLAGS, {"chief-0": "worker 0: loss 0.0"}),
}
"""Replicas of each type, arguments, and what members print, by the name of the program."""


def tfjob(name: str, image: str, program: str) -> dict[str, Any]:
    """As a user of Kubeflow has it."""
    replicas, arguments, _ = TFJOBS[program]
    container = {
        "name": "tensorflow",
        "image": image,
        "command": ["python3", f"/programs/{program}.py"],
        "args": arguments,
        "env": [{"name": "TF_CPP_MIN_LOG_LEVEL", "value": "2"}],
        "volumeMounts": [{"name": "programs", "mountPath": "/programs", "readOnly": True}],
    }
    volumes = [{"name": "programs", "configMap": {"name": MACHINE}}]
    template = {"spec": {"containers": [container], "volumes": volumes}}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "tfReplicaSpecs": {
                role: {"replicas": count, "restartPolicy": "OnFailure", "template": template}
                for role, count in replicas.items()
            }
        },
    }


@pytest.fixture(scope="module")
def team(cluster: Any) -> Iterator[TeamJobs]:
    """With the programs in a ConfigMap."""
    files = (f"--from-file={path}" for path in sorted(PROGRAMS.glob("*.py")))
    cluster.kubectl("create", "configmap", MACHINE, *files, "-n", NAMESPACE)
    cluster.apply(machine_type(MACHINE, cpu="100m", memory="1Gi"))
    with team_jobs(cluster) as jobs:
        yield jobs
    cluster.kubectl("delete", "configmap", MACHINE, "-n", NAMESPACE)
    cluster.kubectl("delete", "machinetype", MACHINE, "--wait=false")


@pytest.mark.parametrize(
    "program",
    ["mirrored_workers", *(pytest.param(name, marks=pytest.mark.wide) for name in list(TFJOBS)[1:])],
)
def test_the_program_of_a_tfjob_runs_as_it_is(
    cluster: Any, team: TeamJobs, images: dict[str, str], unique: str, tmp_path: Path, program: str
) -> None:
    source = tmp_path / "tfjob.yaml"
    source.write_text(yaml.safe_dump(tfjob(unique, images["fovea-tensorflow"], program)))
    machines = [f"--machine-type={role}={MACHINE}" for role in ("chief", "worker", "ps")]
    made = yaml.safe_load(cluster.fovea("jobs", "import", str(source), *machines).stdout)
    team.submit(unique, made["spec"])

    team.ended(unique, seconds=300)

    for member, text in TFJOBS[program][2].items():

        def said(member: str = member) -> str:
            command = ("jobs", "stream-logs", unique, "--task-name", member, "--no-follow", "-n", NAMESPACE)
            return str(cluster.fovea(*command).stdout)

        # A worker that ends after the chief goes with the job, and its sidecar publishes its log then.
        until(lambda text=text, said=said: text in said(), seconds=60, what=f"{member} said {text}")
