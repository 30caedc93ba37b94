"""Progress of running jobs: from the operator's memory where it answers, else from the status, and never an error."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fovea.sdk import Client, JobProgress
from fovea.sdk.job import Job
from fovea_api.contract.report import MAX_TICKETS, TICKETS_HEADER
from support.command_line import Ran, fovea
from support.jobs import training_job
from support.played_api_server import PlayedApiServer, Reply, Request, played_api_server

JOBS = "/apis/fovea.dev/v1alpha1/namespaces/vision/trainingjobs"
PODS = "/api/v1/namespaces/vision/pods"
PROXY = "/api/v1/namespaces/fovea-system/services/fovea-operator:8080/proxy/v1/progress"
URL = "http://fovea-operator.fovea-system.svc:8080/v1/progress"


def job(name: str = "digits", state: str = "RUNNING", url: str | None = URL, **status: Any) -> dict[str, Any]:
    """A job whose status, with step 45, was written two days ago."""
    written = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    live = {"live": {"url": url, "ticket": f"ticket-of-{name}"}} if url is not None else {}
    progress = {"step": 45, "steps": 450, "metrics": {"loss": 0.5}}
    return training_job(name) | {
        "metadata": {
            "name": name,
            "namespace": "vision",
            "uid": f"{name}-uid",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [
                {"manager": "kubectl", "operation": "Update", "time": "2026-01-01T00:00:00Z"},
                {"manager": "fovea-operator", "operation": "Apply", "subresource": "status", "time": written},
            ],
        },
        "status": {"state": state, "startTime": "2026-01-01T00:00:00Z", "progress": progress, **live, **status},
    }


def answer(step: int = 90) -> dict[str, Any]:
    return {"progress": {"step": step, "steps": 450, "metrics": {"loss": 0.25}}, "ageSeconds": 2.4}


def operator(request: Request) -> Reply:
    """Knows every job."""
    tickets = request.headers[TICKETS_HEADER].split(",")
    return (200, {"found": {ticket: answer() for ticket in tickets}}) if len(tickets) <= MAX_TICKETS else (400, b"")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., PlayedApiServer]]:
    """Starts an API server with these jobs, behind whose proxy the operator gives this reply."""
    running = []

    def begin(*jobs: dict[str, Any], operator: Callable[[Request], Reply] = operator) -> PlayedApiServer:
        replies = {JOBS: lambda _: (200, {"items": list(jobs), "metadata": {}}), PROXY: operator}
        replies[PODS] = lambda _: (200, {"items": [], "metadata": {}})
        for each in jobs:
            replies[f"{JOBS}/{each['metadata']['name']}"] = lambda _, each=each: (200, each)  # type: ignore[misc]
        playing = played_api_server(tmp_path, replies)
        running.append(playing)
        return playing.__enter__()

    yield begin
    for playing in running:
        playing.__exit__(None, None, None)


def typed(server: PlayedApiServer, *words: str) -> Ran:
    return fovea("--kubeconfig", server.kubeconfig, *words)


def asked(server: PlayedApiServer) -> list[Request]:
    """What the operator was asked."""
    return [request for request in server.requests if request.path == PROXY]


def cells(ran: Ran) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in ran.ok().out.splitlines()]


def test_the_list_shows_what_the_operator_knows_now_and_how_old_it_is(start: Callable[..., PlayedApiServer]) -> None:
    ran = typed(start(job("digits"), job("pets", "SUCCEEDED")), "jobs", "list")
    columns, pets, digits = cells(ran)  # newest first, then by name backwards
    assert columns[4:6] == ["PROGRESS", "AS OF"]
    assert digits[4:6] == ["step 90/450", "2s ago"]
    assert pets[4:6] == ["step 45/450", "-"]
    assert ran.err == ""


def test_a_description_shows_it_too(start: Callable[..., PlayedApiServer]) -> None:
    ran = typed(start(job()), "jobs", "describe", "digits").ok()
    assert "step 90/450 (2s ago)\n" in ran.out
    assert "loss 0.25\n" in ran.out


def test_the_operator_is_asked_once_for_a_list_and_for_running_jobs_only(start: Callable[..., PlayedApiServer]) -> None:
    ended = [job(f"ended-{number}", "SUCCEEDED") for number in range(3)]
    server = start(job("a"), *ended, job("b"), job("c", "PREPARING"), job("d", url=None))
    typed(server, "jobs", "list").ok()
    [request] = asked(server)
    assert request.headers[TICKETS_HEADER] == "ticket-of-b,ticket-of-a"


def test_of_many_jobs_some_hundreds_are_asked_for_at_a_time(start: Callable[..., PlayedApiServer]) -> None:
    server = start(*(job(f"job-{number}") for number in range(2 * MAX_TICKETS + 1)))
    ran = typed(server, "jobs", "list")
    assert {line[5] for line in cells(ran)[1:]} == {"2s ago"}
    assert len(asked(server)) == 3


def test_documents_are_the_objects_as_they_are_stored(start: Callable[..., PlayedApiServer]) -> None:
    stored = job()
    server = start(stored)
    for words in (("list",), ("describe", "digits")):
        shown = typed(server, "jobs", *words, "--format", "json").ok().json()
        assert shown in (stored, [stored])
    assert asked(server) == []


REFUSAL = {"kind": "Status", "reason": "Forbidden", "message": "you may not get services/proxy", "code": 403}
FALLBACKS: dict[str, Callable[[Request], Reply]] = {
    "the user may not use the proxy": lambda _: (403, REFUSAL),
    "the login has ended": lambda _: (401, {"kind": "Status", "code": 401}),
    "there is no such Service": lambda _: (404, {"kind": "Status", "code": 404}),
    "nobody leads": lambda _: (503, {"kind": "Status", "message": "no endpoints available", "code": 503}),
    "too many ask": lambda _: (429, b"too many requests; try again\n"),
    "an older operator has no such path": lambda _: (405, b"405: Method Not Allowed"),
    "another leader has no reports yet": lambda _: (200, {"found": {}}),
    "a proxy says something": lambda _: (200, b"<html>sign in</html>"),
    "a list is no answer": lambda _: (200, []),
    "a newer operator says it in another way": lambda _: (200, {"found": {"ticket-of-digits": {"steps": "many"}}}),
}


@pytest.mark.parametrize("operator", FALLBACKS.values(), ids=FALLBACKS.keys())
def test_where_the_operator_does_not_say_the_status_does_in_silence(
    start: Callable[..., PlayedApiServer], operator: Callable[[Request], Reply]
) -> None:
    server = start(job(), operator=operator)
    ran = typed(server, "jobs", "list")
    assert cells(ran)[1][4:6] == ["step 45/450", "2d ago"]
    assert ran.err == ""
    described = typed(server, "jobs", "describe", "digits").ok()
    assert "step 45/450 (2d ago)\n" in described.out
    assert described.err == ""
    assert len(asked(server)) == 2  # one try each


def test_an_operator_that_does_not_answer_is_not_waited_for(start: Callable[..., PlayedApiServer]) -> None:
    over, answered = threading.Event(), threading.Event()

    def silent(_: Request) -> Reply:
        over.wait(30)
        answered.set()
        return 200, b""

    server = start(*(job(f"job-{number}") for number in range(MAX_TICKETS + 1)), operator=silent)
    ran = typed(server, "jobs", "list")
    assert not answered.is_set()
    over.set()
    assert cells(ran)[1][4:6] == ["step 45/450", "2d ago"]
    assert len(asked(server)) == 1


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "http://169.254.169.254/latest",
        "http://fovea-operator.fovea-system.svc:8080/v1/other",
        "http://x.y.svc:80/../../../secrets/v1/progress",
        "https://fovea-operator.fovea-system.svc:8080/v1/progress",
    ],
)
def test_an_address_that_is_none_of_an_operator_is_not_asked(
    start: Callable[..., PlayedApiServer], url: str | None
) -> None:
    server = start(job(url=url))
    assert cells(typed(server, "jobs", "list"))[1][4:6] == ["step 45/450", "2d ago"]
    assert [request.path for request in server.requests] == [JOBS]


def test_a_status_without_a_time_of_its_own_has_no_age(start: Callable[..., PlayedApiServer]) -> None:
    stored = job(url=None)
    del stored["metadata"]["managedFields"]
    assert cells(typed(start(stored), "jobs", "list"))[1][4:6] == ["step 45/450", "-"]


def test_a_program_that_has_made_no_step_yet_has_no_progress_of_any_age(start: Callable[..., PlayedApiServer]) -> None:
    stored = job()
    del stored["status"]["progress"]
    found = {"ticket-of-digits": {"ageSeconds": 2.0}}
    server = start(stored, operator=lambda _: (200, {"found": found}))
    assert cells(typed(server, "jobs", "list"))[1][4:6] == ["-", "-"]


def test_the_sdk_gives_the_progress_typed(start: Callable[..., PlayedApiServer]) -> None:
    client = Client(kubeconfig=str(start(job()).kubeconfig))
    read = client.jobs.get("digits")
    seen = read.progress()
    assert isinstance(seen, JobProgress)
    assert seen.progress is not None
    assert (seen.progress.step, seen.age_seconds, seen.live) == (90, 2.4, True)
    assert client.jobs.progress([read, read]) == [seen, seen]
    assert client.jobs.progress([]) == []


class Operator:
    """Answers one step after the other; the last one stays. None: no answer."""

    def __init__(self, *steps: int | None) -> None:
        self.steps, self.done = list(steps), threading.Event()

    def ask(self, _target: Any, _path: str, headers: dict[str, str], _seconds: float) -> Any:
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if len(self.steps) == 1:
            self.done.set()
        return {"found": {headers[TICKETS_HEADER]: answer(step)} if step is not None else {}}


def steps(operator: Operator, *documents: dict[str, Any]) -> list[int | None]:
    """The steps that a follower sees of a job that has these changes, all but the last of them at once."""
    jobs = Client(namespace="vision").jobs
    from fovea.sdk import live

    def changes() -> Iterator[Job]:
        *first, last = [Job(jobs, document) for document in documents]
        yield from first
        operator.done.wait(30)
        yield last

    followed = live.followed(operator, changes(), 0.01)  # type: ignore[arg-type]
    return [each.status.progress.step if each.status.progress else None for each in followed]


def of_step(step: int, state: str = "RUNNING", ticket: str = "t") -> dict[str, Any]:
    return job(state=state, progress={"step": step}, live={"url": URL, "ticket": ticket})


def test_a_job_that_is_followed_moves_on_between_its_statuses() -> None:
    assert steps(Operator(50, 50, 60, 60), of_step(45), of_step(70)) == [45, 50, 60, 70]


def test_a_status_that_was_written_before_does_not_set_back_what_was_shown() -> None:
    assert steps(Operator(50, 60, 60), of_step(45), of_step(55)) == [45, 50, 60, 60]


@pytest.mark.parametrize(
    "last", [of_step(10, ticket="of the next attempt"), of_step(10, "FAILED")], ids=["another attempt", "the end"]
)
def test_what_was_shown_of_one_attempt_is_not_shown_of_the_next_or_of_the_end(last: dict[str, Any]) -> None:
    assert steps(Operator(50, 60), of_step(45), last)[-1] == 10


def test_an_operator_that_is_silent_changes_nothing_for_a_follower() -> None:
    assert steps(Operator(None, None), of_step(45), of_step(50)) == [45, 50]


def test_an_error_ends_following_as_it_does_without_the_operator() -> None:
    from fovea.sdk import NotFoundError, live

    def changes() -> Iterator[Job]:
        yield Job(Client(namespace="vision").jobs, of_step(45))
        raise NotFoundError("job digits was deleted while it was waited for")

    with pytest.raises(NotFoundError, match="was deleted"):
        list(live.followed(Operator(None), changes(), 30.0))  # type: ignore[arg-type]
