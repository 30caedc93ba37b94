"""Somebody takes the label away by which the operator watches an object, and perhaps puts it back."""

from typing import Any

from fovea_api.contract import labels
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
