"""Variables of programs and model servers about GPUs, on machine types with and without some."""

from typing import Any

import pytest
from fovea_api.contract import environment
from fovea_api.v1alpha1 import MachineType
from fovea_operator.desired.deployment import revision, version_deployment
from fovea_operator.desired.members import Member
from fovea_operator.desired.pod import Sources, training_pod
from support.observations import GPU, SETTINGS, job, machine, version
from support.serving_observations import model_deployment

OTHER_VENDOR = machine("others", gpus={"count": 1, "resource": "example.com/gpu"})


def of_a_trainer(machine_type: MachineType, *env: dict[str, str]) -> dict[str, str]:
    trainer: dict[str, Any] = {"container": {"image": "registry.example.com/train:1", "env": list(env)}}
    pod = training_pod(job(trainer=trainer), Member(), 0, machine_type, Sources(), SETTINGS)
    [container] = pod["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def of_a_server(machine_type: MachineType) -> dict[str, str]:
    of, served = model_deployment(), version(3)
    made = version_deployment(of, served, revision(of, served), machine_type, SETTINGS)
    [container] = made["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


@pytest.mark.parametrize("environment_of", [of_a_trainer, of_a_server])
def test_a_container_without_gpus_sees_none_of_its_node(environment_of: Any) -> None:
    made = environment_of(machine())
    assert made["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert environment.GPUS not in made
    assert "TF_FORCE_GPU_ALLOW_GROWTH" not in made


@pytest.mark.parametrize("machine_type", [GPU, OTHER_VENDOR])
@pytest.mark.parametrize("environment_of", [of_a_trainer, of_a_server])
def test_which_gpus_a_container_sees_is_left_to_the_device_plugin(
    environment_of: Any, machine_type: MachineType
) -> None:
    made = environment_of(machine_type)
    assert "NVIDIA_VISIBLE_DEVICES" not in made
    assert made["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"


def test_gpus_are_promised_to_a_trainer() -> None:
    assert of_a_trainer(GPU)["FOVEA_GPUS"] == "2"
    assert of_a_trainer(OTHER_VENDOR)["FOVEA_GPUS"] == "1"


@pytest.mark.parametrize(
    ("machine_type", "name"), [(GPU, "TF_FORCE_GPU_ALLOW_GROWTH"), (machine(), "NVIDIA_VISIBLE_DEVICES")]
)
def test_the_job_s_own_value_wins(machine_type: MachineType, name: str) -> None:
    assert of_a_trainer(machine_type, {"name": name, "value": "own"})[name] == "own"
