"""What of a pod's progress report reaches the status: anything may stand in a report."""

import json
from dataclasses import replace

import pytest
from fovea_api.contract.report import ProgressReport
from fovea_operator.reconcile import progress

HUGE = int("1" + "0" * 400)


@pytest.mark.parametrize(
    "value", [float("inf"), float("nan"), pytest.param(HUGE, id="huge"), 2**53 + 1, -1, True, "7", [7]]
)
def test_a_count_that_cannot_be_is_left_out(value: object) -> None:
    said = replace(ProgressReport(step=7), steps=value, epoch=value)  # type: ignore[arg-type]
    status = progress.fields(said)["progress"]
    assert (status.step, status.steps, status.epoch) == (7, None, None)


def test_a_report_whose_step_cannot_be_changes_nothing() -> None:
    assert progress.fields(ProgressReport.from_json(json.dumps({"step": HUGE, "checkpoint_step": HUGE}))) == {}


def test_metrics_that_no_float_holds_are_left_out() -> None:
    metrics = {"loss": 1, "huge": HUGE, "nan": float("nan"), "infinite": float("inf"), "": 1, "long" * 50: 1, "x": "1"}
    assert progress.finite(metrics) == {"loss": 1.0}
