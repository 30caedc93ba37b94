"""What a program printed is published by its pod's sidecar, after all else, and costs nothing else when it cannot be."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fovea_agent import program_log
from fovea_agent.errors import Misconfigured
from fovea_agent.program_log import ProgramLog
from fovea_api.contract import environment, storage
from fovea_api.contract.report import LOG_PATH, REASON_NOTHING_TO_PUBLISH, REPORT_TOKEN_FILE
from support.played_logs import Answer, PlayedLogs, played_logs
from support.sidecar import PLAN, Pod

TEXT = b"2026-01-01T00:00:01Z epoch 1\n2026-01-01T00:00:02Z killed\n"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_log, "_PAUSE", 0.01)


@pytest.fixture
def operator(request: pytest.FixtureRequest) -> Iterator[PlayedLogs]:
    answers: tuple[Answer, ...] = getattr(request, "param", ((200, TEXT),))
    with played_logs(*answers) as played:
        yield played


def pod_of(folder: Path, url: str, **plan: object) -> Pod:
    pod = Pod(folder, replace(PLAN, cache="", **plan))  # type: ignore[arg-type]
    (folder / REPORT_TOKEN_FILE).write_text("token-of-the-pod\n")
    pod.sync.program_log = ProgramLog(url, folder)
    return pod


def logs(pod: Pod) -> dict[str, bytes]:
    prefix = storage.program_logs(pod.sync.job)
    return {key.removeprefix(prefix): data for key, data in pod.store.content.items() if key.startswith(prefix)}


def test_the_log_is_published_last_by_the_token_of_the_pod(tmp_path: Path, operator: PlayedLogs) -> None:
    pod = pod_of(tmp_path, operator.url)
    pod.checkpoint(400)
    pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
    pod.end()
    assert logs(pod) == {"chief-0/1.log": TEXT}
    assert pod.store.writes[-1].endswith("/logs/chief-0/1.log")
    assert operator.asked == [(LOG_PATH, "Bearer token-of-the-pod")]


def test_a_member_that_publishes_nothing_else_publishes_its_log(tmp_path: Path, operator: PlayedLogs) -> None:
    pod = pod_of(tmp_path, operator.url, role="worker", index=3, attempt=2, publish=False)
    pod.end()
    assert logs(pod) == {"worker-3/2.log": TEXT}
    assert pod.termination.reason == REASON_NOTHING_TO_PUBLISH


def test_the_log_is_published_when_the_results_cannot_be(
    tmp_path: Path, operator: PlayedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = pod_of(tmp_path, operator.url)

    def refuse(what: str) -> None:
        if "/output/" in what:
            raise Misconfigured("the bucket is read-only")

    monkeypatch.setattr(pod.store, "before", refuse)
    with pytest.raises(Misconfigured, match="read-only"):
        pod.end()
    assert logs(pod) == {"chief-0/1.log": TEXT}


@pytest.mark.parametrize("operator", [((429, b"busy"), (503, b"away"), (200, TEXT))], indirect=True)
def test_an_operator_that_is_busy_or_away_is_asked_again(tmp_path: Path, operator: PlayedLogs) -> None:
    pod = pod_of(tmp_path, operator.url)
    pod.end()
    assert logs(pod) == {"chief-0/1.log": TEXT}
    assert len(operator.asked) == 3


@pytest.mark.parametrize("operator", [((404, b"no such path"),), ((200, b""),)], indirect=True)
def test_without_a_log_nothing_is_published_and_nothing_fails(tmp_path: Path, operator: PlayedLogs) -> None:
    pod = pod_of(tmp_path, operator.url)
    pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
    pod.end()
    assert logs(pod) == {}
    assert pod.termination.complete
    assert len(operator.asked) == 1


def test_an_operator_that_stays_away_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_log, "MOST_SECONDS", 0.1)
    with played_logs((200, TEXT)) as gone:
        url = gone.url
    pod = pod_of(tmp_path, url)
    pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
    pod.end()
    assert logs(pod) == {}
    assert pod.termination.complete


def test_a_store_that_refuses_the_log_costs_no_result(
    tmp_path: Path, operator: PlayedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = pod_of(tmp_path, operator.url)
    pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})

    def refuse(what: str) -> None:
        if "/logs/" in what:
            raise OSError(28, "full")

    monkeypatch.setattr(pod.store, "before", refuse)
    pod.end()
    assert pod.termination.complete
    assert pod.termination.output is not None


@pytest.mark.parametrize(
    ("most", "kept"), [(len(TEXT), TEXT), (len(TEXT) - 1, TEXT.splitlines(keepends=True)[1]), (8, b" killed\n")]
)
def test_of_a_long_log_the_last_whole_lines_are_published(
    tmp_path: Path, operator: PlayedLogs, monkeypatch: pytest.MonkeyPatch, most: int, kept: bytes
) -> None:
    monkeypatch.setattr(program_log, "MOST_BYTES", most)
    monkeypatch.setattr(program_log, "_PIECE", 4)
    pod = pod_of(tmp_path, operator.url)
    pod.end()
    assert logs(pod) == {"chief-0/1.log": kept}
