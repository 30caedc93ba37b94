"""Several pods of a version, of which one is missing and another one is on a cordoned node: a drain waits until its deadline."""

import pytest
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from support.evacuation_table import DEADLINE, SECOND, STARTING, Cluster, Row, check, moving, pods, seen
from support.observations import SETTINGS, at, version
from support.rollout_table import STABLE_1, V1, V2, candidate, held, stable
from support.serving_observations import budget_of, model_deployment, service_at, serving, workload

MISSING, MISSED = moving("PodsStarting"), moving("PodsLate")
TWO, THREE = {"minReplicas": 2}, {"minReplicas": 3}

ROWS = {
    "two pods were wanted anyway": Row(
        seen({"n1": True, "n2": True}, {"n1"}, replicas=2, scaling={"minReplicas": 2}),
    ),
    "a user scales up meanwhile: a drain waits for the third pod, and has waited before": Row(
        seen({"n1": True, "n2": False}, {"n1"}, status=STARTING, replicas=2, scaling=THREE),
        scaled_to=3,
        leaves=2,
        step="PodsStarting",
        since=0,
        event="Normal PodsStarting",
        wakes=DEADLINE,
    ),
    "a user scales up when the second pod is ready": Row(
        seen({"n1": True, "n2": True}, {"n1"}, status=SECOND, replicas=2, scaling=THREE),
        scaled_to=3,
        leaves=2,
        step="PodsStarting",
        since=60,
        event="Normal PodsStarting",
        wakes=60 + DEADLINE,
    ),
    "one of two pods has no room, and the other one is on a cordoned node": Row(
        seen({"n1": True, "": False}, {"n1"}, replicas=2, scaling=TWO),
        step="PodsStarting",
        since=60,
        event="Normal PodsStarting",
        says="answers on 1 of 2 pods. Node n1 is cordoned: a drain waits until all 2 pods are ready.",
        wakes=60 + DEADLINE,
    ),
    "one of two pods has no room until the deadline": Row(
        seen({"n1": True, "": False}, {"n1"}, status=MISSING, replicas=2, scaling=TWO),
        leaves=0,
        step="PodsLate",
        since=DEADLINE,
        event="Warning PodsLate",
        says=f"not all 2 pods were ready within {DEADLINE} s (rollout.progressDeadlineSeconds).",
        now=DEADLINE,
    ),
    "it is late, and a drain takes one pod at a time": Row(
        seen({"n1": True, "n2": True, "": False}, {"n1"}, status=MISSED, replicas=3, budget=2, scaling=THREE),
        leaves=1,
        step="PodsLate",
        since=0,
    ),
    "of three pods one is left, and it is on a cordoned node": Row(
        seen({"n1": True, "": False}, {"n1"}, status=MISSED, replicas=3, budget=1, scaling=THREE),
        leaves=0,
        step="PodsLate",
        since=0,
    ),
    "it is late, and nothing changes for three pods": Row(
        seen({"n1": True, "n2": True, "": False}, {"n1"}, status=MISSED, replicas=3, scaling=THREE),
        step="PodsLate",
        since=0,
        says="A drain may evict a ready pod now, one at a time.",
    ),
    "all pods are ready at last": Row(
        seen({"n1": True, "n2": True}, {"n1"}, status=MISSED, replicas=2, budget=0, scaling=TWO), leaves=1
    ),
    "the pod of the cordoned node is evicted": Row(
        seen({"n2": True, "": False}, {"n1"}, status=MISSED, replicas=2, budget=0, scaling=TWO), leaves=1
    ),
    "the node of one of two pods is uncordoned": Row(
        seen({"n1": True, "": False}, set(), status=MISSING, replicas=2, scaling=TWO)
    ),
    "one of two pods is not ready, and its node is cordoned: it is evicted at once, and loses nothing": Row(
        seen({"n1": False, "n2": True}, {"n1"}, replicas=2, scaling=TWO)
    ),
    "one of two pods has no room, and nodes are not seen": Row(
        seen({"n1": True, "": False}, None, replicas=2, scaling=TWO)
    ),
    "a user scales down to the one pod that is ready, and a drain has waited before": Row(
        seen({"n1": True}, {"n1"}, status=MISSING, replicas=2),
        step="SecondPodStarting",
        since=0,
        event="Normal SecondPodStarting",
        wakes=DEADLINE,
    ),
}


@pytest.mark.parametrize("what", ROWS)
def test_pods_of_a_version_of_which_one_is_on_a_cordoned_node(what: str) -> None:
    check(ROWS[what])


def test_a_missing_pod_of_several_holds_up_a_drain_until_the_deadline_only() -> None:
    cluster = Cluster(
        of=model_deployment(STABLE_1, scaling=TWO), nodes={"n1": True}, pods={"n1": True, "": False}, replicas=2
    )
    cluster.reconcile()
    assert cluster.events == [], "no node is cordoned"
    cluster.nodes["n1"] = False
    assert cluster.reconcile().requeue_at == at(DEADLINE)
    assert not cluster.evict("n1")
    cluster.now = DEADLINE
    cluster.reconcile()
    assert cluster.evict("n1")
    assert (cluster.pods, cluster.replicas, cluster.min_available) == ({"": False}, 2, 1)
    assert cluster.events == ["PodsStarting", "PodsLate"]


def test_a_missing_pod_of_several_that_comes_ends_the_wait_of_a_drain() -> None:
    cluster = Cluster(
        of=model_deployment(STABLE_1, scaling=TWO), nodes={"n1": False}, pods={"n1": True, "": False}, replicas=2
    )
    cluster.reconcile()
    cluster.nodes["n2"] = True
    cluster.schedule()
    cluster.reconcile()
    assert not cluster.evict("n1")
    cluster.answer()
    assert cluster.evict("n1")
    assert (cluster.pods, cluster.min_available, cluster.events) == ({"n2": True, "": False}, 1, ["PodsStarting"])


def test_the_budget_holds_no_version_that_clients_do_not_reach_so_nothing_is_said_of_its_missing_pods() -> None:
    of = serving(
        model_deployment(held(stable(1), candidate(2)), scaling=TWO),
        version(1),
        version(2),
        workloads=[workload(V1, replicas=2, ready=2), workload(V2, replicas=2, ready=1)],
        pods=pods(V1, {"n2": True, "n3": True}) + pods(V2, {"n1": True, "": False}),
        service=service_at(V1),
        budget=budget_of(V1, 1),
        cordoned=frozenset({"n1"}),
    )
    decision = decide_model_deployment(of, at(1), SETTINGS)
    assert [place.get("evacuation") for place in (decision.status or {})["places"]] == [None, None]
