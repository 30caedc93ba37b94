"""Where and as what a recipe runs: made once from the environment, before the recipe begins."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from fovea_api.contract import environment

from fovea_trainers.common_flags import TrainingFlags
from fovea_trainers.runtime import devices, placement, roles, scratch
from fovea_trainers.runtime.checkpoints import Checkpoints
from fovea_trainers.runtime.interruption import Interruption
from fovea_trainers.runtime.progress import Reporter, say
from fovea_trainers.runtime.roles import Role
from fovea_trainers.runtime.strategy import Strategy
from fovea_trainers.runtime.workspace import Workspace


@dataclass(frozen=True)
class Session:
    """What a recipe needs of its surroundings.

    Only the chief and the evaluator write: the workspace of every other role has scratch folders in the place of those for results.
    """

    recipe: str
    role: Role
    workspace: Workspace
    strategy: Strategy
    interruption: Interruption
    reporter: Reporter
    checkpoints: Checkpoints
    gpus: tuple[devices.Gpu, ...] = ()
    """Of this process."""

    @classmethod
    def begin(
        cls, recipe: str, config: TrainingFlags, variables: Mapping[str, str], interruption: Interruption
    ) -> Self:
        """Read the contract's variables, make the directories, find the devices, set the seeds.

        Raises TrainerError for an environment in which no recipe can run.
        """
        workspace = Workspace.from_environment(variables)
        spec = roles.cluster(variables)
        role = Role.of(spec)
        if role is Role.EVALUATOR:
            workspace = workspace.evaluating(scratch.make())
        elif role is not Role.CHIEF:
            # In a pod it is the member's own, and its agent reports it; on one machine all share the chief's.
            workspace = workspace.scratch(scratch.make(), own_progress=bool(variables.get(environment.PROGRESS_FILE)))
        workspace.prepare()
        _make_repeatable(config.seed, jit=config.jit)
        gpus = devices.gpus(workspace.gpus)
        trains = role is not Role.EVALUATOR  # which has no updates
        if config.mixed_precision and trains:
            devices.require_bfloat16(gpus)
        _begin_precision(mixed=config.mixed_precision)
        place = placement.select(spec, role, len(gpus), interruption, variables, jit=config.jit and trains)
        if len(gpus) > 1:
            say(f"each of {len(gpus)} GPUs takes its share of the --batch-size={config.batch_size} of a step")
        return cls(
            recipe,
            role,
            workspace,
            place,
            interruption,
            Reporter(workspace.progress, stream=None if role in (Role.CHIEF, Role.EVALUATOR) else io.StringIO()),
            Checkpoints(workspace.checkpoints, keep=workspace.checkpoint_keep, job=workspace.job),
            tuple(gpus),
        )


def _begin_precision(*, mixed: bool) -> None:
    from fovea_trainers.runtime import precision

    precision.begin(mixed)


def _make_repeatable(seed: int, *, jit: bool) -> None:
    import keras
    import tensorflow as tf

    if not jit:  # XLA refuses operations such as the gradient of pooling with it
        tf.config.experimental.enable_op_determinism()  # a resumed run ends with the bytes of an undisturbed one
    keras.utils.set_random_seed(seed)
