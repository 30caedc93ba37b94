"""What a recipe of your own is written with (docs/how-to/own-recipe.md). These names stay; the modules behind them may move."""

from fovea_trainers.common_flags import EarlyStoppingFlags, OptimizerFlags, TrainingFlags, WeightsFlags
from fovea_trainers.data import order
from fovea_trainers.data.source import Source
from fovea_trainers.errors import DataError
from fovea_trainers.flags import flag
from fovea_trainers.runtime import export, optimizers, pictures, pretrained, results
from fovea_trainers.runtime.all_gather import all_gather
from fovea_trainers.runtime.export import Signature
from fovea_trainers.runtime.loop import train
from fovea_trainers.runtime.progress import say
from fovea_trainers.runtime.session import Session
from fovea_trainers.runtime.totals import mean, total
from fovea_trainers.runtime.training import Trained, Training, variables_of

__all__ = [
    "DataError",
    "EarlyStoppingFlags",
    "OptimizerFlags",
    "Session",
    "Signature",
    "Source",
    "Trained",
    "Training",
    "TrainingFlags",
    "WeightsFlags",
    "all_gather",
    "export",
    "flag",
    "mean",
    "optimizers",
    "order",
    "pictures",
    "pretrained",
    "results",
    "say",
    "total",
    "train",
    "variables_of",
]
