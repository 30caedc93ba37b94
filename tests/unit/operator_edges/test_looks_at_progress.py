"""How soon and how often the decision on a job looks at what its pods report."""

import pytest
from fovea_api.contract.report import ProgressReport
from fovea_operator.cluster.progress import Reports, Sender


def test_a_job_is_looked_at_once_per_period_with_the_newest_report() -> None:
    woken: list[float] = []
    reports = Reports(5, lambda _namespace, _pod, seconds: woken.append(seconds))
    sender = Sender("team", "digits-chief-0-0", "p1")
    for now, step in ((0.0, 1), (1.0, 2), (2.0, 3), (6.0, 4), (30.0, 5), (31.0, 5)):
        reports.put(sender, ProgressReport(step=step), now)
    # at once; at 5 for the two after it; at 10; at once again after a silence; nothing new at 31
    assert woken == [0.0, 4.0, 4.0, 0.0]
    assert reports.latest("p1") == ProgressReport(step=5)
    reports.forget("p1")
    assert reports.latest("p1") is None


def test_all_jobs_together_cost_no_more_looks_a_second_than_the_rate() -> None:
    looks: list[float] = []
    now = 0.0
    reports = Reports(5, lambda _namespace, _pod, seconds: looks.append(now + seconds), rate=4)
    senders = [Sender("team", f"digits-{n}-chief-0-0", f"p{n}") for n in range(200)]
    for second in range(400):
        now = float(second)
        for sender in senders:
            reports.put(sender, ProgressReport(step=second), now)
    assert reports.period == 50
    steady = [look for look in looks if 100 <= look < 300]
    assert len(steady) / 200 <= 4
    assert len(looks) - len(steady) > 200, "each of them is looked at again and again"


def test_pods_that_have_ended_do_not_slow_down_the_others() -> None:
    reports = Reports(5, lambda *_: None, rate=1)
    for number in range(100):
        reports.put(Sender("team", f"pod-{number}", f"p{number}"), ProgressReport(step=1), 0)
    assert reports.period == 100
    for number in range(99):
        reports.ended(f"p{number}")
    assert reports.period == 5
    assert reports.latest("p3") == ProgressReport(step=1), "the decision on its end still reads it"


NEWS = {
    "a checkpoint": {"checkpoint_step": 100, "checkpoint_digest": "sha256:0"},
    "the end of the program": {"publishing": True},
    "the last words": {"last_words": "{}"},
    "a store that is away": {"store_unreachable_since": "2026-11-21T10:00:00Z"},
    "something that is not published": {"left_out": "model: it is unreadable"},
}


@pytest.mark.parametrize("what", NEWS)
def test_what_is_more_than_a_number_is_looked_at_at_once(what: str) -> None:
    woken: list[float] = []
    reports = Reports(50, lambda _namespace, _pod, seconds: woken.append(seconds))
    sender = Sender("team", "digits-chief-0-0", "p1")
    reports.put(sender, ProgressReport(step=1), 0.0)
    reports.put(sender, ProgressReport(step=2), 1.0)
    reports.put(sender, ProgressReport(step=3, metrics={"loss": 0.5}), 2.0)
    assert woken == [0.0, 49.0]
    reports.put(sender, ProgressReport(step=3, **NEWS[what]), 3.0)
    assert woken == [0.0, 49.0, 0.0]


def test_a_store_that_goes_and_comes_back_all_the_time_costs_twice_what_numbers_cost_and_its_last_turn_is_seen() -> (
    None
):
    looks: dict[str, list[float]] = {f"digits-{n}-chief-0-0": [] for n in range(200)}
    now = 0.0
    reports = Reports(5, lambda _namespace, pod, seconds: looks[pod].append(now + seconds), rate=4)
    turns = ("", "2026-11-21T10:00:00Z")
    for second in range(0, 405, 5):
        now = float(second)
        for number, pod in enumerate(looks):
            report = ProgressReport(step=second, store_unreachable_since=turns[second // 5 % 2])
            reports.put(Sender("team", pod, f"p{number}"), report, now)
    steady = [look for of_pod in looks.values() for look in of_pod if 100 <= look < 300]
    assert len(steady) / 200 <= 2 * 4 * 1.05
    assert all(now <= max(of_pod) <= now + reports.period for of_pod in looks.values())


def test_numbers_of_a_pod_that_does_not_lead_its_job_cause_no_decision() -> None:
    woken: list[tuple[str, float]] = []
    reports = Reports(
        5, lambda _namespace, pod, seconds: woken.append((pod, seconds)), 1, lambda _, pod: pod == "chief"
    )
    for number in range(20):
        reports.put(Sender("team", f"worker-{number}", f"w{number}"), ProgressReport(step=1), 0)
    assert len(woken) == 20, "the first report says that the agent is there"
    assert reports.period == 5, "the period grows with those that are written for alone"
    woken.clear()
    reports.put(Sender("team", "worker-0", "w0"), ProgressReport(step=2, metrics={"loss": 1.0}), 1)
    assert woken == []
    reports.put(Sender("team", "worker-0", "w0"), ProgressReport(step=2, publishing=True), 2)
    assert woken == [("worker-0", 0.0)]
    woken.clear()
    reports.put(Sender("team", "chief", "c"), ProgressReport(step=1), 3)
    reports.put(Sender("team", "chief", "c"), ProgressReport(step=2), 4)
    assert woken == [("chief", 0), ("chief", 4)]
