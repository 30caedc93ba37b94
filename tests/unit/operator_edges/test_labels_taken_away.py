"""Somebody takes the label away by which the operator watches an object, and perhaps puts it back."""

from types import SimpleNamespace
from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_operator.cluster import children
from fovea_operator.cluster.queue import Backoff
from fovea_operator.cluster.restored import Restored
from fovea_operator.reconcile.shared.decision import Child, Decision, Write
from fovea_operator.reconcile.shared.observed import JobObserved, PodRecord
from support.kinds import POD
from support.reconciled import World, job, pod


class Seen:
    """A running job, and what decisions on it are shown."""

    def __init__(self) -> None:
        self.pods: tuple[PodRecord, ...] = ()
        self.world = World(self.decide)
        self.world.know({**job(), "status": {"state": "RUNNING", "attempts": {"chief-0": 0}}})
        self.pod = self.world.know(pod())

    def decide(self, observed: JobObserved, *_: Any) -> Decision:
        self.pods = observed.pods
        return Decision()

    def look(self) -> tuple[list[str], list[str]]:
        """Calls of one look at the job, and names of the pods that its decision saw."""
        _, calls = self.world.work()
        return calls, [each.name for each in self.pods]

    def leaves_the_watch(self) -> dict[str, Any]:
        """An API server reports an object that left the selector as deleted, as it was, with the new version."""
        held = {**self.pod["metadata"], "labels": {}}
        stored = self.world.server.put({**self.pod, "metadata": held})
        version = {"resourceVersion": stored["metadata"]["resourceVersion"]}
        self.world.intake.event(POD, "DELETED", {**self.pod, "metadata": {**self.pod["metadata"], **version}})
        return stored


def test_a_pod_that_lost_its_label_is_looked_for_before_it_counts_as_lost_and_gets_the_label_again() -> None:
    seen = Seen()
    seen.leaves_the_watch()
    calls, pods = seen.look()
    assert calls == ["get Pod", "label Pod"]
    assert pods == ["digits-chief-0-0"]
    found = seen.world.server.objects[POD, "digits-chief-0-0"]["metadata"]["labels"]
    assert found == labels.of_training_pod("digits", "chief", 0, 0)
    assert seen.look()[0] == [], "it is known again"


def test_a_pod_whose_label_is_put_back_is_known_again() -> None:
    seen = Seen()
    stored = seen.leaves_the_watch()
    back = seen.world.server.put({**stored, "metadata": {**stored["metadata"], "labels": self_labels(seen)}})
    seen.world.intake.event(POD, "ADDED", back)
    assert seen.look() == ([], ["digits-chief-0-0"])


def self_labels(seen: Seen) -> dict[str, str]:
    return dict(seen.pod["metadata"]["labels"])


class Clock:
    """The monotonic clock, set by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(children, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.mark.parametrize("seen", ["looked for", "met by its name"])
def test_somebody_who_takes_the_labels_away_again_and_again_makes_no_race(
    monkeypatch: pytest.MonkeyPatch, seen: str
) -> None:
    """Each look that may come gives them back; the looks come ever later, and cost one read until then."""
    clock, lab = Clock(monkeypatch), Seen()
    if seen == "met by its name":
        lab.world = World(lambda *_: Decision(children=(Child(Write.CREATE, pod()),)))
        lab.world.know(job())
        lab.pod = lab.world.know(pod())
    pauses = []
    for _ in range(10):
        lab.leaves_the_watch()
        again, calls = lab.world.work()
        assert ("label Pod" in calls) == (again is None)
        if again is not None:
            pauses.append(again.at_least)
            clock.now += again.at_least
            assert "label Pod" in lab.world.work()[1]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_labels_that_are_taken_away_once_in_a_while_are_given_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, lab = Clock(monkeypatch), Seen()
    for _ in range(5):
        lab.leaves_the_watch()
        assert lab.look()[0] == ["get Pod", "label Pod"]
        clock.now += 121


def test_of_very_many_objects_the_oldest_are_forgotten() -> None:
    restored = Restored(Backoff(1, 60))
    for number in range(2000):
        restored.note(str(number), 0)
    assert (restored.wait("0", 0), restored.wait("1999", 0)) == (0, 1)


def test_a_pod_that_is_gone_is_looked_for_once_and_an_old_list_does_not_bring_it_back() -> None:
    seen = Seen()
    del seen.world.server.objects[POD, "digits-chief-0-0"]
    later = {**seen.pod, "metadata": {**seen.pod["metadata"], "resourceVersion": "50"}}
    seen.world.intake.event(POD, "DELETED", later)
    assert seen.look() == (["get Pod"], [])
    seen.world.intake.seen(POD, seen.pod)
    assert seen.look()[1] == []


def test_an_object_of_ours_that_is_met_by_its_name_and_that_no_watch_shows_gets_its_labels() -> None:
    """Its label went before a status named it, and it does not change any more: it would be met at every look."""
    wanted = pod()
    world = World(lambda *_: Decision(children=(Child(Write.CREATE, wanted),)))
    world.know(job())
    stored = world.server.put({**wanted, "metadata": {**wanted["metadata"], "labels": {}}})
    world.intake.event(POD, "DELETED", stored)
    assert world.work()[1] == ["create Pod", "get Pod", "label Pod"]
    assert world.work()[1] == []


def test_a_pod_of_that_name_that_belongs_to_another_job_is_none_of_ours() -> None:
    seen = Seen()
    del seen.world.server.objects[POD, "digits-chief-0-0"]
    seen.world.intake.gone(POD, "team", "digits-chief-0-0", seen.pod["metadata"]["uid"])
    seen.world.server.put(pod(owner="another"))
    assert seen.look() == (["get Pod"], [])
