"""Pods that get their nodes together: the PodGroup of the scheduler that is there, and nodes that are given back without one."""

from dataclasses import replace
from typing import Any

import pytest
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.desired.members import Member
from fovea_operator.reconcile.shared.decision import (
    COSCHEDULING_POD_GROUP,
    POD_GROUP,
    VOLCANO_POD_GROUP,
    Decision,
    GroupVersionKind,
)
from fovea_operator.reconcile.shared.observed import PodRecord
from support.decision_table import RUNNING, SEEN, decide, summary
from support.members import of
from support.observations import after, at, observed, pod, preparing, running
from support.observations import job as single_job

WORKER = Member("worker", 0)
ALL = (POD_GROUP, COSCHEDULING_POD_GROUP, VOLCANO_POD_GROUP)


def job(status: dict[str, Any] | None = None, **spec: Any) -> TrainingJob:
    return single_job(status, **({"distribution": "MultiWorkerMirrored", "roles": {"worker": {"count": 1}}} | spec))


def made(of_job: TrainingJob, *served: GroupVersionKind) -> dict[str, dict[str, Any]]:
    """What is made, by kind; of several pods the last one."""
    decision = decide(observed(of_job, served=frozenset(served)))
    return {child.manifest["kind"]: child.manifest for child in decision.children}


def test_the_pod_group_of_kubernetes_comes_first() -> None:
    found = made(job(), *ALL)
    assert found["PodGroup"]["apiVersion"] == "scheduling.k8s.io/v1alpha2"
    assert found["PodGroup"]["spec"] == {"schedulingPolicy": {"gang": {"minCount": 2}}}
    assert found["Pod"]["spec"]["schedulingGroup"] == {"podGroupName": "trainingjob-digits"}
    assert "schedulerName" not in found["Pod"]["spec"]


def test_the_pod_group_of_the_scheduler_plugins() -> None:
    found = made(job(scheduling={"gangTimeoutSeconds": 90}), COSCHEDULING_POD_GROUP, VOLCANO_POD_GROUP)
    assert found["PodGroup"]["apiVersion"] == "scheduling.x-k8s.io/v1alpha1"
    assert found["PodGroup"]["spec"] == {"minMember": 2, "scheduleTimeoutSeconds": 90}
    assert found["Pod"]["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"] == "trainingjob-digits"
    assert found["Pod"]["spec"]["schedulerName"] == "scheduler-plugins-scheduler"


def test_the_pod_group_of_volcano() -> None:
    found = made(job(), VOLCANO_POD_GROUP)
    assert found["PodGroup"]["spec"] == {"minMember": 2}
    assert found["Pod"]["metadata"]["annotations"]["scheduling.k8s.io/group-name"] == "trainingjob-digits"
    assert found["Pod"]["spec"]["schedulerName"] == "volcano"


@pytest.mark.parametrize(
    ("gang", "several", "is_made"),
    [("Auto", True, True), ("Auto", False, False), ("Always", False, True), ("Never", True, False)],
)
def test_which_jobs_are_a_gang(gang: str, several: bool, is_made: bool) -> None:
    wanted = {"scheduling": {"gang": gang}}
    assert ("PodGroup" in made(job(**wanted) if several else single_job(**wanted), POD_GROUP)) == is_made


def test_a_pod_that_is_made_again_is_in_no_gang_when_a_member_is_done() -> None:
    """A scheduler counts the pods of a gang that are there: one whose pod is gone would be waited for in vain."""
    servers = job(
        RUNNING
        | {
            "attempts": {"chief-0": 0, "worker-1": 1},
            "endedPrograms": {"worker-0": 0},
            "nextAttemptTimes": {"worker-1": "2026-11-21T10:00:30Z"},
        },
        distribution="ParameterServer",
        roles={"worker": {"count": 2}, "ps": {"count": 1}},
    )
    others = (running(), of(Member("ps", 0), running()))
    seen = replace(observed(servers, *others), served=frozenset({COSCHEDULING_POD_GROUP}))
    [again] = [child.manifest for child in decide(seen, 600).children if child.manifest["kind"] == "Pod"]
    assert again["metadata"]["name"] == "digits-worker-1-1"
    assert "scheduling.x-k8s.io/pod-group" not in again["metadata"]["labels"]
    in_gang = job(distribution="ParameterServer", roles={"worker": {"count": 2}, "ps": {"count": 1}})
    first = replace(observed(in_gang), served=frozenset({COSCHEDULING_POD_GROUP}))
    pods = [child.manifest for child in decide(first, 1).children if child.manifest["kind"] == "Pod"]
    assert all("scheduling.x-k8s.io/pod-group" in each["metadata"]["labels"] for each in pods)
    assert len(pods) == 4


def test_without_a_scheduler_of_gangs_auto_goes_on_and_always_waits() -> None:
    assert made(job()).keys() == {"NetworkPolicy", "Service", "Pod"}
    decision = decide(observed(job(scheduling={"gang": "Always"})))
    assert summary(decision)["conditions"]["Admitted"] == "False GangUnavailable"
    assert (
        "install such a scheduler, or submit the job with scheduling.gang: Auto" in (decision.status or {})["message"]
    )


# -- nodes that are given back ------------------------------------------------------------------------------------------


def half(now: float, *, created: float = 0, **spec: Any) -> Decision:
    """The chief has a node, its worker has none."""
    without = of(WORKER, pod(created=created, unschedulable="0/1 nodes are available: 1 Insufficient cpu"))
    return decide(observed(job(SEEN | {"state": "QUEUED"}, **spec), preparing(), without), now)


def test_a_job_that_is_half_placed_gives_its_nodes_back_after_the_timeout() -> None:
    assert not half(299).deletions
    assert half(299).requeue_at == at(300), "it is woken in time"
    decision = half(300)
    assert sorted(deletion.name for deletion in decision.deletions) == ["digits-chief-0-0", "digits-worker-0-0"]
    found = summary(decision)
    assert found["attempts"] == {"chief-0": 1, "worker-0": 1}
    assert (found["retries"], found["disruptions"]) == (None, None)
    assert found["conditions"]["Running"] == "False GangTimeout"
    assert "Only 1 of 2 pods got a node within 300 s" in (decision.status or {})["message"]


def test_the_timeout_is_the_jobs_own_and_never_turns_it_off() -> None:
    assert half(45, scheduling={"gangTimeoutSeconds": 45}).deletions
    assert not half(5000, scheduling={"gang": "Never"}).deletions


def test_a_worker_that_replaces_one_that_failed_does_not_make_the_others_give_back_their_nodes() -> None:
    assert not half(5000, created=61).deletions


@pytest.mark.parametrize("pods", [(preparing(), of(WORKER, preparing())), (pod(), of(WORKER, pod()))])
def test_a_job_all_or_none_of_whose_pods_have_nodes_goes_on(pods: tuple[PodRecord, ...]) -> None:
    assert not decide(observed(job(SEEN | {"state": "QUEUED"}), *pods), 5000).deletions


def test_a_chief_that_runs_and_waits_for_its_worker_gives_its_node_back_too() -> None:
    seen = observed(job(RUNNING), running(), of(WORKER, pod()))
    assert sorted(each.name for each in decide(seen, 300).deletions) == ["digits-chief-0-0", "digits-worker-0-0"]


def test_two_jobs_of_half_the_nodes_each_do_not_come_back_together() -> None:
    """Both hold one of two nodes. Each gives it back; the pauses differ, so that the first one finds both free."""
    begins = []
    for uid in ("a-uid", "b-uid"):
        of_job = job(SEEN | {"state": "QUEUED"}, trainer={"recipe": "image-classifier"})
        of_job = of_job.model_copy(update={"metadata": of_job.metadata.model_copy(update={"uid": uid})})
        seen = observed(of_job, preparing(), of(WORKER, pod()))
        given_back = decide(seen, 300)
        assert given_back.requeue_at is not None
        begins.append(given_back.requeue_at)
        again = decide(replace(seen, job=after(of_job, given_back), pods=()), (given_back.requeue_at - at(0)).seconds)
        assert summary(again)["creates"] == ["digits-pods", "digits-pods", "digits-chief-0-1", "digits-worker-0-1"]
    assert begins[0] != begins[1]


def test_the_wait_for_a_node_goes_on_to_count() -> None:
    decision = half(300, runPolicy={"maxWaitSeconds": 310})
    assert summary(decision)["queued"] == "2026-11-21T10:00:00Z"
    assert decision.requeue_at == min(at(310), decision.requeue_at or at(310))
