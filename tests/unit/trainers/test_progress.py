"""Progress lines: at most one a second in the file plus the last, a bar on a terminal, plain lines elsewhere."""

import io

import pytest
from fovea_api.contract.progress import Progress
from fovea_trainers.runtime.position import Position
from fovea_trainers.runtime.progress import OwnSteps, Plan, Reporter

PLAN = Plan(steps=40, steps_per_epoch=20, epochs=2, batch_size=32, unit="img")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def reporter(tmp_path, clock, stream=None):
    return Reporter(
        tmp_path / "progress" / "progress.jsonl",
        stream=io.StringIO() if stream is None else stream,
        clock=clock,
    )


def lines(tmp_path):
    text = (tmp_path / "progress" / "progress.jsonl").read_text(encoding="utf-8")
    return [Progress.from_json(line) for line in text.splitlines()]


def test_the_file_gets_at_most_a_line_a_second_and_the_last(tmp_path, clock):
    report, position, reads = reporter(tmp_path, clock), Position(), []
    report.begin(position, PLAN)
    for _ in range(19):
        position.advance()
        clock.now += 0.125
        report.step(position, lambda: reads.append(1) or {"loss": 1.0})
    position.close_epoch({"loss": 0.5, "val_loss": 0.25})
    report.epoch(position, position.history[-1])
    report.end(position, {"accuracy": 0.75})
    assert [(line.step, line.epoch) for line in lines(tmp_path)] == [(0, 0), (8, 0), (16, 0), (19, 1)]
    assert lines(tmp_path)[-1] == Progress(19, 40, 1, 2, {"accuracy": 0.75})
    assert len(reads) == 3, "metrics are read only when something is written: two lines in the file, one in the log"


def test_steps_count_from_the_start_of_this_run(tmp_path, clock):
    report = reporter(tmp_path, clock)
    report.begin(Position(step=407, start=400), PLAN)
    assert lines(tmp_path) == [Progress(7, 40, 0, 2, {})]


def test_a_resumed_run_goes_on_with_the_last_validation(tmp_path, clock):
    report = reporter(tmp_path, clock)
    report.begin(Position(step=20, epoch=1, history=[{"epoch": 1, "step": 20, "loss": 1.0, "val_loss": 0.5}]), PLAN)
    clock.now += 2
    report.step(Position(step=21, epoch=1, batch=1), lambda: {"loss": 0.75})
    assert lines(tmp_path)[-1].metrics == {"loss": 0.75, "val_loss": 0.5}


def test_a_log_gets_plain_lines(tmp_path, clock):
    stream = io.StringIO()
    report = reporter(tmp_path, clock, stream)
    report.begin(Position(), PLAN)
    clock.now += 10
    report.step(Position(step=10, batch=10), lambda: {"loss": 0.5, "accuracy": 0.25})
    clock.now += 1
    report.step(Position(step=11, batch=11), lambda: {"loss": 0.5, "accuracy": 0.25})
    clock.now += 1
    report.epoch(Position(step=20, epoch=1), {"loss": 0.25, "val_loss": 0.125})
    assert stream.getvalue().splitlines() == [
        "epoch 1/2 step 10/20 loss 0.5000 accuracy 0.2500 32 img/s",
        "epoch 1/2 step 20/20 loss 0.2500 val_loss 0.1250 160 img/s",
    ]


def test_a_terminal_gets_a_bar_on_one_line_per_epoch(tmp_path, clock):
    stream = Terminal()
    report = reporter(tmp_path, clock, stream)
    report.begin(Position(), PLAN)
    clock.now += 1
    report.step(Position(step=10, batch=10), lambda: {"loss": 0.5})
    clock.now += 1
    report.epoch(Position(step=20, epoch=1), {"loss": 0.25})
    text = stream.getvalue()
    assert text.count("\n") == 1
    report.close()
    assert stream.getvalue() == text, "the line has ended"
    half, full = text.split("\r\x1b[K")[1:]
    assert half.startswith("█" * 12 + "░" * 12 + " epoch 1/2 step 10/20 loss 0.5000")
    assert full.startswith("█" * 24 + " epoch 1/2 step 20/20")


@pytest.mark.parametrize("ended", ["end", "close"])
def test_what_follows_a_bar_within_an_epoch_stands_on_a_line_of_its_own(tmp_path, clock, ended):
    stream = Terminal()
    report = reporter(tmp_path, clock, stream)
    report.begin(Position(), PLAN)
    clock.now += 1
    report.step(Position(step=10, batch=10), lambda: {"loss": 0.5})
    report.end(Position(step=10, batch=10), {"loss": 0.5}) if ended == "end" else report.close()
    bar, rest = stream.getvalue().split("\n", 1)
    assert " loss 0.5000 " in bar
    assert rest == ("done: loss 0.5000\n" if ended == "end" else "")


def test_a_worker_writes_the_number_of_its_own_steps_at_most_once_a_second(tmp_path, clock):
    (tmp_path / "progress").mkdir()
    steps = OwnSteps(tmp_path / "progress" / "progress.jsonl", clock=clock)
    for _ in range(20):
        steps.one_more()
        clock.now += 0.125
    assert lines(tmp_path) == [Progress(1), Progress(9), Progress(17)]


def test_a_worker_that_shares_the_chiefs_file_writes_nothing(tmp_path, clock, monkeypatch):
    monkeypatch.chdir(tmp_path)
    OwnSteps(None, clock=clock).one_more()
    assert list(tmp_path.iterdir()) == []
