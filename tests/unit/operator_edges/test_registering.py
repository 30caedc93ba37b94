"""Jobs of one model that end together: what their registrations cost, and what holds whatever happens in between."""

import asyncio
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import pytest
from fovea_operator import errors
from fovea_operator.cluster import resources
from fovea_operator.cluster.keys import Ref
from fovea_operator.reconcile.shared.decision import GroupVersionKind
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kinds import MODEL_VERSION, POD, TRAINING_JOB
from support.memory_api import Server
from support.registering import MODEL, NAMESPACE, Parts, Raw, SlowServer, ended_pod, model_version, training_job


def jobs_that_ended(server: Server, count: int) -> list[Raw]:
    names = [f"job-{number}" for number in range(count)]
    return [server.put(raw) for name in names for raw in (training_job(name), ended_pod(name))]


def statuses(server: Server) -> dict[str, Raw]:
    return {name: raw.get("status") or {} for (gvk, name), raw in server.objects.items() if gvk == TRAINING_JOB}


def named(server: Server) -> set[str]:
    return {status["modelVersion"] for status in statuses(server).values() if "modelVersion" in status}


def test_two_hundred_jobs_that_end_together_cost_two_calls_each() -> None:
    rng = Random(7)

    async def pause() -> None:
        for _ in range(rng.randint(1, 8)):
            await asyncio.sleep(0)

    async def run() -> Server:
        server = SlowServer(pause)
        parts = Parts(server)
        parts.know(jobs_that_ended(server, 200))
        await parts.settle()
        return server

    server = asyncio.run(run())
    assert sorted(server.detail) == ["create ModelVersion"] * 200 + ["patch TrainingJob/status"] * 200
    assert named(server) == {f"{MODEL}-v{number}" for number in range(1, 201)}, "without a gap"


class Faulty(Server):
    """An API server that refuses, does not answer, and answers late; it holds that no promise is broken."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self.rng = rng
        self.faults = 25
        """At most this many."""
        self.news: list[tuple[str, Raw]] = []
        """Watch events on their way."""
        self.registered: dict[str, str] = {}
        """Name of the version by the uid of its job."""
        self.asked: dict[str, str] = {}
        """Names that are being asked for, with the uid of the job."""

    def put(self, manifest: Raw) -> Raw:
        stored = super().put(manifest)
        self.news.append(("MODIFIED", stored))
        return stored

    def remove(self, name: str) -> None:
        self.news.append(("DELETED", self.objects.pop((MODEL_VERSION, name))))

    async def create(self, manifest: Raw) -> Raw:
        name, uid = manifest["metadata"]["name"], manifest["spec"]["lineage"]["jobUid"]
        assert self.asked.get(name, uid) == uid, f"two jobs try {name} at the same time"
        self.asked[name] = uid
        try:
            await self.pause()
            answer = await self.answer(name, uid, manifest)
            await self.pause()
        finally:
            del self.asked[name]
        return answer

    async def answer(self, name: str, uid: str, manifest: Raw) -> Raw:
        match self.fault():
            case "refused":
                raise errors.Refused("exceeded quota", code=403)
            case "lost":
                raise errors.Transient("no answer")
            case fault:
                stored = await super().create(manifest)
                assert name not in named(self), f"{name} was deleted, and a status names it"
                assert uid not in self.registered, f"two versions of one job: {self.registered[uid]} and {name}"
                self.registered[uid] = name
                if fault == "late":
                    raise errors.Transient("no answer")
                return stored

    async def merge_status(self, ref: Ref, version: int, patch: Mapping[str, Any]) -> Raw:
        await self.pause()
        fault = self.fault()
        if fault == "lost":
            raise errors.Transient("no answer")
        stored = await super().merge_status(ref, version, patch)
        if fault == "late":
            raise errors.Transient("no answer")
        await self.pause()
        return stored

    def fault(self) -> str:
        chosen = self.rng.choice(["refused", "lost", "late", "", "", ""])
        self.faults -= bool(chosen)
        return chosen if self.faults >= 0 else ""

    async def pause(self) -> None:
        for _ in range(self.rng.randint(0, 6)):
            await asyncio.sleep(0)


class Story:
    """An operator that is started again at times, users who register and delete versions, and a watch that lags."""

    def __init__(self, rng: Random, jobs: int) -> None:
        self.rng = rng
        self.server = Faulty(rng)
        jobs_that_ended(self.server, jobs)

    async def run(self) -> None:
        restarts = sorted(self.rng.sample(range(400), self.rng.randint(0, 2)))
        self.start()
        for turn in range(20_000):
            if restarts and turn == restarts[0]:
                restarts.pop(0)
                await self.restart()
            if turn < 400:
                self.somebody_does_something()
            if self.server.news and self.rng.random() < 0.3:
                self.tell()
            if turn > 400 and not self.server.news and self.all_have_ended():
                break
            await asyncio.sleep(0)
        await self.parts.queue.stop()

    def start(self) -> None:
        """A new process: it knows what it lists, and nothing of what was reserved."""
        self.server.news.clear()
        self.parts = Parts(self.server, workers=4)
        for gvk in (resources.MODEL_VERSION.gvk, TRAINING_JOB, POD):
            self.parts.know(raw for (found, _), raw in list(self.server.objects.items()) if found == gvk)
        self.parts.queue.start()

    async def restart(self) -> None:
        tasks = list(self.parts.queue._tasks)
        self.parts.queue.abandon()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.server.asked.clear()
        self.start()

    def somebody_does_something(self) -> None:
        chance = self.rng.random()
        if chance < 0.03:
            highest = max((number_of(name) for name in (*self.names(), *named(self.server))), default=0)
            self.server.put(model_version(highest + 1))
        elif chance < 0.06 and (there := sorted(named(self.server) & set(self.names()))):
            self.server.remove(self.rng.choice(there))

    def tell(self) -> None:
        event, raw = self.server.news.pop(0)
        self.parts.intake.event(GroupVersionKind.of(raw), event, raw)

    def names(self) -> Iterator[str]:
        return (name for gvk, name in self.server.objects if gvk == MODEL_VERSION)

    def all_have_ended(self) -> bool:
        return all(status.get("state") == "SUCCEEDED" for status in statuses(self.server).values())


def number_of(name: str) -> int:
    return int(name.rpartition("-v")[2])


@given(st.integers(0, 2**32), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_no_number_comes_twice_and_no_job_has_two_versions_whatever_comes_between(seed: int, jobs: int) -> None:
    story = Story(Random(seed), jobs)
    asyncio.run(story.run())
    assert story.all_have_ended(), statuses(story.server)
    assert len(story.server.registered) == jobs
    assert len(set(story.server.registered.values())) == jobs, "no number was given twice"
    assert {f"{name}-uid": status["modelVersion"] for name, status in statuses(story.server).items()} == (
        story.server.registered
    ), "each job's status names the version that it registered"


def test_a_version_that_somebody_registers_meanwhile_is_met_once_and_its_number_passed_over() -> None:
    async def run() -> Server:
        server = Server()
        parts = Parts(server)
        parts.know(jobs_that_ended(server, 1))
        server.put(model_version(1))  # and no event has told of it yet
        await parts.settle()
        return server

    server = asyncio.run(run())
    assert server.calls == ["create", "get", "create", "patch"]
    assert named(server) == {f"{MODEL}-v2"}


def test_a_number_whose_version_was_refused_stays_its_jobs() -> None:
    """A try before that, without an answer, may have registered it: with another number the job would have two versions."""

    async def run() -> Server:
        server = Server()
        parts = Parts(server)
        parts.know(jobs_that_ended(server, 2))
        first, second = (parts.jobs.key(NAMESPACE, f"job-{number}") for number in range(2))
        server.fail = lambda call: errors.Refused("exceeded quota", code=403) if "ModelVersion" in call else None
        await parts.reconciler.work(first, 0.0)
        server.fail = None
        await parts.reconciler.work(second, 0.0)
        await parts.reconciler.work(first, 0.0)
        return server

    found = {name: status.get("modelVersion") for name, status in statuses(asyncio.run(run())).items()}
    assert found == {"job-0": f"{MODEL}-v1", "job-1": f"{MODEL}-v2"}


def test_a_version_that_was_registered_without_an_answer_is_found_though_the_next_try_is_refused() -> None:
    """A quota refuses before anybody looks whether the name is taken."""

    async def run() -> Server:
        server = Server()
        parts = Parts(server)
        parts.know(jobs_that_ended(server, 2))
        first, second = (parts.jobs.key(NAMESPACE, f"job-{number}") for number in range(2))
        create, answers = (
            server.create,
            iter((errors.Transient("no answer"), errors.Refused("exceeded quota", code=403))),
        )

        async def without_answer(manifest: Raw) -> Raw:
            error = next(answers, None)
            if isinstance(error, errors.Refused):
                raise error
            stored = await create(manifest)
            if error is not None:
                raise error
            return stored

        server.create = without_answer  # type: ignore[method-assign]
        for key in (first, first, second, first):
            await parts.reconciler.work(key, 0.0)
        return server

    server = asyncio.run(run())
    found = {name: status.get("modelVersion") for name, status in statuses(server).items()}
    assert found == {"job-0": f"{MODEL}-v1", "job-1": f"{MODEL}-v2"}
    assert [name for gvk, name in server.objects if gvk == MODEL_VERSION] == [f"{MODEL}-v1", f"{MODEL}-v2"]


@pytest.mark.parametrize("end", ["deleted", "cancelled"])
def test_a_job_that_is_not_to_register_any_more_gives_its_number_back(end: str) -> None:
    async def run() -> int:
        server = Server()
        parts = Parts(server)
        [job, pod] = jobs_that_ended(server, 1)
        parts.know([job, pod])
        key = parts.jobs.key(NAMESPACE, "job-0")
        server.fail = lambda call: errors.Transient("no answer") if call == "create ModelVersion" else None
        await parts.reconciler.work(key, 0.0)
        assert parts.cache.models.next_number(NAMESPACE, MODEL, "another") == 2
        if end == "deleted":
            parts.intake.event(TRAINING_JOB, "DELETED", job)
        else:
            parts.intake.event(TRAINING_JOB, "MODIFIED", server.put({**job, "status": {"state": "CANCELLED"}}))
            await parts.reconciler.work(key, 0.0)
        return parts.cache.models.next_number(NAMESPACE, MODEL, "another")

    assert asyncio.run(run()) == 1


def test_a_number_that_a_status_names_is_not_given_again_after_its_version_was_deleted() -> None:
    async def run() -> Server:
        server = Server()
        parts = Parts(server)
        parts.know([server.put(training_job("earlier", {"state": "SUCCEEDED", "modelVersion": f"{MODEL}-v3"}))])
        parts.know(jobs_that_ended(server, 2))
        await parts.settle()
        return server

    assert named(asyncio.run(run())) == {f"{MODEL}-v3", f"{MODEL}-v4", f"{MODEL}-v5"}
