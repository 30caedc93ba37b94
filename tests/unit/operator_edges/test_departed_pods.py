"""A pod that went after it had ended: how it ended is not lost with it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.shared.observed import JobObserved, PodRecord
from support.kinds import POD, TRAINING_JOB
from support.reconciled import DIGITS, World, job, pod

RUNNING = {"phase": "Running"}
SUCCEEDED = {"phase": "Succeeded"}


def as_of(raw: dict[str, Any], version: int, **changes: Any) -> dict[str, Any]:
    return {**raw, "metadata": {**raw["metadata"], "resourceVersion": str(version)}, **changes}


class Seen:
    """What decisions were shown."""

    def __init__(self) -> None:
        self.world = World(self.decide)
        self.job = self.world.know(job())
        self.pod = self.world.know({**pod(), "status": RUNNING})
        self.pods: tuple[PodRecord, ...] = ()
        self.vanished: datetime | None = None

    def decide(self, observed: JobObserved, *_: Any) -> Decision:
        self.pods, self.vanished = observed.pods, observed.vanished
        return Decision()

    def look(self) -> list[tuple[str, bool]]:
        """Phases of the pods that a decision sees, and whether they are gone."""
        self.world.work()
        return [(each.phase, each.gone) for each in self.pods]

    def job_becomes(self, version: int, **status: Any) -> None:
        self.world.intake.seen(TRAINING_JOB, as_of(self.job, version, status=status))


def test_the_end_that_comes_with_the_deletion_alone_is_seen() -> None:
    seen = Seen()
    seen.world.intake.event(POD, "DELETED", as_of(seen.pod, 50, status=SUCCEEDED))
    assert DIGITS in seen.world.queued
    assert seen.look() == [("Succeeded", True)]


def test_the_end_that_came_just_before_the_deletion_is_seen_as_it_was() -> None:
    seen = Seen()
    seen.world.intake.event(POD, "MODIFIED", as_of(seen.pod, 50, status=SUCCEEDED))
    late = as_of(seen.pod, 51, status=SUCCEEDED)
    late["metadata"] |= {"deletionTimestamp": datetime.now(UTC).isoformat()}
    seen.world.intake.event(POD, "DELETED", late)
    assert seen.look() == [("Succeeded", True)]
    assert not seen.pods[0].deleting, "a deletion after the end says nothing of it"


def test_a_pod_that_went_while_it_ran_is_gone() -> None:
    seen = Seen()
    before = datetime.now(UTC)
    seen.world.intake.event(POD, "DELETED", as_of(seen.pod, 50))
    assert seen.look() == []
    assert seen.vanished is not None
    assert before <= seen.vanished <= datetime.now(UTC)
    seen.job_becomes(60, state="QUEUED", attempts={"chief-0": 1})
    seen.look()
    assert seen.vanished is None, "the next attempt is written"


def test_a_pod_that_no_operator_saw_go_has_no_such_time() -> None:
    seen = Seen()
    assert seen.look() == [("Running", False)]
    assert seen.vanished is None


@pytest.mark.parametrize(
    "status",
    [{"state": "SUCCEEDED", "attempts": {"chief-0": 0}}, {"state": "QUEUED", "attempts": {"chief-0": 1}}],
    ids=["the job has ended", "the next attempt is written"],
)
def test_it_is_forgotten_once_the_status_says_what_became_of_it(status: dict[str, Any]) -> None:
    seen = Seen()
    seen.world.intake.event(POD, "DELETED", as_of(seen.pod, 50, status=SUCCEEDED))
    seen.job_becomes(51, state="RUNNING", attempts={"chief-0": 0})
    assert seen.look() == [("Succeeded", True)], "a status that was on its way knows nothing of it"
    seen.job_becomes(52, **status)
    assert seen.look() == []


def test_a_namesake_of_the_job_does_not_inherit_it() -> None:
    seen = Seen()
    seen.world.intake.event(POD, "DELETED", as_of(seen.pod, 50, status=SUCCEEDED))
    seen.world.intake.event(TRAINING_JOB, "DELETED", seen.job)
    heir = job()
    heir["metadata"]["uid"] = "u2"
    seen.world.know(heir)
    assert seen.look() == []
