"""BatchPredictions over the cache: which changes wake them, which pods are theirs, and what their workers may ask of the operator."""

import asyncio
from typing import Any

import pytest
from fovea_api.contract import labels, names
from fovea_api.contract.report import ProgressAnswer, Termination
from fovea_operator.cluster import records, resources
from fovea_operator.cluster.cache import Cache
from fovea_operator.cluster.intake import Intake
from fovea_operator.cluster.keys import Key
from fovea_operator.cluster.kind import Kinds
from fovea_operator.cluster.progress import Reports, Sender
from fovea_operator.desired.batch_job import batch_job
from fovea_operator.kinds.batch_prediction import BatchPredictions
from fovea_operator.reconcile.shared.decision import GroupVersionKind
from fovea_operator.reconcile.shared.observed import EarlierPods, PredictionObserved
from fovea_operator.runtime import Operator
from fovea_operator.settings import Settings
from support.observations import SETTINGS, at, machine, version
from support.predictions import PINNED, UID, counts, prediction, published

Raw = dict[str, Any]
SCORES = Key(resources.BATCH_PREDICTION.gvk, "vision", "scores")
OVER = PINNED | {"state": "SUCCEEDED", "endTime": "2026-11-21T10:01:00Z", "observedGeneration": 1}


def job(**changes: Any) -> Raw:
    made = batch_job(prediction(), version(3), 0, machine(), SETTINGS)
    made["metadata"]["uid"] = "job-uid"
    return {**made, **changes}


def pod(name: str = "scores-batch-0-0-x", *, phase: str = "Running", of: str = UID, **changes: Any) -> Raw:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "scores-batch-0", "uid": "job-uid", "controller": True}
    held = labels.of_batch_prediction("scores", of, "digits", 3)
    own = {labels.COMPLETION_INDEX: "0", labels.CONTROLLER_UID: "job-uid"}
    metadata = {"name": name, "namespace": "vision", "labels": {**held, **own}, "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": phase}, **changes}


class World:
    """The kind, its cache, and the keys that changes queued."""

    def __init__(self, status: Raw | None = None) -> None:
        self.cache = Cache(labels.MODEL_DEPLOYMENT)
        self.reports = Reports(5, lambda *_: None)
        self.kind = BatchPredictions(self.cache, self.reports)
        self.queued: list[Key] = []
        self.intake = Intake(self.cache, Kinds(self.kind), self.queued.append)
        self.intake.on_removed(self.reports.forget)
        self.version = 0
        self.know(prediction(status if status is not None else PINNED).dump())
        self.queued.clear()

    def know(self, raw: Raw, event: str = "ADDED") -> list[Key]:
        """An event; the keys that it queued."""
        self.version += 1
        raw = {**raw, "metadata": {"creationTimestamp": "2026-11-21T10:00:00Z", **raw["metadata"]}}
        raw["metadata"]["resourceVersion"] = str(self.version)
        raw["metadata"].setdefault("uid", f"{raw['metadata']['name']}-uid")
        self.queued.clear()
        self.intake.event(GroupVersionKind.of(raw), event, raw)
        return list(self.queued)

    @property
    def observed(self) -> PredictionObserved:
        found = self.kind.observe(SCORES, "")
        assert found is not None
        return found


@pytest.mark.parametrize(
    "raw",
    [job(), pod(), version(3).dump(), machine().dump()],
    ids=["its Job", "a worker", "a version", "a machine type"],
)
def test_what_a_prediction_waits_for_wakes_it(raw: Raw) -> None:
    assert World().know(raw) == [SCORES]


@pytest.mark.parametrize("raw", [version(3).dump(), machine().dump()], ids=["a version", "a machine type"])
def test_an_ended_prediction_waits_for_nothing(raw: Raw) -> None:
    assert World(OVER).know(raw) == []


def test_pods_with_the_label_that_no_job_owns_are_nobody_s() -> None:
    world = World()
    stray = pod()
    stray["metadata"]["ownerReferences"] = []
    assert world.know(stray) == []
    assert world.observed.pods == {}


def test_workers_and_jobs_of_an_earlier_prediction_of_the_name_are_not_its_own() -> None:
    world = World()
    earlier = job()
    earlier["metadata"] |= {
        "uid": "earlier",
        "ownerReferences": [{**earlier["metadata"]["ownerReferences"][0], "uid": "x"}],
    }
    world.know(earlier)
    world.know(pod(of="x"))
    assert (world.observed.jobs, world.observed.pods) == ((), {})
    assert world.observed.predecessors == ("scores-batch-0",)


def test_a_worker_that_ended_and_is_gone_is_observed_until_the_end_is_written() -> None:
    world = World()
    world.know(job())
    said = {"name": "batch", "state": {"terminated": {"exitCode": 0, "message": published().termination_message}}}
    whole = pod(phase="Succeeded", status={"phase": "Succeeded", "initContainerStatuses": [said]})
    world.know(pod())
    # The deletion is the only event that shows how it ended.
    assert world.know(whole, "DELETED") == [SCORES, SCORES]
    [[gone]] = world.observed.pods.values()
    assert (gone.name, gone.gone) == ("scores-batch-0-0-x", True)
    assert (world.kind.decide(SCORES, at(60), SETTINGS, "").status or {})["state"] == "SUCCEEDED"
    world.know(prediction(OVER).dump(), "MODIFIED")
    assert world.observed.pods == {}


def failed(number: int, said: Termination | None = None, **status: Any) -> Raw:
    """A pod of worker 0 that ran out of memory that many minutes after the prediction began."""
    predict = {"name": names.PREDICT_CONTAINER, "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
    batch = {
        "name": names.BATCH_CONTAINER,
        "state": {"terminated": {"exitCode": 0, "message": said and said.to_json()}},
    }
    state = {"phase": "Failed", "containerStatuses": [predict], "initContainerStatuses": [batch] if said else []}
    raw = pod(f"scores-batch-0-0-{number}", status=state | status)
    raw["metadata"]["creationTimestamp"] = f"2026-11-21T10:{number:02}:00Z"
    return raw


def test_of_many_pods_of_one_worker_that_failed_and_are_gone_the_newest_are_known_and_all_are_counted() -> None:
    world = World()
    world.know(job())
    world.know(prediction(PINNED, runPolicy={"backoffLimit": 9}).dump(), "MODIFIED")
    for number in range(30):
        evicted = {"reason": "Shutdown", "message": "its node is shut down"} if number % 3 else {}
        world.know(failed(number, **evicted))
        world.know(failed(number, **evicted), "DELETED")
    [known] = world.observed.pods.values()
    assert sorted(each.name for each in known) == ["scores-batch-0-0-27", "scores-batch-0-0-29"]
    assert world.observed.earlier == {("job-uid", 0): EarlierPods(9, 19)}
    status = world.kind.decide(SCORES, at(60), SETTINGS, "").status or {}
    assert (status["failures"], status["workers"]["failed"]) == ({"0": 10}, 30)
    assert status["conditions"][-1]["reason"] == "BackoffLimitExceeded"
    assert "Worker 0 failed more than 9 times" in status["message"]
    world.know(prediction(OVER).dump(), "MODIFIED")
    assert (world.observed.pods, world.observed.earlier) == ({}, {})


def test_a_pod_that_says_where_the_output_is_is_known_whatever_follows_it() -> None:
    world = World()
    world.know(job())
    said = {"name": "batch", "state": {"terminated": {"exitCode": 0, "message": published().termination_message}}}
    for raw in (failed(1, initContainerStatuses=[said]), failed(2), failed(3)):
        world.know(raw)
        world.know(raw, "DELETED")
    [known] = world.observed.pods.values()
    assert sorted(each.name for each in known) == ["scores-batch-0-0-1", "scores-batch-0-0-3"]
    assert (world.kind.decide(SCORES, at(60), SETTINGS, "").status or {})["state"] == "SUCCEEDED"


def test_the_last_words_of_a_pod_stay_counted_when_a_newer_one_that_said_less_is_gone_too() -> None:
    world = World()
    world.know(job())
    words = [
        Termination("Failed", "m", metrics={"records": 300.0, "errors": 1.0, "shards": 3.0}),
        Termination("Failed", "m", metrics={"records": 100.0, "errors": 0.0, "shards": 1.0}),
    ]
    for number, said in enumerate(words):
        world.know(failed(number, said))
        world.know(failed(number, said), "DELETED")
    [[known]] = world.observed.pods.values()
    assert known.name == "scores-batch-0-0-1"
    status = world.kind.decide(SCORES, at(60), SETTINGS, "").status or {}
    assert (status["progress"]["records"], status["progress"]["shards"]["done"]) == (300, 3)


def test_what_a_worker_that_is_gone_has_counted_stays_counted() -> None:
    world = World()
    world.know(job())
    world.know(pod())
    sender = Sender("vision", "scores-batch-0-0-x", "scores-batch-0-0-x-uid")
    world.reports.put(sender, counts(100).report, 0)
    assert [said.report for said in world.observed.heard.values()] == [counts(100).report]
    world.know(pod(), "DELETED")
    assert (world.observed.heard, world.observed.heard_before) == ({}, {0: counts(100).report})
    world.know(prediction(OVER).dump(), "MODIFIED")
    assert world.observed.heard_before == {}


def test_what_is_kept_of_the_pods_of_one_number_is_the_furthest_report() -> None:
    world = World()
    world.know(job())
    for number, said in enumerate((counts(300, 0, 3), counts(100, 0, 1))):
        name = f"scores-batch-0-0-{number}"
        world.know(pod(name))
        world.reports.put(Sender("vision", name, f"{name}-uid"), said.report, 0)
        assert world.observed.heard
        world.know(pod(name), "DELETED")
    assert world.observed.heard_before == {0: counts(300, 0, 3).report}


def test_a_job_that_is_out_of_sight_is_looked_for_where_workers_were_seen() -> None:
    workers = {"active": 1, "succeeded": 0, "failed": 0}
    [(ref, marks)] = World(PINNED | {"workers": workers}).kind.unconfirmed(SCORES)
    assert (ref.gvk, ref.name) == (resources.BATCH_JOB.gvk, "scores-batch-0")
    assert marks == labels.of_batch_prediction("scores", UID, "digits", 3)
    assert list(World().kind.unconfirmed(SCORES)) == []
    assert list(World(OVER | {"workers": workers}).kind.unconfirmed(SCORES)) == []


def test_ended_predictions_are_due_at_their_ttl_only() -> None:
    assert list(World().kind.due(at(0))) == [SCORES]
    assert list(World(OVER).kind.due(at(10_000))) == []
    world = World()
    world.know(prediction(OVER, runPolicy={"ttlSecondsAfterFinished": 30}).dump(), "MODIFIED")
    assert [list(world.kind.due(at(seconds))) for seconds in (80, 100)] == [[], [SCORES]]


def test_a_version_that_a_prediction_names_is_not_given_to_other_files() -> None:
    world = World()
    assert world.cache.models.next_number("vision", "digits", "somebody") == 4


@pytest.mark.parametrize(
    ("conditions", "complete", "failed"),
    [
        ([], False, ""),
        ([{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}], True, ""),
        ([{"type": "Complete", "status": "False"}], False, ""),
        (
            [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "m"}],
            False,
            "DeadlineExceeded",
        ),
        ([{"type": "Failed", "status": "True"}], False, "Failed"),
    ],
)
def test_a_job_s_record_says_how_it_ended(conditions: list[Raw], complete: bool, failed: str) -> None:
    record = records.batch_job(job(status={"conditions": conditions}))
    assert (record.complete, record.failed, record.suspended) == (complete, failed, False)
    assert records.batch_job(job(spec={"suspend": True})).suspended


def test_the_operator_takes_reports_of_workers_and_shows_them_no_log() -> None:
    async def run() -> list[Any]:
        operator = Operator(Settings())
        cache = operator._cache
        for number, raw in enumerate((prediction(PINNED).dump(), job(), pod())):
            raw["metadata"] |= {"resourceVersion": str(number + 1), "creationTimestamp": "2026-11-21T10:00:00Z"}
            raw["metadata"].setdefault("uid", "p1")
            store = cache.store(GroupVersionKind.of(raw))
            assert store is not None
            store.put(raw)
        known, other = Sender("vision", "scores-batch-0-0-x", "p1"), Sender("vision", "scores-batch-0-0-x", "p2")
        answers = [operator._senders.answer(known), operator._senders.answer(other), operator._senders.has_log(known)]
        another = job()
        another["metadata"] |= {"resourceVersion": "9", "ownerReferences": [owner | {"uid": "another"}]}
        cache.batch_jobs.put(another)
        return [*answers, operator._senders.answer(known)]

    [owner] = job()["metadata"]["ownerReferences"]
    assert asyncio.run(run()) == [ProgressAnswer(), None, False, None]


def test_a_thousand_workers_do_not_slow_the_progress_of_jobs() -> None:
    looks: list[tuple[str, float]] = []
    reports = Reports(
        5,
        lambda _namespace, pod, seconds: looks.append((pod, seconds)),
        rate=4,
        is_one_of_many=lambda _namespace, pod: pod.startswith("scores"),
    )
    for number in range(1000):
        reports.put(Sender("vision", f"scores-{number}", f"u{number}"), counts(1).report, 0)
    assert reports.period == 5
    # Each change of a worker's numbers is passed on: what it wakes is put off together with the others'.
    reports.put(Sender("vision", "scores-7", "u7"), counts(2).report, 1)
    reports.put(Sender("vision", "scores-7", "u7"), counts(2).report, 2)
    assert looks[1000:] == [("scores-7", 0.0)]


def test_the_workers_of_a_prediction_cost_one_decision_in_a_period() -> None:
    async def run() -> int:
        operator = Operator(Settings(progress_seconds=5))
        for number in range(50):
            raw = pod(f"scores-batch-0-{number}-x")
            raw["metadata"] |= {"uid": f"p{number}", "resourceVersion": str(number + 1)}
            raw["metadata"]["creationTimestamp"] = "2026-11-21T10:00:00Z"
            operator._cache.pods.put(raw)
        woken: list[float] = []
        operator._heard._wake = lambda _key, seconds: woken.append(seconds)
        for number in range(50):
            operator._reports.put(Sender("vision", f"scores-batch-0-{number}-x", f"p{number}"), counts(1).report, 0)
        return len(woken)

    # The first at once, the others together when the period is over.
    assert asyncio.run(run()) <= 2
