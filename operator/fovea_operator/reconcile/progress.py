"""How far the program is: the agent's report becomes part of the status."""

import math
from collections.abc import Mapping
from typing import Any

from fovea_api.contract.report import ProgressReport
from fovea_api.v1alpha1.training_job import CheckpointStatus, ProgressStatus

MAX_METRICS = 64


def fields(report: ProgressReport | None) -> dict[str, Any]:
    """Fields of the status that the latest report changes; none without one."""
    found: dict[str, Any] = {}
    if report is None:
        return found
    if report.step is not None:
        found["progress"] = ProgressStatus(
            step=report.step,
            steps=report.steps,
            epoch=report.epoch,
            epochs=report.epochs,
            metrics=finite(report.metrics) or None,
        )
    if report.checkpoint_step is not None:
        found["checkpoint"] = CheckpointStatus(
            step=report.checkpoint_step, digest=report.checkpoint_digest, time=report.checkpoint_time or None
        )
    return found


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """What a Kubernetes object can hold of some metrics: JSON has no NaN, and everything stored has a bound."""
    kept = {name: float(value) for name, value in metrics.items() if math.isfinite(value) and 0 < len(name) <= 128}
    return dict(list(kept.items())[:MAX_METRICS])
