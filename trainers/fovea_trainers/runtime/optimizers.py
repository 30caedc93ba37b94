"""Optimizers by the names of the flags; only `build` imports Keras, so a recipe's flags may name them without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fovea_trainers.errors import FlagError

if TYPE_CHECKING:
    import keras

NAMES = ("sgd", "adadelta", "adagrad", "adam", "adamw", "ftrl", "rmsprop")
WITH_MOMENTUM = ("sgd", "rmsprop")


def state(name: str, momentum: float) -> str:
    """What variables an optimizer has: equal texts mean that one can go on with the variables of the other."""
    return f"{name} with momentum" if name in WITH_MOMENTUM and momentum else name


def build(name: str, learning_rate: float, *, decay: float, momentum: float) -> keras.optimizers.Optimizer:
    """The optimizer with the schedule learning_rate / (1 + decay · step); momentum only where it has one."""
    import keras

    if name not in NAMES:
        raise FlagError(f"unknown optimizer {name}: one of {', '.join(NAMES)}")
    # Also without decay: Keras makes a plain rate a variable, which a checkpoint would put back to its old value.
    schedule = keras.optimizers.schedules.InverseTimeDecay(learning_rate, decay_steps=1, decay_rate=decay)
    extra = {"momentum": momentum} if name in WITH_MOMENTUM else {}
    return keras.optimizers.get({"class_name": name, "config": {"learning_rate": schedule, **extra}})
