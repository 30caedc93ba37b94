"""Roles of a training job: which pods it has, and on which machines. A scale tier is a named set of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field

from fovea_api.contract import names

from .common import MachineTypeName, Model

Distribution = Literal["Single", "ParameterServer", "MultiWorkerMirrored"]
ScaleTier = Literal["BASIC", "BASIC_GPU", "STANDARD_1", "PREMIUM_1", "CUSTOM"]


class Role(Model):
    """Machine type of a role."""

    machine_type: MachineTypeName | None = None
    """MachineType of the role's pods. Absent: the default MachineType."""


class Workers(Role):
    """Pods that train beside the chief."""

    count: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of pods."""


class ParameterServers(Role):
    """Pods that hold the weights."""

    count: Annotated[int, Field(ge=1, le=32)] = 1
    """Number of pods."""


class Evaluator(Role):
    """The pod that measures checkpoints."""

    count: Annotated[int, Field(ge=1, le=1)] = 1
    """Number of pods: 1."""


class Roles(Model):
    """Roles of the job."""

    chief: Role = Field(default_factory=Role, json_schema_extra={"default": {}})
    """The pod that leads the training, checkpoints and publishes. It trains as well, except with distribution ParameterServer."""
    worker: Workers | None = None
    """Pods that train beside the chief; distributions ParameterServer and MultiWorkerMirrored need them."""
    ps: ParameterServers | None = None
    """Parameter servers: pods that hold the weights; distribution ParameterServer needs them."""
    evaluator: Evaluator | None = None
    """The pod that measures each published checkpoint on the validation data and names the best one, with any distribution. The job
    does not wait for it, and does not fail with it."""


@dataclass(frozen=True)
class Pods:
    """The pods of a role."""

    count: int
    machine_type: str | None
    """Name of the MachineType; None: the default one."""


_TIERS: Mapping[str, Mapping[str, Pods]] = MappingProxyType(
    {
        "BASIC": {names.ROLE_CHIEF: Pods(1, None)},
        "BASIC_GPU": {names.ROLE_CHIEF: Pods(1, "standard-gpu")},
        "STANDARD_1": {
            names.ROLE_CHIEF: Pods(1, "complex-model-s"),
            names.ROLE_WORKER: Pods(4, "complex-model-s"),
            names.ROLE_PS: Pods(3, "standard"),
        },
        "PREMIUM_1": {
            names.ROLE_CHIEF: Pods(1, "complex-model-m"),
            names.ROLE_WORKER: Pods(19, "complex-model-m"),
            names.ROLE_PS: Pods(11, "large-model"),
        },
    }
)
"""Cloud ML's, with its names of machine types."""


def pods_by_role(distribution: Distribution, scale_tier: ScaleTier | None, roles: Roles | None) -> dict[str, Pods]:
    """The pods of a job, the chief's first. A tier's parameter servers are left out where the distribution has none."""
    if roles is None:
        found = dict(_TIERS[scale_tier or "BASIC"])
    else:
        found = {names.ROLE_CHIEF: Pods(1, roles.chief.machine_type)}
        for role, given in ((names.ROLE_WORKER, roles.worker), (names.ROLE_PS, roles.ps)):
            if given is not None:
                found[role] = Pods(given.count, given.machine_type)
    if distribution != "ParameterServer":
        found.pop(names.ROLE_PS, None)
    if distribution == "Single":
        found = {names.ROLE_CHIEF: found[names.ROLE_CHIEF]}
    if roles is not None and roles.evaluator is not None:
        found[names.ROLE_EVALUATOR] = Pods(1, roles.evaluator.machine_type)
    return found
