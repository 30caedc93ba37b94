"""The only pod of a model on a cordoned node: a second pod starts, a drain waits for it until its deadline, and one pod stays."""

from dataclasses import replace
from typing import Any

import pytest
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.observed import BudgetRecord
from support.evacuation_table import (
    DEADLINE,
    ENDING,
    LATE,
    READY,
    SECOND,
    STARTING,
    Cluster,
    Row,
    check,
    pods,
    seen,
)
from support.observations import SETTINGS, at, version
from support.rollout_table import STABLE_1, V1, V2, candidate, draining, failed, held, stable, summary
from support.serving_observations import budget_of, model_deployment, server_pod, service_at, serving, workload

ROWS = {
    "no node is cordoned": Row(seen(READY, set())),
    "another node is cordoned": Row(seen(READY, {"n2"})),
    "nodes are not seen: no second pod would come, so the only one is not held": Row(
        seen(READY, None, budget=1), leaves=0
    ),
    "nodes were not seen and are now": Row(seen(READY, set(), budget=0), leaves=1),
    "the node is cordoned": Row(
        seen(READY, {"n1"}),
        scaled_to=2,
        step="SecondPodStarting",
        since=60,
        event="Normal SecondPodStarting",
        says="answers on 1 of 2 pods. Node n1 is cordoned: a second pod starts elsewhere before the first is evicted.",
        wakes=60 + DEADLINE,
    ),
    "the only pod is not ready: it is evicted at once, and loses nothing": Row(seen({"n1": False}, {"n1"})),
    "it waits for the second pod": Row(
        seen({"n1": True, "n2": False}, {"n1"}, status=STARTING, replicas=2),
        step="SecondPodStarting",
        since=0,
        wakes=DEADLINE,
    ),
    "the first pod is not ready for a moment meanwhile": Row(
        seen({"n1": False, "n2": False}, {"n1"}, status=STARTING, replicas=2),
        step="SecondPodStarting",
        since=0,
        wakes=DEADLINE,
    ),
    "somebody scales the Deployment": Row(
        seen({"n1": True}, {"n1"}, status=STARTING, replicas=1),
        scaled_to=2,
        step="SecondPodStarting",
        since=0,
        wakes=DEADLINE,
    ),
    "the second pod is ready": Row(
        seen({"n1": True, "n2": True}, {"n1"}, status=STARTING, replicas=2),
        step="SecondPodReady",
        since=60,
        event="Normal SecondPodReady",
        says="answers on 2 of 2 pods. Node n1 is cordoned: a second pod is ready, so one of the two can be evicted.",
    ),
    "nobody evicts the first pod": Row(
        seen({"n1": True, "n2": True}, {"n1"}, status=SECOND, replicas=2), step="SecondPodReady", since=0
    ),
    "the first pod is evicted": Row(
        seen({"n2": True}, {"n1"}, status=SECOND, replicas=2), scaled_to=1, says="answers on 1 of 1 pods."
    ),
    "the node is uncordoned, or removed": Row(
        seen({"n1": True, "n2": True}, set(), status=SECOND, replicas=2),
        step="SecondPodEnding",
        since=60,
        event="Normal SecondPodEnding",
        says="Node n1 is not cordoned any more: one of the two pods ends 120 s after that.",
        wakes=180,
    ),
    "the node was removed, and its pod is gone": Row(seen({"n2": True}, set(), status=ENDING, replicas=2), scaled_to=1),
    "the node was uncordoned a while ago": Row(
        seen({"n1": True, "n2": True}, set(), status=ENDING, replicas=2), scaled_to=1, now=120
    ),
    "the node was uncordoned before the second pod is ready": Row(
        seen({"n1": True, "n2": False}, set(), status=ENDING, replicas=2), step="SecondPodEnding", since=0, wakes=120
    ),
    "the node is cordoned again": Row(
        seen({"n1": True, "n2": False}, {"n1"}, status=ENDING, replicas=2),
        step="SecondPodStarting",
        since=60,
        event="Normal SecondPodStarting",
        wakes=60 + DEADLINE,
    ),
    "nodes are not seen any more": Row(
        seen({"n1": True, "n2": True}, None, status=SECOND, replicas=2), scaled_to=1, leaves=0
    ),
    "the second pod's node is cordoned, too: one of the two can be evicted, and a third pod follows": Row(
        seen({"n1": True, "n2": True}, {"n1", "n2"}, status=SECOND, replicas=2), step="SecondPodReady", since=0
    ),
    "the first pod is evicted while the second one is on a cordoned node: the third one has its own time": Row(
        seen({"n2": True, "n3": False}, {"n1", "n2"}, status=SECOND, replicas=2),
        step="SecondPodStarting",
        since=60,
        event="Normal SecondPodStarting",
        says="Node n2 is cordoned: a second pod starts elsewhere",
        wakes=60 + DEADLINE,
    ),
    "no node takes the second pod, until the deadline": Row(
        seen({"n1": True, "": False}, {"n1"}, status=STARTING, replicas=2),
        leaves=0,
        step="SecondPodLate",
        since=DEADLINE,
        event="Warning SecondPodLate",
        says=f"no second pod was ready within {DEADLINE} s (rollout.progressDeadlineSeconds). Fovea changes minAvailable",
        now=DEADLINE,
    ),
    "the deadline is the user's": Row(
        seen(
            {"n1": True, "": False},
            {"n1"},
            status=STARTING,
            replicas=2,
            rollout={"progressDeadlineSeconds": 30},
        ),
        leaves=0,
        step="SecondPodLate",
        since=60,
        event="Warning SecondPodLate",
        says="within 30 s",
    ),
    "it is late, and nothing changes": Row(
        seen({"n1": True, "": False}, {"n1"}, status=LATE, replicas=2, budget=0),
        step="SecondPodLate",
        since=0,
        says="A drain may evict the only pod now. Once it is evicted, nothing answers until another pod is ready.",
    ),
    "the late second pod is ready": Row(
        seen({"n1": True, "n2": True}, {"n1"}, status=LATE, replicas=2, budget=0),
        leaves=1,
        step="SecondPodReady",
        since=60,
        event="Normal SecondPodReady",
    ),
    "the only pod was evicted because the second one was late": Row(
        seen({"": False}, {"n1"}, status=LATE, replicas=2, budget=0), scaled_to=1, leaves=1
    ),
    "a user scales down to one pod on a cordoned node": Row(
        seen({"n1": True}, {"n1"}, replicas=2, scaling={"minReplicas": 1}),
        step="SecondPodStarting",
        since=60,
        event="Normal SecondPodStarting",
        wakes=60 + DEADLINE,
    ),
    "the budget of a late second pod cannot be changed": Row(
        seen({"n1": True, "": False}, {"n1"}, status=LATE, replicas=2, budget=1),
        leaves=0,
        step="SecondPodLate",
        since=0,
        says="Fovea changes minAvailable of PodDisruptionBudget digits from 1 to 0, so that a drain goes on. If it stays 1, the "
        "API server refuses the change: see the operator's log.",
    ),
    "the budget of a second pod that starts cannot be changed": Row(
        seen({"n1": True, "n2": False}, {"n1"}, status=STARTING, replicas=2, budget=0),
        leaves=1,
        step="SecondPodStarting",
        since=0,
        says="from 0 to 1, so that a drain waits. If it stays 0,",
        wakes=DEADLINE,
    ),
    "a status with a time that is none": Row(
        seen(
            {"n1": True},
            {"n1"},
            status=held(stable(1) | {"evacuation": {"node": "n1", "step": "SecondPodStarting", "since": "soon"}}),
            replicas=2,
        ),
        step="SecondPodStarting",
        since=60,
        wakes=60 + DEADLINE,
    ),
}


@pytest.mark.parametrize("what", ROWS)
def test_the_only_pod_of_a_version_on_a_cordoned_node(what: str) -> None:
    check(ROWS[what])


def test_the_node_that_is_named_is_one_that_a_pod_is_on() -> None:
    """The pod on the first node was evicted, and a third one is ready already."""
    of = seen({"n2": True, "n3": True}, {"n1", "n2"}, status=SECOND, replicas=2)
    [place] = (decide_model_deployment(of, at(60), SETTINGS).status or {})["places"]
    assert place["evacuation"] == {"node": "n2", "step": "SecondPodReady", "since": times.text(at(0))}


def test_the_reason_why_the_second_pod_is_not_ready_is_said() -> None:
    of = seen(READY, {"n1"}, status=STARTING, replicas=2)
    second = server_pod(V1, node="", unschedulable="0/2 nodes are available: 2 node(s) were unschedulable.")
    of = replace(of, pods=(*of.pods, second))
    for now, status in ((60, "starts elsewhere before the first is evicted"), (DEADLINE, "DeadlineSeconds)")):
        decision = decide_model_deployment(of, at(now), SETTINGS)
        why = f"{status}: no node takes pod {second.name}: 0/2 nodes are available: 2 node(s) were unschedulable."
        assert why in (decision.status or {})["message"]


@pytest.mark.parametrize(("now", "scales"), [(19, {}), (21, {V1: 1})])
def test_how_long_the_second_pod_stays_is_a_setting(now: float, scales: dict[str, int]) -> None:
    of = seen({"n1": True, "n2": True}, set(), status=ENDING, replicas=2)
    decision = decide_model_deployment(of, at(now), replace(SETTINGS, second_pod_end_seconds=20))
    assert summary(decision)["scales"] == scales


def test_a_pod_that_ends_or_has_ended_is_on_no_node() -> None:
    of = seen({"n2": True}, {"n1"}, status=SECOND, replicas=2)
    for gone in pods(V1, {"n1": False}, phase="Failed") + pods(V1, READY, deleting=True):
        decision = decide_model_deployment(replace(of, pods=(*of.pods, gone)), at(60), SETTINGS)
        assert summary(decision)["scales"] == {V1: 1}


def test_the_new_version_takes_over_from_one_that_leaves_a_node_and_only_the_served_one_gets_a_second_pod() -> None:
    """Version 1 has two pods, version 2 starts on a node that is cordoned now as well."""
    status = held(STARTING["places"][0], candidate(2))
    of = replace(
        serving(
            model_deployment(status),
            version(1),
            version(2),
            workloads=[workload(V1, replicas=2, ready=1), workload(V2, ready=0)],
            pods=pods(V1, READY) + pods(V2, {"n3": False}),
            service=service_at(V1),
            budget=budget_of(V1, 1),
            cordoned=frozenset({"n1", "n3"}),
        )
    )
    waiting = decide_model_deployment(of, at(60), SETTINGS)
    assert summary(waiting)["scales"] == {}
    assert [place.get("evacuation") is not None for place in (waiting.status or {})["places"]] == [True, False]
    ready = replace(
        of, workloads=(of.workloads[0], workload(V2, ready=1)), pods=(*pods(V1, READY), *pods(V2, {"n3": True}))
    )
    moved = decide_model_deployment(ready, at(60), SETTINGS)
    assert summary(moved)["scales"] == {V2: 2}
    places = {place["version"]: place for place in (moved.status or {})["places"]}
    assert (places[2]["role"], places[2]["evacuation"]["node"]) == ("stable", "n3")
    assert (places[1]["role"], "evacuation" in places[1]) == ("draining", False)


@pytest.mark.parametrize("other", [draining(2), failed(2, "ModelCorrupt")], ids=["draining", "failed"])
def test_what_clients_do_not_reach_gets_no_second_pod(other: dict[str, Any]) -> None:
    marked = other | {"evacuation": {"node": "n1", "step": "SecondPodLate", "since": times.text(at(0))}}
    of = serving(
        model_deployment(held(stable(1), marked), version=2 if other["role"] == "failed" else 1),
        version(1),
        version(2),
        workloads=[workload(V1, ready=1), workload(V2, ready=1)],
        pods=pods(V1, {"n2": True}) + pods(V2, READY),
        service=service_at(V1),
        budget=budget_of(V1, 1),
        cordoned=frozenset({"n1"}),
    )
    decision = decide_model_deployment(of, at(1), SETTINGS)
    assert summary(decision)["scales"] == {}
    assert [place.get("evacuation") for place in (decision.status or {})["places"]] == [None, None]


# -- lives -------------------------------------------------------------------------------------------------------------


def test_a_drain_waits_for_the_second_pod_and_one_pod_is_left() -> None:
    cluster = Cluster()
    cluster.reconcile()
    cluster.nodes["n1"] = False
    assert not cluster.evict("n1"), "the drain is faster than the operator"
    cluster.reconcile()
    assert cluster.pods == {"n1": True, "n2": False}
    assert not cluster.evict("n1")
    cluster.answer()
    assert cluster.evict("n1")
    assert (cluster.pods, cluster.replicas, cluster.min_available) == ({"n2": True}, 1, 1)
    assert cluster.events == ["SecondPodStarting", "SecondPodReady"]


def test_one_node_after_the_other_is_drained_and_a_pod_answers_always() -> None:
    cluster = Cluster(nodes={"n1": True, "n2": True, "n3": True, "n4": True})
    for node, following in (("n1", "n2"), ("n2", "n3"), ("n3", "n4")):
        cluster.nodes[node] = False
        cluster.reconcile()
        assert not cluster.evict(node)
        cluster.answer()
        assert cluster.evict(node)
        assert cluster.pods == {following: True}
    assert cluster.replicas == 1


def test_several_nodes_are_cordoned_before_the_first_is_drained() -> None:
    cluster = Cluster(nodes={"n1": True, "n2": True, "n3": True})
    for node in ("n1", "n2"):
        cluster.nodes[node] = False
        cluster.reconcile()
        cluster.answer()
    assert cluster.pods == {"n1": True, "n2": True}
    assert cluster.evict("n1")
    assert cluster.pods == {"n2": True, "n3": False}
    assert not cluster.evict("n2")
    cluster.answer()
    assert cluster.evict("n2")
    assert (cluster.pods, cluster.replicas) == ({"n3": True}, 1)


def test_a_node_that_is_removed_without_a_drain_takes_its_own_pod_along_and_not_the_second() -> None:
    cluster = Cluster()
    cluster.nodes["n1"] = False
    cluster.reconcile()
    cluster.answer()
    del cluster.nodes["n1"]
    cluster.now = 30
    cluster.reconcile()
    assert cluster.pods == {"n1": True, "n2": True}, "nobody has deleted the pod of the removed node yet"
    del cluster.pods["n1"]
    cluster.schedule()
    cluster.reconcile()
    assert (cluster.pods, cluster.replicas) == ({"n2": True}, 1)


def test_a_cluster_without_room_holds_up_a_drain_until_the_deadline_only() -> None:
    cluster = Cluster(nodes={"n1": True})
    cluster.nodes["n1"] = False
    decision = cluster.reconcile()
    assert decision.requeue_at == at(DEADLINE)
    assert (cluster.pods, cluster.evict("n1")) == ({"n1": True, "": False}, False)
    cluster.now = DEADLINE
    cluster.reconcile()
    assert cluster.evict("n1")
    assert (cluster.pods, cluster.replicas, cluster.min_available) == ({"": False}, 1, 1)
    assert cluster.events == ["SecondPodStarting", "SecondPodLate"]


def test_a_second_pod_without_a_budget_is_not_said_to_be_waited_for() -> None:
    of = replace(seen(READY, {"n1"}, status=STARTING, replicas=2), budget=None)
    decision = decide_model_deployment(of, at(60), SETTINGS)
    assert "There is no PodDisruptionBudget digits, so no drain waits" in (decision.status or {})["message"]
    late = replace(of, model_deployment=model_deployment(LATE))
    said = (decide_model_deployment(late, at(DEADLINE), SETTINGS).status or {})["message"]
    assert "A drain may evict the only pod now." in said


def test_a_status_that_was_lost_begins_the_deadline_again() -> None:
    cluster = Cluster(nodes={"n1": False})
    cluster.reconcile()
    cluster.now, cluster.of = 400, model_deployment(STABLE_1)
    assert cluster.reconcile().requeue_at == at(400 + DEADLINE)


@pytest.mark.parametrize(
    ("answers", "replicas", "known", "leaves"),
    [
        (READY, 1, 1, [0]),
        (READY, 1, 0, []),
        (READY | {"n2": True}, 2, 1, []),
        (READY | {"": False}, 2, 1, [0]),
        (READY | {"n2": True, "": False}, 3, 2, [1]),
        ({"n1": False}, 1, 1, [0]),
        (READY | {"n2": True, "n3": True}, 1, 1, []),
    ],
    ids=[
        "held",
        "let go",
        "of two",
        "one of two is missing",
        "one of three is missing",
        "not ready",
        "more than are wanted",
    ],
)
def test_a_model_that_is_being_deleted_and_held_by_a_finalizer_holds_up_no_drain(
    answers: dict[str, bool], replicas: int, known: int, leaves: list[int]
) -> None:
    of = seen(answers, {"n1"}, budget=known, scaling={"minReplicas": replicas})
    metadata = of.model_deployment.metadata.model_copy(update={"deletion_timestamp": times.text(at(0))})
    of = replace(of, model_deployment=of.model_deployment.model_copy(update={"metadata": metadata}))
    decision = decide_model_deployment(of, at(60), SETTINGS)
    assert [child.manifest["spec"]["minAvailable"] for child in decision.children] == leaves
    assert (decision.status, decision.deletions, decision.events) == (None, (), ())
    for child in decision.children:
        assert child.is_optional
        assert child.manifest["spec"]["selector"] == (of.budget or budget_of(V1)).spec["selector"]


def test_the_budget_is_written_with_the_number_that_an_eviction_leaves() -> None:
    known = {1: 0, 2: 1, 3: 2, 5: 4}
    for replicas, leaves in known.items():
        of = seen(READY, None, replicas=replicas, budget=9, scaling={"minReplicas": replicas})
        children = decide_model_deployment(of, at(60), SETTINGS).children
        [budget] = [child.manifest for child in children if child.manifest["kind"] == "PodDisruptionBudget"]
        assert BudgetRecord("vision", "digits", "budget-uid", budget["spec"]) == budget_of(V1, leaves)
