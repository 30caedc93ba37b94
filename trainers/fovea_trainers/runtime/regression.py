"""What models of numbers share: how far they are off, and what is served."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from fovea_api.contract import signatures

from fovea_trainers.runtime.evaluation import Evaluation, Sums
from fovea_trainers.runtime.totals import LOSS, Total, total

OUTPUTS = (signatures.PREDICTIONS_OUTPUT,)
"""Has a number for every example, which depends on that example alone."""
OFFSET, SPREAD = "offset", "spread"


def spread(labels: tf.Tensor, centre: float) -> Mapping[str, Total]:
    """How far labels [n] are from any fixed number near their mean, for `metrics`: sums of squares around 0 would lose digits."""
    away = labels - centre
    return {OFFSET: total(away), SPREAD: total(tf.square(away))}


def metrics(totals: Sums) -> dict[str, float]:
    """Loss (the mean squared error), mae and r2: the share of the labels' variance that the predictions explain."""
    ratios = totals.ratios()
    variance = ratios[SPREAD] - ratios[OFFSET] ** 2
    r2 = 1 - ratios[LOSS] / variance if variance > 0 else 0.0
    return {name: value for name, value in ratios.items() if name not in (OFFSET, SPREAD)} | {"r2": r2}


def report(evaluation: Evaluation, unit: str) -> dict[str, Any]:
    """A set in evaluation.json: its size in `unit`, and its metrics."""
    return {unit: evaluation.examples, **evaluation.metrics}


def answer(predictions: tf.Tensor) -> Mapping[str, tf.Tensor]:
    """The output of `fovea_api.contract.signatures` for numbers [n]."""
    return {signatures.PREDICTIONS_OUTPUT: predictions}
