"""Thousands of jobs in a namespace: pages, the newest first, and what is left out."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from fovea.sdk.jobs import Jobs
from fovea_api.v1alpha1 import JobState
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import fovea
from support.ended_jobs import ended_job


class Pages:
    """A cluster that answers lists in pages, as the API server sorts them: by name."""

    namespace = "team"

    def __init__(self, *jobs: dict[str, Any], size: int = 500) -> None:
        self.jobs, self.size = sorted(jobs, key=lambda job: job["metadata"]["name"]), size
        self.limits: list[int] = []

    def get(self, _target: Any, _path: str, query: Any) -> Any:
        self.limits.append(query["limit"])
        begin = int(query.get("continue") or 0)
        end = begin + self.size
        more = {"continue": str(end)} if end < len(self.jobs) else {}
        return {"items": self.jobs[begin:end], "metadata": more}


def job(name: str, day: int, state: str = "SUCCEEDED") -> dict[str, Any]:
    raw = ended_job(name)
    raw["metadata"]["creationTimestamp"] = f"2026-01-{day:02}T00:00:00Z"
    raw["status"] = {"state": state} if state else {}
    return raw


ONE = st.tuples(st.integers(1, 28), st.sampled_from(["", "QUEUED", "RUNNING", "SUCCEEDED"]))


@given(st.lists(ONE, max_size=20), st.integers(1, 10), st.sets(st.sampled_from([JobState.QUEUED, JobState.SUCCEEDED])))
def test_the_newest_are_the_first_of_all_and_the_rest_is_counted(
    days: list[tuple[int, str]], limit: int, states: set[JobState]
) -> None:
    cluster = Pages(*(job(f"job-{number}", day, state) for number, (day, state) in enumerate(days)), size=3)
    jobs = Jobs(cluster)  # type: ignore[arg-type]
    everything = [each.name for each in jobs.list(states=frozenset(states))]
    found, older = jobs.newest(limit, states=frozenset(states))
    assert [each.name for each in found] == everything[:limit]
    assert older == max(0, len(everything) - limit)


def test_pages_are_of_five_hundred() -> None:
    cluster = Pages(*(job(f"job-{number:04}", 1) for number in range(1001)))
    _, older = Jobs(cluster).newest(1)  # type: ignore[arg-type]
    assert older == 1000
    assert cluster.limits == [500, 500, 500]


@pytest.mark.parametrize(
    ("words", "names", "said"),
    [
        ((), ["c", "b", "a"], ""),
        (("--limit", "2"), ["c", "b"], "1 older jobs are not shown: raise --limit, or choose with --state.\n"),
        (("--limit", "2", "--state", "RUNNING"), ["b"], ""),
    ],
)
def test_the_list_says_on_standard_error_how_many_are_left_out(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], names: list[str], said: str
) -> None:
    cluster = Pages(job("a", 1), job("b", 2, "RUNNING"), job("c", 3))
    client = SimpleNamespace(jobs=Jobs(cluster), namespace="team")  # type: ignore[arg-type]
    monkeypatch.setattr("fovea.cli.jobs.client_of", lambda _: client)
    ran = fovea("jobs", "list", "--format", "json", *words)
    assert ran.code == 0
    assert [each["metadata"]["name"] for each in json.loads(ran.out)] == names
    assert ran.err == said
