"""How much time to publish is left of a pod's grace period."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from fovea_agent.ending import began_at, grace_left, seconds_since


def test_the_period_begins_when_the_pod_begins_to_end_and_not_with_the_signal(tmp_path: Path) -> None:
    began, uptime = tmp_path / "began", tmp_path / "uptime"
    began.write_text("1000.25 3000.00\n")
    uptime.write_text("1550.75 9000.00\n")
    assert seconds_since(began, uptime) == 550.5


@pytest.mark.parametrize("left_behind", [None, b"", b"soon\n", b"\xff", b"999999999.0 0\n"])
def test_a_hook_that_left_nothing_usable_costs_no_time(tmp_path: Path, left_behind: bytes | None) -> None:
    began = tmp_path / "began"
    if left_behind is not None:
        began.write_bytes(left_behind)
    assert seconds_since(began) == 0.0


@pytest.mark.parametrize(
    ("period", "spent", "left"),
    [
        pytest.param(600, 0, 590, id="the program ended by itself"),
        pytest.param(600, 550.5, 39.5, id="the program used most of it"),
        pytest.param(600, 595, 2.5, id="hardly anything is left"),
        pytest.param(600, 700, 2, id="nothing is left"),
        pytest.param(4, 0, 2, id="a short period"),
        pytest.param(30, 0, 20, id="the shortest publishSeconds"),
    ],
)
def test_some_seconds_are_kept_for_the_last_words(period: float, spent: float, left: float) -> None:
    assert grace_left(period, spent) == left


def test_the_time_at_which_it_began_is_told_by_the_clock_of_the_node(tmp_path: Path) -> None:
    began, uptime = tmp_path / "began", tmp_path / "uptime"
    now = datetime(2026, 1, 1, 10, tzinfo=UTC)
    uptime.write_text("1550.75 9000.00\n")
    assert began_at(began, now, uptime) is None
    began.write_text("soon\n")
    assert began_at(began, now, uptime) is None
    began.write_text("1490.75 3000.00\n")
    assert began_at(began, now, uptime) == datetime(2026, 1, 1, 9, 59, tzinfo=UTC)
