"""What a progress report says, and which numbers of an evaluation are recorded."""

import json
import threading
from pathlib import Path

import pytest
from fovea_agent.evaluation import metrics_of
from fovea_agent.report import Checkpointed, Reporter, build_report, last_progress
from fovea_api.contract.progress import Progress
from fovea_api.contract.report import ProgressAnswer, ProgressReport, Termination


@pytest.mark.parametrize(
    ("tail", "step"),
    [
        pytest.param(b"", None, id="nothing"),
        pytest.param(b'{"step": 1}', None, id="a line that is still being written"),
        pytest.param(b'{"step": 1}\n{"step": 2}\n', 2, id="the last line"),
        pytest.param(b'{"step": 1}\n{"step": 2}\n{"st', 2, id="the last complete line"),
        pytest.param(b'ep": 0}\n{"step": 1}\nnoise\n\n', 1, id="the last progress line, whatever else is printed"),
        pytest.param(
            b'{"step": 1}\n{"step": 2, "steps": Infinity}\n', 1, id="not one with an infinite number of steps"
        ),
        pytest.param(b'{"step": 1}\n{"step": 2, "metrics": {"m": 1' + b"0" * 400 + b"}}\n", 1, id="nor a huge metric"),
        pytest.param(b'{"step": 1}\n' + b"[" * 20_000 + b"\n", 1, id="nor one that is nested too deeply"),
        pytest.param(b'\xff\xfe\n{"step": "x"}\n[1]\n', None, id="no progress line at all"),
    ],
)
def test_the_last_complete_progress_line_counts(tail: bytes, step: int | None) -> None:
    found = last_progress(tail)
    assert (found.step if found else None) == step


def test_a_report_puts_progress_and_checkpoint_together() -> None:
    progress = Progress(10, 100, 1, 5, {"loss": 0.5, "bad": float("nan")})
    checkpoint = Checkpointed(5, "sha256:x", "2026-01-01T00:00:00Z")
    assert build_report(progress, checkpoint) == ProgressReport(
        10, 100, 1, 5, {"loss": 0.5}, 5, "sha256:x", "2026-01-01T00:00:00Z", metrics_left_out=1
    )
    assert build_report(None, None) == ProgressReport()


@pytest.mark.parametrize(
    ("data", "metrics"),
    [
        pytest.param(b'{"metrics": {"accuracy": 1, "name": "x"}, "n": 3}', {"accuracy": 1.0}, id="the metrics object"),
        pytest.param(b'{"accuracy": 0.5, "ok": true, "deep": {"a": 1}}', {"accuracy": 0.5}, id="or top-level numbers"),
        pytest.param(b'{"loss": NaN, "other": Infinity}', {}, id="finite ones"),
        pytest.param(b'{"huge": 1' + b"0" * 400 + b', "loss": 1}', {"loss": 1.0}, id="those that a float can hold"),
        pytest.param(b"[" * 20_000, {}, id="nested too deeply"),
        pytest.param(b"not json", {}, id="malformed"),
        pytest.param(b"[1]", {}, id="not an object"),
    ],
)
def test_metrics_are_the_finite_numbers(data: bytes, metrics: dict[str, float]) -> None:
    assert metrics_of(data).metrics == metrics


@pytest.mark.parametrize(
    ("document", "main"),
    [
        pytest.param('{"mainMetric": "f1", "metrics": {"loss": 1, "accuracy": 0.5, "f1": 0.7}}', "f1", id="named"),
        pytest.param('{"mainMetric": "f1", "f1": 0.7, "accuracy": 1}', "f1", id="named beside top-level numbers"),
        pytest.param('{"mainMetric": "iou", "metrics": {"loss": 1, "accuracy": 0.5}}', "accuracy", id="no such metric"),
        pytest.param('{"mainMetric": ["f1"], "metrics": {"loss": 1}}', "loss", id="not a name"),
        pytest.param('{"metrics": {"val_loss": 1, "rmse": 2}}', "val_loss", id="the first"),
        pytest.param('{"mainMetric": "f1", "metrics": {"f1": NaN, "loss": 1}}', "loss", id="not a finite number"),
        pytest.param('{"metrics": {}}', "", id="no metric at all"),
    ],
)
def test_one_metric_stands_for_the_model(document: str, main: str) -> None:
    assert metrics_of(document.encode()).main == main


def test_the_main_metric_has_a_place_before_all_others() -> None:
    many = {f"m{number}": float(number) for number in range(200)}
    measured = metrics_of(json.dumps({"mainMetric": "m199", "metrics": many}).encode())
    assert (measured.main, "m199" in measured.metrics, measured.left_out) == ("m199", True, 136)
    long = {f"{name:a<100}": value for name, value in measured.metrics.items()}
    text = Termination("Published", "", metrics=long, main_metric=f"{'m199':a<100}").to_json()
    assert f"{'m199':a<100}" in Termination.from_json(text).metrics


def test_a_report_that_takes_too_long_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fovea_agent.report.LAST_POST", 0.05)
    reporter = Reporter("http://127.0.0.1:9", tmp_path, tmp_path, "progress/progress.jsonl", interval=0.0)
    posting, over = threading.Event(), threading.Event()

    def post() -> None:
        posting.set()
        assert over.wait(60)

    monkeypatch.setattr(reporter, "post_if_changed", post)
    reporter.start()
    assert posting.wait(20)
    stopping = threading.Thread(target=reporter.stop, args=[0.0], daemon=True)
    stopping.start()
    stopping.join(20)
    late = stopping.is_alive()
    over.set()
    assert not late


def test_a_report_in_which_nothing_changes_is_posted_again_for_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter = Reporter("http://127.0.0.1:9", tmp_path, tmp_path, "progress/progress.jsonl", at_least_every=0.0)
    answers, heard = [ProgressAnswer(), ProgressAnswer(program_ended=True)], list[str]()
    monkeypatch.setattr(reporter, "_post", lambda _report: answers.pop(0))
    reporter.program_ended = lambda: heard.append("the program has ended")
    reporter.post_if_changed()
    assert heard == []
    reporter.post_if_changed()
    assert heard == ["the program has ended"]


def test_a_report_in_which_nothing_changes_is_not_posted_at_every_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter = Reporter("http://127.0.0.1:9", tmp_path, tmp_path, "progress/progress.jsonl", at_least_every=3600)
    posted: list[ProgressReport] = []
    monkeypatch.setattr(reporter, "_post", lambda report: posted.append(report) or ProgressAnswer())
    reporter.checkpointed(Checkpointed(5, "sha256:x", "2026-01-01T00:00:00Z"))
    for _ in range(3):
        reporter.post_if_changed()
    assert len(posted) == 1
