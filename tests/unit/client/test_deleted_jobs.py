"""A job that is not there any more: how it ended is believed by its uid only, and said by any reason."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fovea.sdk import FoveaError, JobGoneError, NotFoundError
from fovea.sdk.jobs import Jobs
from fovea_api.contract import labels
from fovea_api.v1alpha1 import JobState
from support.command_line import Ran, fovea
from support.jobs import training_job


class World:
    """A cluster of one namespace with jobs by name and Events; `watches` are the answers of one watch after the other."""

    namespace = "vision"

    def __init__(self, *events: dict[str, Any], **jobs: dict[str, Any]) -> None:
        self.jobs, self.events = jobs, list(events)
        self.watches: list[list[dict[str, Any]]] = []
        self.sent: list[tuple[str, str, Any]] = []

    def get(self, target: Any, path: str, query: Any = None) -> Any:
        if path.endswith("/events"):
            wanted = dict(pair.split("=", 1) for pair in query["fieldSelector"].split(","))
            return {"items": [event for event in self.events if _fits(event["involvedObject"], wanted)]}
        found = self.jobs.get(path.rsplit("/", 1)[-1])
        if found is None:
            raise NotFoundError(f"{target} does not exist: see `fovea jobs list -n vision`")
        return found

    def watch(self, *_: Any) -> Iterator[dict[str, Any]]:
        yield from self.watches.pop(0)

    def patch(self, target: Any, path: str, body: Any) -> Any:
        self.sent.append(("PATCH", path, body))
        return self.jobs[path.rsplit("/", 1)[-1]]

    def delete(self, target: Any, path: str, *, uid: str = "") -> str:
        self.sent.append(("DELETE", path, uid))
        return uid

    def client(self) -> Jobs:
        return Jobs(self)  # type: ignore[arg-type]


def _fits(about: dict[str, Any], wanted: dict[str, str]) -> bool:
    return all(about.get(field.removeprefix("involvedObject.")) == value for field, value in wanted.items())


def event(uid: str, reason: str, ended_as: str = "", stamp: str = "2026-01-01T10:00:00Z") -> dict[str, Any]:
    metadata = {"name": f"digits.{uid}.{reason}", "labels": {labels.ENDED_AS: ended_as} if ended_as else {}}
    about = {"kind": "TrainingJob", "namespace": "vision", "name": "digits", "uid": uid}
    return {"metadata": metadata, "involvedObject": about, "reason": reason, "lastTimestamp": stamp}


def job(uid: str, state: str) -> dict[str, Any]:
    document = training_job("digits")
    document["metadata"] |= {"namespace": "vision", "uid": uid, "resourceVersion": "1"}
    return document | {"status": {"state": state}}


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`fovea jobs …` in a world."""

    def run(world: World, *words: str) -> Ran:
        jobs = world.client()
        monkeypatch.setattr("fovea.cli.jobs.client_of", lambda _: SimpleNamespace(jobs=jobs, namespace="vision"))
        return fovea("jobs", *words)

    return run


def test_the_success_of_a_namesake_is_not_believed(typed: Any) -> None:
    ran = typed(World(event("earlier", "Published", "SUCCEEDED")), "wait", "digits")
    assert (ran.code, ran.out) == (1, "")
    assert "does not exist" in ran.err
    assert "A deleted job of that name SUCCEEDED at 2026-01-01T10:00:00Z (Published)" in ran.err
    assert "`fovea jobs wait digits@earlier -n vision`" in ran.err


def test_a_job_named_by_its_uid_is_known_by_the_events_of_that_uid(typed: Any) -> None:
    world = World(
        event("mine", "OutOfMemory", "FAILED"), event("later", "Published", "SUCCEEDED", "2026-01-01T11:00:00Z")
    )
    ran = typed(world, "wait", "digits@mine")
    assert (ran.code, ran.out) == (1, "Job digits@mine FAILED.\n")
    ran = typed(world, "wait", "digits@later")
    assert (ran.code, ran.out) == (0, "Job digits@later SUCCEEDED.\n")
    assert "fovea jobs download digits@later -n vision" in ran.err


@pytest.mark.parametrize("reason", ["OutOfMemory", "KeyRefused", "ModelMissing", "Evicted", "AWordThatIsNewHere"])
def test_any_reason_ends_a_job_whose_event_says_so(typed: Any, reason: str) -> None:
    world = World(event("mine", "Retrying"), event("mine", reason, "FAILED"))
    ran = typed(world, "wait", "digits@mine")
    assert (ran.code, ran.out) == (1, "Job digits@mine FAILED.\n")


@pytest.mark.parametrize("ended_as", ["", "RUNNING", "DONE"])
def test_an_event_that_does_not_tell_of_an_end_is_no_proof_of_it(typed: Any, ended_as: str) -> None:
    """`Cancelled` is also said when cancelling begins, and the program may succeed meanwhile."""
    ran = typed(World(event("mine", "Cancelled", ended_as)), "wait", "digits@mine")
    assert (ran.code, ran.out) == (1, "")
    assert "job digits@mine in namespace vision is not there any more, and no Event says how it ended" in ran.err


def test_a_job_that_took_the_name_meanwhile_is_not_the_one_that_is_asked_for(typed: Any) -> None:
    world = World(event("mine", "ProgramFailed", "FAILED"), digits=job("later", "SUCCEEDED"))
    ran = typed(world, "wait", "digits@mine")
    assert (ran.code, ran.out) == (1, "Job digits@mine FAILED.\n")
    ran = typed(world, "wait", "digits@other")
    assert (ran.code, ran.out) == (1, "")
    assert "the job of that name is another one (digits@later)" in ran.err


def test_what_is_no_uid_becomes_no_part_of_the_question(typed: Any) -> None:
    ran = typed(World(), "wait", "digits@u,reason=Published")
    assert (ran.code, ran.out) == (1, "")
    assert "is not a name of a job's uid" in ran.err


def test_a_job_that_is_followed_keeps_its_uid_over_a_broken_watch() -> None:
    world = World(event("mine", "OutOfMemory", "FAILED"), digits=job("mine", "RUNNING"))
    world.watches = [[]]
    following = world.client().follow("digits")
    assert next(following).uid == "mine"
    del world.jobs["digits"]
    world.events.append(event("later", "Published", "SUCCEEDED", "2026-01-01T11:00:00Z"))
    with pytest.raises(JobGoneError) as caught:
        next(following)
    assert caught.value.state == JobState.FAILED


def test_the_verbs_of_a_job_never_reach_a_namesake() -> None:
    world = World(digits=job("mine", "RUNNING"))
    mine = world.client().get("digits")
    mine.cancel()
    mine.delete()
    assert world.sent == [
        ("PATCH", "/apis/fovea.dev/v1alpha1/namespaces/vision/trainingjobs/digits", {"metadata": {"uid": "mine"}, "spec": {"cancel": True}}),
        ("DELETE", "/apis/fovea.dev/v1alpha1/namespaces/vision/trainingjobs/digits", "mine"),
    ]  # fmt: skip
    world.sent.clear()
    world.jobs["digits"] = job("later", "SUCCEEDED")
    for verb in (mine.refresh, mine.cancel, mine.suspend, mine.resume, mine.wait, lambda: list(mine.stream_logs())):
        with pytest.raises(NotFoundError, match="another one"):
            verb()
    assert world.sent == []


def test_a_job_is_deleted_by_the_uid_that_its_address_names() -> None:
    world = World(digits=job("mine", "RUNNING"))
    world.client().delete("digits@mine")
    world.client().delete("digits")
    assert [uid for _, _, uid in world.sent] == ["mine", ""]


def test_events_that_may_not_be_read_leave_the_answer_that_the_job_is_not_there() -> None:
    world = World()

    def get(target: Any, path: str, query: Any = None) -> Any:
        raise (FoveaError("no") if path.endswith("/events") else NotFoundError("job digits does not exist"))

    world.get = get  # type: ignore[method-assign]
    with pytest.raises(NotFoundError, match=r"^job digits does not exist$"):
        world.client().get("digits")


@pytest.mark.parametrize("verb", ["describe", "wait", "cancel", "suspend", "resume", "delete", "stream-logs"])
def test_latest_is_said_to_be_of_what_a_job_left_and_is_taken_for_no_uid(typed: Any, verb: str) -> None:
    world = World(digits=job("mine", "RUNNING"))
    ran = typed(world, verb, "digits@latest", *(["--yes"] if verb == "delete" else []))
    assert (ran.code, world.sent) == (1, [])
    assert "digits@latest is what the newest job of that name left" in ran.err
    assert "name the job digits, or digits@UID" in ran.err
