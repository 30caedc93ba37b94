"""Which task of a distributed job a process is."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Self

from fovea_api.contract import environment
from fovea_api.contract.cluster_spec import ClusterSpec

from fovea_trainers.errors import TrainerError


def cluster(variables: Mapping[str, str]) -> ClusterSpec | None:
    """What TF_CONFIG says; None in a single process. Raises TrainerError when it is malformed."""
    try:
        return ClusterSpec.from_env(variables.get(environment.TF_CONFIG))
    except ValueError as error:
        raise TrainerError(f"environment variable TF_CONFIG: {error}; unset it to train in one process") from error


class Role(StrEnum):
    """What a process of a job does, in TF_CONFIG's words."""

    CHIEF = "chief"
    WORKER = "worker"
    PS = "ps"
    EVALUATOR = "evaluator"

    @classmethod
    def of(cls, spec: ClusterSpec | None) -> Self:
        """Without a chief (or `master`, its old name) in the cluster, worker 0 is the chief.

        Raises TrainerError for an unknown type of task.
        """
        if spec is not None and spec.role == cls.EVALUATOR:
            return cls.EVALUATOR
        if spec is None or spec.tasks == 1 or spec.role == "master":
            return cls("chief")
        if spec.role not in set(cls):
            raise TrainerError(f"TF_CONFIG: task type {spec.role!r} is none of {', '.join(cls)}")
        leads = spec.role == "worker" and spec.index == 0 and not {"chief", "master"} & spec.cluster.keys()
        return cls("chief" if leads else spec.role)
