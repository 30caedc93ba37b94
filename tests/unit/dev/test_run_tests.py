"""`make test` always closes with its table and its count, and says what it waits for."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import run_tests
from fovea_dev.layout import Cluster
from fovea_dev.locks import locked_if_free
from run_tests import TIERS, Result, close, run_tiers


@dataclass
class Runs:
    """What was run: tiers, each with whether the cluster's lock was held meanwhile."""

    tiers: list[tuple[str, bool]] = field(default_factory=list)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    seen = Runs()
    lock = tmp_path / "lock/fovea-tests.lock"

    def run_tier(tier: run_tests.Tier, **_: object) -> Result:
        with locked_if_free(lock) as free:
            seen.tiers.append((tier.name, not free))
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
    assert runs.tiers == [("unit", False), ("contract", False), ("cluster", False), ("chart", False), ("e2e", True)]
    assert close(results) == 0
    said = capfd.readouterr().out
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
    assert [name for name, _ in runs.tiers] == ran
    said = capfd.readouterr().out
    assert "no disk\n" in said
    assert f"not run: {not_run}\n" in said
    assert said.splitlines()[-1] == last
