"""Numbers of pods by role, the distribution that they need, and the fields that say so."""

from dataclasses import dataclass
from typing import Any

from fovea_api.v1alpha1.roles import Distribution, ParameterServers, Workers

from fovea.sdk.errors import InvalidError

from .draft import Key
from .source import Field


def _most(role: type[Workers] | type[ParameterServers]) -> int:
    return int(role.model_json_schema()["properties"]["count"]["maximum"])


def check_count(role: str, field: Field | None, count: int) -> None:
    """InvalidError if a job would have more pods of a role than it may have; `field` is the number in the source."""
    most = _most(Workers if role == "worker" else ParameterServers)
    if field and count > most:
        beside = "" if count == field.whole() else ", one more as the chief"
        raise field.error(
            f"is {field.value}: a TrainingJob has at most {most} pods of role {role}{beside}; lower the number"
        )


@dataclass(frozen=True)
class Shape:
    """The pods of a job: one chief always, and what stands beside it."""

    workers: int = 0
    servers: int = 0
    evaluator: bool = False

    def __post_init__(self) -> None:
        if self.servers and not self.workers:
            raise InvalidError(
                "the job has parameter servers and no workers: a TrainingJob with parameter servers needs workers, "
                "add at least one, or remove the parameter servers"
            )

    @property
    def distribution(self) -> Distribution:
        """What a job with these roles is to Fovea."""
        if self.servers:
            return "ParameterServer"
        return "MultiWorkerMirrored" if self.workers else "Single"

    @property
    def pods(self) -> int:
        """How many pods train."""
        return 1 + self.workers + self.servers

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that have pods."""
        present = {"chief": True, "worker": self.workers > 0, "ps": self.servers > 0, "evaluator": self.evaluator}
        return tuple(role for role, is_there in present.items() if is_there)

    def values(self, machines: dict[str, str]) -> dict[Key, Any]:
        """Fields of the manifest; `machines`: the MachineType of each role that does not have the default one."""
        values: dict[Key, Any] = {}
        if self.distribution != "Single":
            values["spec", "distribution"] = self.distribution
            values["spec", "roles", "chief"] = {}
        if self.evaluator:
            values["spec", "roles", "evaluator"] = {}
        for role, count in (("chief", 0), ("worker", self.workers), ("ps", self.servers), ("evaluator", 0)):
            if count:
                values["spec", "roles", role, "count"] = count
            if role in machines and role in self.roles:
                values.pop(("spec", "roles", role), None)
                values["spec", "roles", role, "machineType"] = machines[role]
        return values

    def __str__(self) -> str:
        parts = ["1 chief"]
        if self.workers:
            parts.append(f"{self.workers} worker{'s' if self.workers > 1 else ''}")
        if self.servers:
            parts.append(f"{self.servers} parameter server{'s' if self.servers > 1 else ''}")
        if self.evaluator:
            parts.append("1 evaluator")
        return f"{self.distribution}: {', '.join(parts)}"
