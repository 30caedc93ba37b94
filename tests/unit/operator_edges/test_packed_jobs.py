"""Jobs that have ended are kept packed: nobody sees a difference, and they cost and wake nothing."""

import tracemalloc
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fovea_api.contract import labels
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.cluster import packed, records, resources
from fovea_operator.cluster.cache import Cache, Change, Entry, Store
from fovea_operator.cluster.intake import Intake
from fovea_operator.cluster.keys import Key
from fovea_operator.cluster.kind import Kinds
from fovea_operator.cluster.metrics import Metrics
from fovea_operator.cluster.progress import Reports
from fovea_operator.errors import InvalidSpec
from fovea_operator.kinds.model_deployment import ModelDeployments
from fovea_operator.kinds.training_job import TrainingJobs
from fovea_operator.reconcile.shared.decision import GroupVersionKind
from fovea_operator.reconcile.training.view import is_settled
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ended_jobs import ended_job
from support.kinds import TRAINING_JOB
from support.reconciled import pod

MODEL = "model"


@dataclass(frozen=True)
class Step:
    """Something that the API server reports of a job."""

    verb: str
    name: str
    uid: str
    version: int
    raw: dict[str, Any]


def new_store(*, packing: bool) -> Store[TrainingJob]:
    store = Store(resources.TRAINING_JOB, records.job, is_settled) if packing else Store(TRAINING, records.job)
    store.group_by(MODEL, lambda entry: entry.record.spec.model.name if entry.record.spec.model else None)
    return store


TRAINING = resources.TRAINING_JOB
NAMES, UIDS = ("a", "b", "ä-ö"), ("u1", "u2")


@st.composite
def steps(draw: st.DrawFn) -> Step:
    name, uid, version = draw(st.sampled_from(NAMES)), draw(st.sampled_from(UIDS)), draw(st.integers(1, 30))
    state = draw(st.sampled_from(["", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "LATER"]))
    raw = ended_job(name, uid=uid, version=version)
    raw["metadata"]["generation"] = draw(st.integers(1, 2))
    raw["metadata"]["labels"] = draw(st.sampled_from([{}, {"team": "vision"}, {"team": "\ud83d\ude00"}]))
    raw["metadata"]["annotations"] = draw(st.sampled_from([{}, {"note": "x"}]))
    raw["status"] = {**raw["status"], "state": state, "message": draw(st.text(max_size=20))} if state else {}
    if draw(st.booleans()):
        raw["spec"]["model"] = {"name": draw(st.sampled_from(["cats", "dogs"]))}
    if draw(st.integers(0, 9)) == 0:
        raw["spec"]["trainer"] = {"recipe": 7}
    return Step(draw(st.sampled_from(["put", "put", "put", "remove"])), name, uid, version, raw)


def taken(store: Store[TrainingJob], step: Step) -> Change[TrainingJob] | str | None:
    if step.verb == "remove":
        return store.remove(("team", step.name), step.uid, step.version)
    try:
        return store.put(step.raw)
    except InvalidSpec as error:
        return str(error)


def everything(store: Store[TrainingJob]) -> Any:
    groups = {model: sorted(map(repr, store.group(MODEL, model))) for model in ("cats", "dogs")}
    return dict(store), groups, len(store), set(store.names()), store.unreadable, sorted(store.missing({"u1"}))


@settings(max_examples=150, deadline=None)
@given(st.lists(steps(), max_size=12))
def test_a_store_that_packs_answers_as_one_that_does_not(history: list[Step]) -> None:
    packing, plain = new_store(packing=True), new_store(packing=False)
    heard: tuple[list[Any], list[Any]] = ([], [])
    packing.follow(lambda *change: heard[0].append(change))
    plain.follow(lambda *change: heard[1].append(change))
    for step in history:
        assert taken(packing, step) == taken(plain, step)
        assert everything(packing) == everything(plain)
    assert heard[0] == heard[1]
    assert packing.clear() == plain.clear()


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda each: st.lists(each, max_size=3)))
def test_an_object_comes_back_as_it_was_but_for_what_no_record_is_made_of(value: Any) -> None:
    raw = {
        "metadata": {"name": "x", "annotations": {"a": "b"}, "managedFields": [{}], "labels": {"a": "b"}},
        "x": value,
    }
    assert packed.unpack(packed.pack(raw)) == {"metadata": {"name": "x", "labels": {"a": "b"}}, "x": value}


def test_a_text_that_utf_8_cannot_say_is_packed_all_the_same() -> None:
    raw = {"metadata": {"name": "x"}, "message": "half a pair: \ud800"}
    assert packed.unpack(packed.pack(raw)) == raw


def test_an_ended_job_takes_about_a_kibibyte() -> None:
    store, jobs = new_store(packing=True), 200
    tracemalloc.start()
    try:
        for number in range(jobs):
            store.put(ended_job(f"job-{number}", uid=f"uid-{number}", version=number + 1))
        # What stays, without what the reader keeps for all of them.
        there, _ = tracemalloc.get_traced_memory()
        for number in range(jobs, 2 * jobs):
            store.put(ended_job(f"job-{number}", uid=f"uid-{number}", version=number + 1))
        grown = (tracemalloc.get_traced_memory()[0] - there) / jobs
    finally:
        tracemalloc.stop()
    assert grown < 1800


class World:
    """What an operator knows after its first list, and which keys that queued."""

    def __init__(self, ttl_seconds: int | None = None) -> None:
        self.cache = Cache(labels.MODEL_DEPLOYMENT)
        self.jobs = TrainingJobs(self.cache, Reports(5, lambda *_: None), ttl_seconds=ttl_seconds)
        self.kinds = Kinds(self.jobs, ModelDeployments(self.cache))
        self.queued: list[Key] = []
        self.metrics = Metrics(self.cache, lambda: 0)
        self.intake = Intake(self.cache, self.kinds, self.queued.append)

    def seen(self, *raws: dict[str, Any]) -> set[Key]:
        self.queued.clear()
        for raw in raws:
            self.intake.seen(GroupVersionKind.of(raw), raw)
        return set(self.queued)

    def due(self, until: datetime = datetime(2026, 1, 2, tzinfo=UTC)) -> set[Key]:
        return set(self.kinds.due(until))


def key(name: str) -> Key:
    return Key(TRAINING_JOB, "team", name)


def with_ttl(raw: dict[str, Any], seconds: int) -> dict[str, Any]:
    return {**raw, "spec": {**raw["spec"], "runPolicy": {"ttlSecondsAfterFinished": seconds}}}


def test_a_job_that_had_ended_before_the_operator_began_is_not_looked_at() -> None:
    world = World()
    assert world.seen(ended_job("old")) == set()
    assert world.due() == set()


def test_jobs_that_go_on_and_ended_ones_whose_spec_was_edited_are_looked_at_each_time() -> None:
    world = World()
    running, edited = ended_job("running", version=1), ended_job("edited", version=2)
    running["status"] = {"state": "RUNNING"}
    edited["metadata"]["generation"] = 2
    assert world.seen(running, edited) == {key("running"), key("edited")}
    assert world.due() == {key("running"), key("edited")}
    world.seen(ended_job("running", version=3))
    assert world.due() == {key("edited")}


def test_an_ended_job_that_has_a_pod_is_looked_at_each_time() -> None:
    world = World()
    world.seen(ended_job("digits", version=1))
    left = pod("digits-chief-0-0", owner="uid-digits")
    left["metadata"] |= {"uid": "p", "resourceVersion": "2", "creationTimestamp": "2026-01-01T00:00:00Z"}
    assert world.seen(left) == {key("digits")}
    assert world.due() == {key("digits")}


def test_an_ended_job_is_looked_at_again_when_its_ttl_comes_before_the_next_time() -> None:
    world = World(ttl_seconds=3600)
    world.seen(ended_job("a", version=1), with_ttl(ended_job("b", version=2), 86_400))
    assert world.due(datetime(2026, 1, 1, 0, 59, tzinfo=UTC)) == set()
    assert world.due(datetime(2026, 1, 1, 12, tzinfo=UTC)) == {key("a")}
    assert world.due(datetime(2026, 1, 3, tzinfo=UTC)) == {key("a"), key("b")}
    world.intake.gone(TRAINING_JOB, "team", "a", "uid-a", 9)
    assert world.due(datetime(2026, 1, 3, tzinfo=UTC)) == {key("b")}


def test_an_edit_of_an_ended_job_queues_it_and_an_echo_of_what_is_known_does_not() -> None:
    world = World()
    world.seen(ended_job("old", version=1))
    assert world.seen(ended_job("old", version=1)) == set()
    edited = ended_job("old", version=2)
    edited["spec"]["cancel"] = True
    edited["metadata"]["generation"] = 2
    assert world.seen(edited) == {key("old")}


def test_a_packed_job_is_observed_whole() -> None:
    world, raw = World(), ended_job("old")
    world.seen(raw)
    observed, entry = world.jobs.observe(key("old"), ""), world.cache.jobs.get("team", "old")
    assert observed is not None
    assert observed.job == records.job(raw)
    assert entry == Entry(records.job(raw), "uid-old", 1, records.owner(raw), {})


def test_jobs_are_counted_by_state_without_a_look_at_each() -> None:
    world = World()
    world.seen(ended_job("a", version=1), ended_job("b", version=2))
    running = ended_job("c", version=3)
    running["status"] = {"state": "RUNNING"}
    world.seen(running)
    world.seen(ended_job("c", version=4))
    world.intake.gone(TRAINING_JOB, "team", "a", "uid-a", 9)
    text = world.metrics.text().decode()
    assert 'fovea_jobs{state="SUCCEEDED"} 2.0' in text
    assert 'fovea_jobs{state="RUNNING"} 0.0' in text
