"""How far the program is: the agent's report becomes part of the status."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import TypedDict

from fovea_api.contract.metrics import LONGEST_NAME, chosen
from fovea_api.contract.progress import MAX_COUNT
from fovea_api.contract.report import ProgressReport
from fovea_api.v1alpha1.training_job_status import BestCheckpointStatus, CheckpointStatus, ProgressStatus

from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.counts import counted

MAX_LEFT_OUT = 1000
"""Characters of what an agent says about what it does not publish."""


SIGNIFICANT = 6
"""Digits of a metric in a status that changes all the time. Final metrics are kept as they are."""


class Reported(TypedDict, total=False):
    """Fields of a status that come from the reports of a pod's agent."""

    progress: ProgressStatus
    checkpoint: CheckpointStatus
    best_checkpoint: BestCheckpointStatus


def fields(report: ProgressReport | None) -> Reported:
    """Fields of the status that the latest report changes; none without one."""
    found = Reported()
    if report is None:
        return found
    step, published = counted(report.step), counted(report.checkpoint_step)
    if step is not None:
        metrics, left_out = kept(report.metrics, report.metrics_left_out)
        metrics = {name: _rounded(value) for name, value in metrics.items()}
        steps = counted(report.steps)
        found["progress"] = ProgressStatus(
            summary=str(step) if steps is None else f"{step}/{steps}",
            step=step,
            steps=steps,
            epoch=counted(report.epoch),
            epochs=counted(report.epochs),
            metrics=metrics or None,
            metrics_left_out=left_out or None,
        )
    if published is not None:
        time = times.parse(str(report.checkpoint_time))
        found["checkpoint"] = CheckpointStatus(
            step=published, digest=str(report.checkpoint_digest), time=times.text(time) if time else None
        )
    return found


def best(report: ProgressReport | None) -> Reported:
    """The field of the status that an evaluator's report changes; nothing where it names no best checkpoint."""
    step, value = (counted(report.best_step), _finite(report.best_value)) if report is not None else (None, None)
    if report is None or step is None or value is None or not isinstance(report.best_metric, str):
        return Reported()
    name = report.best_metric[:LONGEST_NAME]
    return Reported(best_checkpoint=BestCheckpointStatus(step=step, metric=name, value=value)) if name else Reported()


def store_unreachable_since(report: ProgressReport | None) -> datetime | None:
    """Since when the pod's agent cannot reach the object store; None while it can."""
    return times.parse(str(report.store_unreachable_since)) if report and report.store_unreachable_since else None


def left_out(report: ProgressReport | None) -> str:
    """A sentence, with a space before it, on what the pod's agent does not publish; empty when it leaves nothing out."""
    said = str(report.left_out).strip()[:MAX_LEFT_OUT] if report else ""
    return f" Not published: {said}." if said else ""


def kept(metrics: object, left_out: object = 0, *, first: str = "") -> tuple[dict[str, float], int]:
    """What a Kubernetes object holds of some metrics, and how many it does not: JSON has no NaN, and all has a bound.

    `left_out`: how many had been left out before. `first`: the metric that is kept before all others.
    """
    before = counted(left_out) or 0
    if not isinstance(metrics, Mapping):
        return {}, before
    numbers = {str(name): number for name, value in metrics.items() if (number := _finite(value)) is not None}
    held = chosen(numbers, first=first)
    return held, min(before + len(metrics) - len(held), MAX_COUNT)


def _rounded(value: float) -> float:
    """What a program computes in float32 has some seven digits; as float64 it is written with seventeen."""
    return value if value.is_integer() else float(f"{value:.{SIGNIFICANT}g}")


def _finite(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:  # an integer that no float can hold
        return None
    return number if math.isfinite(number) else None
