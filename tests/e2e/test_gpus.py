"""GPUs as a device plugin of our own advertises them: given to a job, exhausted, given back; and promised to a program that finds none."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fovea_api.contract import names
from fovea_dev.layout import Cluster as Embedded
from support.device_plugin import DevicePlugin, device_plugin
from support.jobs import condition
from support.local_jobs import machine_type
from support.polling import until
from support.team_jobs import TeamJobs, program

DEVICES = ("gpu-a", "gpu-b")
SAYS = """
names = ("NVIDIA_VISIBLE_DEVICES", "FOVEA_GPUS", "TF_FORCE_GPU_ALLOW_GROWTH")
print(json.dumps({name: os.environ[name] for name in names if name in os.environ}), flush=True)
"""


@dataclass(frozen=True)
class Gpus:
    """Two of them, and machine types with one and with both."""

    plugin: DevicePlugin
    one: str
    both: str


@pytest.fixture(scope="module")
def gpus(cluster: Any) -> Iterator[Gpus]:
    word = f"t{uuid.uuid4().hex[:8]}"
    resource = f"e2e.fovea.dev/gpu-{word}"
    one, both = f"{word}-one", f"{word}-both"
    with device_plugin(Embedded.from_environment().kubelet_root, resource, DEVICES) as plugin:
        for name, count in ((one, 1), (both, 2)):
            gpus = {"count": count, "resource": resource}
            cluster.apply(machine_type(name, memory="1Gi", gpus=gpus, sharedMemory="16Mi"))
        try:
            node = cluster.list("nodes", "default")[0]["metadata"]["name"]

            def advertised() -> bool:
                return bool(cluster.get("node", node, "default")["status"]["allocatable"].get(resource) == "2")

            until(advertised, seconds=60, what=f"the node advertises {resource}")
            yield Gpus(plugin, one, both)
        finally:
            cluster.kubectl("delete", "machinetype", one, both, "--ignore-not-found", "--wait=false")


def seen(jobs: TeamJobs, pod: str) -> dict[str, str]:
    """What a program has said of its environment."""
    said: dict[str, str] = json.loads(
        until(
            lambda: jobs.log(pod, names.TRAINER_CONTAINER).strip(), seconds=30, what=f"the first line of {pod}"
        ).splitlines()[0]
    )
    return said


def test_gpus_are_given_to_a_job_then_exhausted_then_given_back(
    gpus: Gpus, cluster: Any, jobs: TeamJobs, unique: str, images: dict[str, str]
) -> None:
    first = jobs.submit(f"{unique}-first", program(images["fovea"], gpus.both, SAYS + "told('never')"))
    promised = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "FOVEA_GPUS": "2"}
    assert seen(jobs, jobs.runs(first)) == {"NVIDIA_VISIBLE_DEVICES": "gpu-a,gpu-b", **promised}

    second = jobs.submit(f"{unique}-second", program(images["fovea"], gpus.one, SAYS))

    def waits() -> dict[str, Any] | None:
        status: dict[str, Any] = cluster.status(second)
        return status if f"Insufficient {gpus.plugin.resource}" in status.get("message", "") else None

    status = until(waits, seconds=60, what=f"{second} waits for a GPU")
    assert status["state"] == "QUEUED"
    assert condition({"status": status}, "Running")["reason"] == "Unschedulable"
    assert status["message"].startswith("No node takes the pod: 0/")

    cluster.fovea("jobs", "cancel", first, "-n", jobs.namespace)
    jobs.ended(first, "CANCELLED")
    jobs.ended(second)
    had = seen(jobs, jobs.pod(second, 0))
    assert had["NVIDIA_VISIBLE_DEVICES"] in DEVICES
    assert had["FOVEA_GPUS"] == "1"
    assert gpus.plugin.given == [list(DEVICES), [had["NVIDIA_VISIBLE_DEVICES"]]]


def test_a_program_without_gpus_sees_none_of_its_node(
    gpus: Gpus, jobs: TeamJobs, unique: str, images: dict[str, str], small_machine: str
) -> None:
    given = list(gpus.plugin.given)
    job = jobs.submit(unique, program(images["fovea"], small_machine, SAYS))
    jobs.ended(job)
    assert seen(jobs, jobs.pod(job, 0)) == {"NVIDIA_VISIBLE_DEVICES": "void"}
    assert gpus.plugin.given == given


def test_a_recipe_that_finds_none_of_its_gpus_fails_and_says_what_to_do(
    gpus: Gpus, jobs: TeamJobs, unique: str
) -> None:
    roles = {names.ROLE_CHIEF: {"machineType": gpus.one}}
    job = jobs.submit(unique, {"trainer": {"recipe": "image-classifier"}, "scaleTier": "CUSTOM", "roles": roles})
    status = jobs.ended(job, "FAILED")
    assert "the machineType has 1 GPU, but TensorFlow finds none" in status["message"]
    assert "images.trainerGpu" in status["message"]
    assert status.get("retries") is None, "the image is the same on every node"
