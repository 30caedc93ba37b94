"""A model on a whole set: totals added up on the host, and the metrics that follow from them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from fovea_trainers.runtime.graph import traced
from fovea_trainers.runtime.totals import LOSS, Sums, Total

__all__ = ["Evaluation", "Evaluator", "Sums"]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a set by name, among them `loss`, and the totals that they come from."""

    metrics: Mapping[str, float]
    totals: Sums

    @property
    def examples(self) -> int:
        """Size of the set: how many losses were counted."""
        return int(self.totals.counts[LOSS])

    def prefixed(self, prefix: str) -> dict[str, float]:
        """Metrics by longer names: val_loss, …"""
        return {f"{prefix}{name}": value for name, value in self.metrics.items()}


class Evaluator:
    """Runs `evaluate`, written for one batch, over sets: traced once, not at every evaluation."""

    def __init__(
        self,
        evaluate: Callable[..., Mapping[str, Total]],
        signature: Sequence[tf.TensorSpec],
        metrics: Callable[[Sums], Mapping[str, float]],
    ) -> None:
        self._step = traced(*signature)(evaluate)
        self._metrics = metrics

    def __call__(self, batches: Iterable[tuple[Any, ...]], check: Callable[[], None] = lambda: None) -> Evaluation:
        """The model as it is now on these batches; `check` may raise to give up.

        Raises ValueError when the recipe's metrics have no loss.
        """
        sums: dict[str, Array] = {LOSS: np.zeros(())}  # an empty set, too, has one
        counts: dict[str, float] = {LOSS: 0.0}
        for batch in batches:
            check()
            for name, (values, count) in self._step(*batch).items():
                wide = np.int64 if values.dtype.is_integer else np.float64
                sums[name] = sums.get(name, np.zeros((), wide)) + values.numpy().astype(wide)
                counts[name] = counts.get(name, 0.0) + float(count)
        totals = Sums(sums, counts)
        metrics = dict(self._metrics(totals))
        if LOSS not in metrics:
            raise ValueError(f"an evaluation has the metrics {', '.join(metrics)}: one must have the name {LOSS!r}")
        return Evaluation(metrics, totals)
