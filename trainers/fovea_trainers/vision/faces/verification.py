"""How well similarities tell pairs of one person from pairs of two: counts that add up over batches, and what follows.

A similarity is the cosine of two embeddings. Pairs are counted by similarity in steps of 2^-14, which float32 holds
exactly: a threshold on a step decides from the counts what it decides from the similarities.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from fovea_trainers.errors import DataError
from fovea_trainers.runtime import pictures
from fovea_trainers.runtime.classification import auc
from fovea_trainers.runtime.evaluation import Evaluation, Sums
from fovea_trainers.runtime.totals import LOSS, Total

Array = np.ndarray[Any, Any]
SIMILARITIES = "similarities"
FALSE_ACCEPTS = (0.1, 0.01, 0.001)
"""Shares of pairs of two people that are taken for one, at which the share of recognised pairs of one is reported."""
_STEPS = 2**14
_LEVELS = 2 * _STEPS + 1


def cosine(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """float32 [n] of unit vectors [n, d]."""
    return tf.reduce_sum(left * right, axis=1)


def counted(similarity: tf.Tensor, same: tf.Tensor) -> Total:
    """How many pairs have which similarity, int64 [2, levels]: those of two people, then those of one; and their number.

    `similarity` float32 [n] in -1..1, `same` bool [n].
    """
    level = tf.cast(tf.floor(similarity * _STEPS), tf.int32) + _STEPS
    place = tf.cast(same, tf.int32) * _LEVELS + tf.clip_by_value(level, 0, _LEVELS - 1)
    counts = tf.math.bincount(place, minlength=2 * _LEVELS, maxlength=2 * _LEVELS, dtype=tf.int32)
    return tf.cast(tf.reshape(counts, [2, _LEVELS]), tf.int64), tf.size(similarity)


def metrics(totals: Sums) -> Mapping[str, float]:
    """What needs no threshold. The loss is 1 - AUC: how often a pair of two people is more similar than a pair of one."""
    counts = totals.sums[SIMILARITIES]
    area = auc(counts)
    rates = {f"tar_at_far_{far:g}": tar_at_far(counts, far) for far in FALSE_ACCEPTS}
    return {LOSS: 1 - area, "auc": area} | {name: rate for name, rate in rates.items() if rate is not None}


def tar_at_far(counts: Array, far: float) -> float | None:
    """The greatest share of pairs of one person that a threshold accepts which accepts at most `far` of the others.

    None where that cannot be measured: with fewer than 1 / far pairs of two people not even one may be accepted.
    """
    different, same = _accepted(counts)
    if not same[0] or different[0] * far < 1:
        return None
    return float(same[different <= different[0] * far].max() / same[0])


def threshold(counts: Array) -> float:
    """The similarity from which pairs are taken for one person with the fewest errors.

    Of several that are next to each other it is the one in the middle, of several such ranges the widest. `counts` are
    those of the validation set. Raises DataError where they have no pair of one kind: any threshold would do.
    """
    for pairs, kind in zip(counts.sum(axis=1), ("two people", "one person"), strict=True):
        if not pairs:
            raise DataError(
                f"no pair of {kind} of the validation set can be read, so no threshold can be chosen; repair the pictures that "
                "are named above, or give --threshold"
            )
    different, same = _accepted(counts)
    right = same + different[0] - different
    best = np.flatnonzero(right == right.max())
    ranges = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    widest = max(ranges, key=len)
    return float(widest[len(widest) // 2] - _STEPS) / _STEPS


def on_a_step(limit: float) -> float:
    """The nearest threshold on a step."""
    return round(limit * _STEPS) / _STEPS


def decided(counts: Array, limit: float) -> Array:
    """Confusion matrix int64 [2, 2] of a threshold: rows are two people and one, columns what was said of them."""
    accepted = np.array([one[_place(limit)] for one in _accepted(counts)])
    return np.stack([counts.sum(axis=1) - accepted, accepted], axis=1)


def judged(evaluation: Evaluation, limit: float) -> Evaluation:
    """The same evaluation with what a threshold decides: accuracy, and precision, recall and F1 of the class "same"."""
    (_, false_accepts), (false_rejects, accepts) = decided(evaluation.totals.sums[SIMILARITIES], limit).tolist()
    total = int(evaluation.totals.counts[SIMILARITIES])
    decisions = {
        "accuracy": (total - false_accepts - false_rejects) / max(total, 1),
        "precision": accepts / max(accepts + false_accepts, 1),
        "recall": accepts / max(accepts + false_rejects, 1),
        "f1": 2 * accepts / max(2 * accepts + false_accepts + false_rejects, 1),
    }
    return dataclasses.replace(evaluation, metrics={**evaluation.metrics, **decisions})


def report(evaluation: Evaluation, limit: float) -> dict[str, Any]:
    """A judged set in evaluation.json: pairs, metrics, what could not be measured, confusion matrix."""
    counts = evaluation.totals.sums[SIMILARITIES]
    different, same = counts.sum(axis=1).tolist()
    unmeasured = {
        f"tar_at_far_{far:g}": f"needs {round(1 / far)} pairs of two people, and has {different}"
        for far in FALSE_ACCEPTS
        if tar_at_far(counts, far) is None
    }
    return {
        "pairs": {"same": same, "different": different},
        **evaluation.metrics,
        "notMeasurable": unmeasured,
        "confusionMatrix": {
            "rows": "different, same",
            "columns": "said to be different, said to be same",
            "counts": decided(counts, limit).tolist(),
        },
    }


def confusion(evaluation: Evaluation, limit: float) -> bytes:
    """The confusion matrix as a PNG."""
    return pictures.confusion(decided(evaluation.totals.sums[SIMILARITIES], limit), ("two people", "one person"))


def roc(evaluations: Mapping[str, Evaluation], limit: float) -> bytes:
    """Share of recognised pairs of one person over that of accepted pairs of two, of each set, as a PNG."""

    def draw(axes: Any) -> None:
        for name, evaluation in evaluations.items():
            counts = evaluation.totals.sums[SIMILARITIES]
            rates = [accepted / max(accepted[0], 1) for accepted in _accepted(counts)]
            (line,) = axes.plot(*rates, label=f"{name}, AUC {evaluation.metrics['auc']:.3f}")
            axes.plot(*(rate[_place(limit)] for rate in rates), "o", color=line.get_color())
        axes.plot([0, 1], [0, 1], ":", color="grey")
        axes.set(xlabel="false accept rate", ylabel="true accept rate", title=f"ROC (dots: threshold {limit:.3f})")
        axes.grid(visible=True, alpha=0.3)
        axes.legend(loc="lower right")

    return pictures.plot(draw)


def _accepted(counts: Array) -> tuple[Array, Array]:
    """How many pairs of two people and of one each threshold accepts, int64 [levels + 1]; the last accepts none."""
    different, same = (np.append(np.cumsum(one[::-1])[::-1], 0) for one in counts)
    return different, same


def _place(limit: float) -> int:
    """Of a threshold among those of `_accepted`: the first step that is not below it."""
    return int(np.clip(np.ceil(limit * _STEPS) + _STEPS, 0, _LEVELS))
