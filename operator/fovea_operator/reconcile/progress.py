"""How far the program is: the agent's report becomes part of the status."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fovea_api.contract.progress import MAX_COUNT
from fovea_api.contract.report import ProgressReport
from fovea_api.v1alpha1.training_job_status import CheckpointStatus, ProgressStatus

from fovea_operator.reconcile import times

MAX_METRICS = 64
MAX_METRIC_NAME = 128


def fields(report: ProgressReport | None) -> dict[str, Any]:
    """Fields of the status that the latest report changes; none without one."""
    found: dict[str, Any] = {}
    if report is None:
        return found
    step, published = _count(report.step), _count(report.checkpoint_step)
    if step is not None:
        found["progress"] = ProgressStatus(
            step=step,
            steps=_count(report.steps),
            epoch=_count(report.epoch),
            epochs=_count(report.epochs),
            metrics=finite(report.metrics) or None,
        )
    if published is not None:
        time = times.parse(str(report.checkpoint_time))
        found["checkpoint"] = CheckpointStatus(
            step=published, digest=str(report.checkpoint_digest), time=times.text(time) if time else None
        )
    return found


def store_unreachable_since(report: ProgressReport | None) -> datetime | None:
    """Since when the pod's agent cannot reach the object store; None while it can."""
    return times.parse(str(report.store_unreachable_since)) if report and report.store_unreachable_since else None


def _count(value: object) -> int | None:
    """A report is what a pod says: anything may stand in it."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return int(value) if 0 <= value <= MAX_COUNT else None  # neither NaN nor an infinity lies between


def finite(metrics: object) -> dict[str, float]:
    """What a Kubernetes object can hold of some metrics: JSON has no NaN, and everything stored has a bound."""
    if not isinstance(metrics, Mapping):
        return {}
    numbers = {str(name): _finite(value) for name, value in metrics.items() if 0 < len(str(name)) <= MAX_METRIC_NAME}
    kept = [(name, number) for name, number in numbers.items() if number is not None]
    return dict(kept[:MAX_METRICS])


def _finite(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:  # an integer that no float can hold
        return None
    return number if math.isfinite(number) else None
