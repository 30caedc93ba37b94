"""An API server that does not answer is asked again for a while that starts when it stops answering, not before."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from fovea.sdk import UnreachableError, WaitTimeoutError, following, logs, pods
from fovea.sdk.jobs import Jobs
from fovea.sdk.logs import LogLine, LogStream
from fovea.sdk.patience import Patience
from fovea_api.contract import labels
from support.command_line import fovea
from support.jobs import training_job

SILENCE = UnreachableError("no answer")


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_patience_begins_at_the_first_failure_and_anew_after_each_success() -> None:
    clock = Clock()
    patience = Patience(60, clock)
    for begin in (10_000.0, 20_000.0):
        clock.time = begin
        assert patience.failure()
        clock.time = begin + 60
        assert patience.failure()
        patience.success()
    clock.time = 30_000
    assert patience.failure()
    clock.time = 30_061
    assert not patience.failure()


class Scripted:
    """A cluster that answers one step after the other of a script; an exception is raised, the last step stays."""

    namespace = "vision"

    def __init__(self, answers: list[Any], events: list[Any] = (), texts: list[Any] = ()) -> None:  # type: ignore[assignment]
        self.answers, self.events, self.texts = list(answers), list(events), list(texts)

    def within(self, namespace: str) -> "Scripted":
        assert namespace == self.namespace
        return self

    def get(self, target: Any, path: str, query: Any = None) -> Any:
        if "/pods" in path:
            return POD if path.endswith(POD["metadata"]["name"]) else {"items": [POD]}
        return self._next(self.answers)

    def create(self, *_: Any, **__: Any) -> Any:
        return self._next(self.answers)

    def watch(self, *_: Any) -> Iterator[Any]:
        yield from self._next(self.events)

    def lines(self, *_: Any, connected: Callable[[], None]) -> Iterator[str]:
        script = self._next(self.texts)
        connected()
        for text in script:
            if isinstance(text, Exception):
                raise text
            yield text

    def _next(self, script: list[Any]) -> Any:
        step = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(step, Exception):
            raise step
        return step


POD = {
    "metadata": {"name": "digits-chief-0-0", "labels": labels.of_training_pod("digits", "chief", 0, 0)},
    "status": {"phase": "Succeeded", "containerStatuses": [{"name": "trainer", "state": {"terminated": {}}}]},
}


def job(state: str) -> dict[str, Any]:
    document = training_job("digits")
    document["metadata"] |= {"namespace": "vision", "uid": "u", "resourceVersion": "1"}
    return document | {"status": {"state": state}}


@pytest.fixture(autouse=True)
def one_failure_is_endured_and_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (following, logs):
        monkeypatch.setattr(module, "Patience", lambda: Patience(0.0))
    monkeypatch.setattr(logs, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr("fovea.sdk.following.time.sleep", lambda _: None)


def follow(cluster: Scripted, timeout: float | None = None) -> list[str]:
    return [seen.state.value for seen in Jobs(cluster).follow("digits", timeout=timeout)]  # type: ignore[arg-type]


def test_a_silent_job_is_followed_through_any_number_of_broken_watches() -> None:
    cluster = Scripted([*[job("RUNNING")] * 4, job("SUCCEEDED")], [SILENCE])
    assert follow(cluster) == ["RUNNING"] * 4 + ["SUCCEEDED"]


def test_a_job_whose_api_server_stays_away_is_given_up() -> None:
    with pytest.raises(UnreachableError, match="no answer"):
        follow(Scripted([job("RUNNING"), SILENCE], [SILENCE]))


def test_a_job_that_was_never_read_is_not_waited_for_in_vain() -> None:
    with pytest.raises(UnreachableError, match="no answer"):
        follow(Scripted([SILENCE]), timeout=0)


def test_a_timeout_is_said_of_a_job_that_was_read() -> None:
    with pytest.raises(WaitTimeoutError, match=r"job digits is still RUNNING after 0 s: .*describe digits -n vision`"):
        follow(Scripted([job("RUNNING")], [SILENCE]), timeout=0)


def test_jobs_that_share_a_timeout_are_each_said_to_have_had_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster: Any = Scripted([job("RUNNING")], [SILENCE])
    monkeypatch.setattr("fovea.cli.jobs.client_of", lambda _: SimpleNamespace(jobs=Jobs(cluster)))
    ran = fovea("jobs", "wait", "digits", "digits", "--timeout", "0.01s")
    assert ran.code == 124
    assert ran.err.count("TIMEOUT: job digits is still RUNNING after 0.01 s") == 2


@pytest.mark.parametrize("later", [job("RUNNING"), SILENCE], ids=["it runs", "the API server is silent"])
def test_a_log_that_is_streamed_ends_at_the_timeout(monkeypatch: pytest.MonkeyPatch, later: Any) -> None:
    for module in (following, logs):
        monkeypatch.setattr(module, "Patience", Patience)
    cluster: Any = Scripted([job("RUNNING"), job("RUNNING"), later], [SILENCE], [[stamped(1)]])
    monkeypatch.setattr("fovea.cli.jobs.client_of", lambda _: SimpleNamespace(jobs=Jobs(cluster)))
    words = ("jobs", "submit", "digits", "--recipe", "image-classifier", "--stream-logs", "--timeout")
    ran = fovea(*words, "0.05s")
    assert ran.code == 124
    assert "TIMEOUT: job digits is still RUNNING after 0.05 s" in ran.err


def test_a_program_that_writes_without_a_pause_does_not_keep_from_asking_after_the_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = itertools.count(0.0, 0.001)
    monkeypatch.setattr(logs, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    stream = stream_of(Scripted([{}], texts=[[]]))
    for _ in range(1000):
        stream._lines.put(LogLine("chief-0", 0, "", "more"))
    left: list[int] = []

    def ended() -> bool:
        left.append(stream._lines.qsize())
        return len(left) > 1

    assert len(list(stream.follow(ended))) == 1000
    assert left[0] > left[1] > 0


def stream_of(cluster: Any) -> LogStream:
    members = partial(pods.of_job, cluster, "vision", "digits", "u")
    return LogStream(cluster, "vision", members, container="trainer")


def read(texts: list[Any]) -> list[str]:
    stream = stream_of(Scripted([{}], texts=texts))
    return [line.text for line in stream.follow(lambda: True)]


def stamped(second: int) -> str:
    return f"2026-01-01T00:00:{second:02d}.000000000Z line {second}"


def test_a_log_is_followed_through_any_number_of_connections_that_break() -> None:
    silent = [SILENCE]
    texts = [[stamped(1), SILENCE], silent, silent, [stamped(2), SILENCE], silent, [stamped(3)]]
    assert read(texts) == ["line 1", "line 2", "line 3"]


def test_a_log_that_no_server_gives_any_more_is_given_up() -> None:
    with pytest.raises(UnreachableError, match="no answer"):
        read([[stamped(1), SILENCE], SILENCE])


def test_waiting_at_a_cluster_that_is_down_names_the_server(tmp_path: Path) -> None:
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {}}
    file = tmp_path / "kubeconfig"
    file.write_text(
        yaml.safe_dump({"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "c"})
    )
    ran = fovea("jobs", "wait", "digits", "--timeout", "0s", "--kubeconfig", file)
    assert ran.code == 1
    assert "the API server http://127.0.0.1:1 does not answer" in ran.err
