"""Which strategy a process has, and on which machine its variables are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fovea_api.contract import environment
from fovea_api.contract.cluster_spec import ClusterSpec

from fovea_trainers.errors import TrainerError
from fovea_trainers.runtime.interruption import Interruption
from fovea_trainers.runtime.roles import Role
from fovea_trainers.runtime.strategy import Single, Strategy
from fovea_trainers.runtime.workspace import count

PEER_SECONDS = 60
"""Where the contract's variable does not say how long another process may not answer."""


def select(
    spec: ClusterSpec | None,
    role: Role,
    gpus: int,
    interruption: Interruption,
    variables: Mapping[str, str],
    *,
    jit: bool = False,
) -> Strategy:
    """The strategy for a cluster, a role in it, and the number of GPUs that TensorFlow sees.

    `jit`: XLA compiles the step. A parameter server stays in here until the chief ends, and leaves as `Strategy.supply`
    does. Raises TrainerError for a cluster that no strategy takes, or whose steps XLA cannot compile.
    """
    tasks = 1 if spec is None or role is Role.EVALUATOR else spec.tasks
    if jit and (tasks > 1 or gpus > 1):
        several = f"{tasks} processes" if tasks > 1 else f"{gpus} GPUs"
        raise TrainerError(
            f"--jit compiles the step of one process with one device, and here are {several}, which exchange sums within a "
            "step: leave --jit out"
        )
    if spec is not None and tasks > 1:
        seconds = count(variables, environment.PEER_SECONDS) or PEER_SECONDS
        if "ps" in spec.cluster:
            progress = variables.get(environment.PROGRESS_FILE)
            return _with_parameter_servers(
                spec,
                role,
                interruption,
                seconds,
                sync=variables.get(environment.SYNC) == "1",
                progress=Path(progress) if progress else None,
            )
        from fovea_trainers.runtime.multi_worker import MultiWorker

        return MultiWorker(spec, seconds, gpus)
    if gpus > 1:
        from fovea_trainers.runtime.mirrored import Mirrored

        return Mirrored()
    return Single(jit=jit)


def io_device(variables: Iterable[Any]) -> str | None:
    """Where the files of variables are to be written and read, if not where the variables are.

    A parameter server would write into its own file system.
    """
    away = any("/job:ps/" in getattr(variable, "device", "") for variable in variables)  # tables and assets have none
    return "/job:chief/replica:0/task:0" if away else None


def _with_parameter_servers(
    spec: ClusterSpec, role: Role, interruption: Interruption, seconds: int, *, sync: bool, progress: Path | None
) -> Strategy:
    if role is Role.CHIEF and sync:
        from fovea_trainers.runtime.synchronous import Synchronous

        return Synchronous(spec, seconds)
    if role is Role.CHIEF:
        from fovea_trainers.runtime.parameter_server import ParameterServer

        return ParameterServer(spec, seconds)
    from fovea_trainers.runtime.server import Server

    server = Server(spec, interruption, seconds, leaves_alone=role is Role.WORKER and not sync, progress=progress)
    if role is Role.PS:
        server.serve()
    return server
