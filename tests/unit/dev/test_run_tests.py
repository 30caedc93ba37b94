"""`make test` always closes with its table and its count, and says what it waits for."""

import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import run_tests
from fovea_dev.layout import Cluster
from fovea_dev.locks import locked_if_free
from run_tests import TIERS, Result, close, run_tiers


@dataclass
class Runs:
    """What was run: tiers, each with whether the cluster's lock was held meanwhile, and those of them that ran aside."""

    tiers: list[tuple[str, bool]] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    seen = Runs()
    lock, looking = tmp_path / "lock/fovea-tests.lock", threading.Lock()

    def run_tier(tier: run_tests.Tier, *, output: Path | None = None, **_: object) -> Result:
        # One at a time: tiers that run side by side would take each other's look for the lock of the cluster.
        with looking, locked_if_free(lock) as free:
            seen.tiers.append((tier.name, not free))
        if output is not None:
            seen.aside.append(tier.name)
            output.write_text(f"words of {tier.name}\n")
        return Result(tier.name, 2, 0, 0, 1.0, 0)

    monkeypatch.setattr(run_tests, "run_tier", run_tier)
    monkeypatch.setattr(run_tests, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr(Cluster, "lock", property(lambda _: tmp_path / "lock/fovea.lock"))
    return seen


def prepared_by(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(run_tests, "DEV", (sys.executable, "-c", f"import sys\ncommand = sys.argv[1]\n{program}"))


def test_what_a_tier_waits_for_is_shown_and_nobody_else_tests_on_the_cluster_meanwhile(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    prepared_by(monkeypatch, "print('still at work:', command)")
    results = run_tiers(list(TIERS), wide=False, pytest_arguments=[])
    assert sorted(runs.tiers[1:-1]) == [("chart", False), ("cluster", False), ("contract", False)]
    assert [runs.tiers[0], runs.tiers[-1]] == [("unit", False), ("e2e", True)]
    assert runs.aside == ["cluster", "chart"]
    assert [result.tier for result in results] == ["unit", "contract", "cluster", "chart", "e2e"]
    assert close(results) == 0
    said = capfd.readouterr().out
    assert "=== contract\n    beside it cluster; what it says follows\n    beside it chart;" in said
    assert "=== cluster\nwords of cluster\n\n=== chart\nwords of chart\n" in said
    assert "still at work: tools\n" in said
    assert "still at work: up\n" in said
    assert said.splitlines()[-1] == "10 passed, 0 failed, 0 skipped"


@pytest.mark.parametrize(
    ("failing", "ran", "not_run", "last"),
    [
        ("tools", ["unit"], "contract, cluster, chart, e2e", "2 passed, 1 failed, 0 skipped"),
        ("up", ["unit", "contract", "cluster", "chart"], "e2e", "8 passed, 1 failed, 0 skipped"),
    ],
)
def test_a_failed_preparation_is_shown_and_the_table_of_what_ran_closes_the_run(
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    failing: str,
    ran: list[str],
    not_run: str,
    last: str,
) -> None:
    prepared_by(monkeypatch, f"sys.exit('no disk' if command == {failing!r} else 0)")
    assert close(run_tiers(list(TIERS), wide=False, pytest_arguments=[])) == 1
    assert {name for name, _ in runs.tiers} == set(ran)
    said = capfd.readouterr().out
    assert "no disk\n" in said
    assert f"not run: {not_run}\n" in said
    assert said.splitlines()[-1] == last


def test_a_tier_that_runs_beside_another_runs_alone_where_that_one_was_not_asked_for(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    prepared_by(monkeypatch, "")
    results = run_tiers([tier for tier in TIERS if tier.name in ("unit", "cluster")], wide=False, pytest_arguments=[])
    assert [result.tier for result in results] == ["unit", "cluster"]
    assert runs.aside == []
    assert "=== cluster\n" in capfd.readouterr().out
