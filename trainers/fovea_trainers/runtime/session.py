"""Where and as what a recipe runs: made once from the environment, before the recipe begins."""

import atexit
import io
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fovea_trainers.common_flags import TrainingFlags
from fovea_trainers.runtime import devices, placement, roles
from fovea_trainers.runtime.checkpoints import Checkpoints
from fovea_trainers.runtime.interruption import Interruption
from fovea_trainers.runtime.progress import Reporter, say
from fovea_trainers.runtime.roles import Role
from fovea_trainers.runtime.strategy import Strategy
from fovea_trainers.runtime.workspace import Workspace


@dataclass(frozen=True)
class Session:
    """What a recipe needs of its surroundings.

    Only the chief writes: the workspace of every other role has scratch folders in the place of those for results.
    """

    recipe: str
    role: Role
    workspace: Workspace
    strategy: Strategy
    interruption: Interruption
    reporter: Reporter
    checkpoints: Checkpoints

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
        if role is not Role.CHIEF:
            folder = tempfile.mkdtemp(prefix="fovea-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            workspace = workspace.scratch(Path(folder))
        workspace.prepare()
        _make_repeatable(config.seed)
        gpus = devices.gpus(workspace.gpus)
        place = placement.select(spec, role, gpus, interruption, variables)
        if gpus > 1:
            say(f"training on {gpus} GPUs: each takes its share of the --batch-size={config.batch_size} of a step")
        return cls(
            recipe,
            role,
            workspace,
            place,
            interruption,
            Reporter(workspace.progress, stream=None if role is Role.CHIEF else io.StringIO()),
            Checkpoints(workspace.checkpoints, keep=workspace.checkpoint_keep, job=workspace.job),
        )


def _make_repeatable(seed: int) -> None:
    import keras
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()  # a resumed run ends with the bytes of an undisturbed one
    keras.utils.set_random_seed(seed)
