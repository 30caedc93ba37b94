"""Metrics of what jobs go through: waits, starts, restarts, deadlines."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_operator.cluster.cache import Cache
from fovea_operator.cluster.intake import Intake
from fovea_operator.cluster.kind import Kinds
from fovea_operator.cluster.metrics import Metrics
from fovea_operator.cluster.progress import Reports
from fovea_operator.kinds.training_job import TrainingJobs
from fovea_operator.reconcile.shared.decision import Deadline, Decision
from fovea_operator.reconcile.shared.observed import JobObserved
from fovea_operator.settings import Settings
from support.kinds import POD, TRAINING_JOB
from support.reconciled import World as ReconciledWorld
from support.reconciled import job as reconciled_job


class World:
    """Metrics that follow a cache."""

    def __init__(self) -> None:
        self.cache = Cache(labels.MODEL_DEPLOYMENT)
        self.metrics = Metrics(self.cache, lambda: 0)
        jobs = TrainingJobs(self.cache, Reports(5, lambda *_: None))
        self.intake = Intake(self.cache, Kinds(jobs), lambda _key: None)
        self.version = 0

    def sees(self, kind: Any, manifest: dict[str, Any]) -> None:
        """The next version of an object."""
        self.version += 1
        metadata = {**manifest["metadata"], "resourceVersion": str(self.version)}
        self.intake.seen(kind, {**manifest, "metadata": metadata})

    def value(self, name: str, **of: str) -> float | None:
        """A sample."""
        return self.metrics.registry.get_sample_value(name, of)


def job(status: dict[str, Any] | None = None, *, uid: str = "u1") -> dict[str, Any]:
    return {
        "apiVersion": "fovea.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "digits", "namespace": "team", "uid": uid, "creationTimestamp": "2026-01-01T10:00:00Z"},
        "spec": {"trainer": {"container": {"image": "a:1"}}},
        "status": status or {},
    }


def pod(scheduled: str, *, attempt: int = 0) -> dict[str, Any]:
    owner = {"apiVersion": "fovea.dev/v1alpha1", "kind": "TrainingJob", "name": "digits", "uid": "u1"}
    metadata = {
        "name": f"digits-chief-0-{attempt}",
        "namespace": "team",
        "uid": f"p{attempt}",
        "creationTimestamp": "2026-01-01T10:00:01Z",
        "ownerReferences": [{**owner, "controller": True}],
    }
    bound = {"type": "PodScheduled", "status": "True", "lastTransitionTime": scheduled}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "status": {"phase": "Pending", "conditions": [bound]},
    }


RUNNING = {"state": "RUNNING", "queueTime": "2026-01-01T10:00:00Z", "startTime": "2026-01-01T10:01:30Z"}


def test_an_attempt_s_wait_for_nodes_and_the_job_s_way_to_its_program_are_observed_once() -> None:
    world = World()
    world.sees(TRAINING_JOB, job())
    world.sees(POD, pod("2026-01-01T10:00:40Z"))
    world.sees(TRAINING_JOB, job(RUNNING))
    world.sees(TRAINING_JOB, job(RUNNING | {"message": "it runs on"}))
    assert world.value("fovea_job_queue_wait_seconds_sum") == 40
    assert world.value("fovea_job_queue_wait_seconds_count") == 1
    assert world.value("fovea_job_time_to_running_seconds_sum") == 90
    assert world.value("fovea_job_time_to_running_seconds_count") == 1


def test_each_attempt_waits_for_itself_and_a_job_gets_to_its_first_program_once() -> None:
    world = World()
    world.sees(TRAINING_JOB, job())
    world.sees(POD, pod("2026-01-01T10:00:40Z"))
    world.sees(TRAINING_JOB, job(RUNNING))
    again = RUNNING | {"queueTime": "2026-01-01T11:00:00Z", "retries": 1}
    world.sees(TRAINING_JOB, job(again | {"state": "QUEUED"}))
    world.sees(POD, pod("2026-01-01T11:00:05Z", attempt=1))
    world.sees(TRAINING_JOB, job(again))
    assert world.value("fovea_job_queue_wait_seconds_sum") == 45
    assert world.value("fovea_job_queue_wait_seconds_count") == 2
    assert world.value("fovea_job_time_to_running_seconds_count") == 1


def test_restarts_count_by_their_cause() -> None:
    world = World()
    assert world.value("fovea_job_restarts_total", cause="retry") == 0, "a series from the beginning"
    world.sees(TRAINING_JOB, job(RUNNING))
    world.sees(TRAINING_JOB, job(RUNNING | {"retries": 1}))
    world.sees(TRAINING_JOB, job(RUNNING | {"retries": 2, "disruptions": 1}))
    world.sees(TRAINING_JOB, job({"retries": 9}, uid="u2"))
    assert world.value("fovea_job_restarts_total", cause="retry") == 2
    assert world.value("fovea_job_restarts_total", cause="disruption") == 1


def test_what_a_new_operator_finds_is_not_counted() -> None:
    world = World()
    world.sees(POD, pod("2026-01-01T10:00:40Z"))
    world.sees(TRAINING_JOB, job(RUNNING | {"retries": 3}))
    assert world.value("fovea_job_queue_wait_seconds_count") == 0
    assert world.value("fovea_job_time_to_running_seconds_count") == 0
    assert world.value("fovea_job_restarts_total", cause="retry") == 0


@pytest.mark.parametrize(("late", "missed"), [(0.5, 0.0), (60.0, 1.0)])
def test_a_job_that_ends_at_a_deadline_counts_and_one_that_ends_late_has_missed_it(late: float, missed: float) -> None:
    def decide(_observed: JobObserved, _now: datetime, _settings: Settings) -> Decision:
        due = datetime.now(UTC) - timedelta(seconds=late)
        return Decision(status={"state": "FAILED"}, deadline=Deadline("maxRunningSeconds", due))

    world = ReconciledWorld(decide)
    world.know(reconciled_job())
    world.work()
    registry = world.metrics.registry
    field = {"deadline": "maxRunningSeconds"}
    assert registry.get_sample_value("fovea_job_deadlines_total", field) == 1
    assert registry.get_sample_value("fovea_job_deadline_misses_total", field) == missed
    assert registry.get_sample_value("fovea_job_deadlines_total", {"deadline": "maxWaitSeconds"}) == 0
