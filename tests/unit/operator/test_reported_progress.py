"""What of a pod's progress report reaches the status: anything may stand in a report."""

import json
from dataclasses import replace

import pytest
from fovea_api.contract.report import ProgressReport
from fovea_operator.reconcile.training import progress

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
    assert progress.kept(metrics) == ({"loss": 1.0}, 6)


MANY = {f"train/{name}": float(number) for number, name in enumerate(map(str, range(999, -1, -1)))}


def test_of_too_many_metrics_the_first_ones_stay_validation_before_them_and_the_status_says_how_many_went() -> None:
    said = ProgressReport(step=1, metrics=MANY | {"val/accuracy": 0.5, "val_loss": 2.0, "accuracy": 0.6, "loss": 1.0})
    status = progress.fields(ProgressReport.from_json(said.to_json()))["progress"].dump()
    first = list(MANY)[:60]
    assert list(status["metrics"]) == [*first, "val/accuracy", "val_loss", "accuracy", "loss"]
    assert status["metricsLeftOut"] == 940


@pytest.mark.parametrize("left_out", [-1, float("nan"), "many", HUGE, None, [3]])
def test_a_number_of_left_out_metrics_that_cannot_be_is_none(left_out: object) -> None:
    assert progress.kept({"loss": 1.0}, left_out) == ({"loss": 1.0}, 0)


SUMMARIES = {
    "of the planned ones": (ProgressReport(step=120, steps=500), "120/500"),
    "where none are planned": (ProgressReport(step=120), "120"),
    "where the planned ones cannot be": (ProgressReport(step=120, steps=-1), "120"),
}


@pytest.mark.parametrize(("report", "summary"), SUMMARIES.values(), ids=SUMMARIES.keys())
def test_the_steps_are_summed_up_for_a_column(report: ProgressReport, summary: str) -> None:
    assert progress.fields(report)["progress"].summary == summary


ROUNDED = {
    "a float32": (0.31234567523002625, 0.312346),
    "a small one": (1.23456789e-7, 1.23457e-7),
    "a count": (123456789.0, 123456789.0),
    "few digits": (0.25, 0.25),
}


@pytest.mark.parametrize(("said", "shown"), ROUNDED.values(), ids=ROUNDED.keys())
def test_metrics_of_the_progress_have_six_digits(said: float, shown: float) -> None:
    assert progress.fields(ProgressReport(step=1, metrics={"loss": said}))["progress"].metrics == {"loss": shown}
