"""Cordoned nodes: only they are asked for, they wake the models that have pods there, and an operator that may not see them goes on."""

import asyncio
from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_operator import errors
from fovea_operator.cluster import resources
from fovea_operator.cluster.discovery import Discovery
from fovea_operator.cluster.keys import Key
from fovea_operator.handlers import settings as kopf_settings
from fovea_operator.kinds.model_deployment import ModelDeployments
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.shared import times
from fovea_operator.settings import Settings
from support.kinds import MODEL_DEPLOYMENT
from support.observations import at, machine, version
from support.reconciled import World, pod
from support.rollout_table import V1, held, stable
from support.serving_observations import model_deployment, server_pod

DIGITS = Key(MODEL_DEPLOYMENT, "vision", "digits")
NODE = resources.NODE
Raw = dict[str, Any]


def node(name: str, **metadata: Any) -> Raw:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, **metadata}, "spec": {"unschedulable": True}}


def server(node: str, name: str = "digits-abcde") -> Raw:
    """A pod of version 1, ready on a node."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "vision", "labels": dict(server_pod(V1).labels)},
        "spec": {"nodeName": node},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


class Watch:
    ended = False

    async def stop(self) -> None:
        pass


@pytest.fixture
def world() -> World:
    made = World(serve=decide_model_deployment)
    made.server.served.add(NODE)
    made.know(model_deployment(held(stable(1))).dump())
    made.know(version(1).dump())
    made.know(machine().dump())
    return made


def discovery(world: World) -> Discovery:
    client: Any = world.server
    return Discovery(client, world.cache, world.intake, Settings(), lambda _resource: Watch())


def cordoned(world: World) -> frozenset[str] | None:
    """What a decision knows."""
    observed = ModelDeployments(world.cache).observe(DIGITS, "")
    assert observed is not None
    return observed.cordoned


def test_a_node_that_is_cordoned_and_uncordoned_wakes_the_models_that_have_pods_there_and_no_others(
    world: World,
) -> None:
    asyncio.run(discovery(world).look())
    world.know(server("n1"))
    world.know(server("n2", "digits-fghij"))
    trains = pod()
    trains["metadata"]["labels"][labels.MODEL_DEPLOYMENT] = "digits"
    world.know({**trains, "spec": {"nodeName": "n3"}})
    assert cordoned(world) == frozenset()
    for name, woken in (("n1", [DIGITS]), ("n2", [DIGITS]), ("n4", [])):
        world.queued.clear()
        world.know(node(name))
        assert world.queued == woken
    assert cordoned(world) == {"n1", "n2"}, "of the nodes that have its pods"
    world.queued.clear()
    heartbeat = world.server.put(node("n1", uid=world.server.objects[NODE.gvk, "n1"]["metadata"]["uid"]))
    world.intake.event(NODE.gvk, "MODIFIED", heartbeat)
    assert world.queued == [], "what a kubelet says of its node every few minutes"
    world.intake.event(NODE.gvk, "DELETED", world.server.put(heartbeat))
    assert world.queued == [DIGITS]
    assert cordoned(world) == {"n2"}


def test_the_same_node_can_be_cordoned_again(world: World) -> None:
    asyncio.run(discovery(world).look())
    world.know(server("n1"))
    for _ in range(2):
        raw = world.know(node("n1", uid="u-n1"))
        assert cordoned(world) == {"n1"}
        world.intake.event(NODE.gvk, "DELETED", world.server.put(raw))
        assert cordoned(world) == frozenset()


def test_a_pod_that_gets_its_node_is_found_there_and_a_pod_that_is_gone_is_not(world: World) -> None:
    asyncio.run(discovery(world).look())
    world.know(node("n1"))
    raw = world.know(server(""))
    assert cordoned(world) == frozenset()
    world.intake.event(resources.POD.gvk, "MODIFIED", world.server.put({**raw, "spec": {"nodeName": "n1"}}))
    assert cordoned(world) == {"n1"}
    world.intake.event(resources.POD.gvk, "DELETED", world.server.put(raw))
    world.queued.clear()
    world.know(node("n1", uid="another"))
    assert world.queued == []


def test_an_operator_that_may_not_see_nodes_holds_no_single_pod_and_says_so_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    look = discovery(world)
    asyncio.run(look.look())
    world.know(server("n1"))
    world.know(node("n1"))
    world.work(DIGITS)
    budget = world.server.objects[resources.DISRUPTION_BUDGET.gvk, "digits"]
    assert budget["spec"]["minAvailable"] == 1
    world.server.fail = lambda call: errors.Refused("no right", code=403) if call == "list Node" else None
    assert [asyncio.run(look.look()) for _ in range(5)] == [False] * 5, "a refusal may pass"
    world.work(DIGITS)
    budget = world.server.objects[resources.DISRUPTION_BUDGET.gvk, "digits"]
    assert (cordoned(world), budget["spec"]["minAvailable"]) == ({"n1"}, 1)
    assert [asyncio.run(look.look()) for _ in range(3)] == [True, False, False]
    assert caplog.text.count("an optional kind is left out") == 1
    assert cordoned(world) is None
    world.work(DIGITS)
    budget = world.server.objects[resources.DISRUPTION_BUDGET.gvk, "digits"]
    assert budget["spec"]["minAvailable"] == 0
    world.server.fail = None
    asyncio.run(look.look())
    assert cordoned(world) == {"n1"}
    world.server.fail = lambda call: errors.Refused("no right", code=403) if call == "list Node" else None
    for _ in range(6):
        asyncio.run(look.look())
    assert caplog.text.count("an optional kind is left out") == 2, "a right that was there and is taken away is news"


def test_a_cordon_is_answered_by_a_second_pod_and_an_event(world: World) -> None:
    asyncio.run(discovery(world).look())
    world.know(server("n1"))
    world.work(DIGITS)
    world.know(
        {
            **world.server.objects[resources.DEPLOYMENT.gvk, V1],
            "status": {"readyReplicas": 1, "availableReplicas": 1, "observedGeneration": 1},
        }
    )
    world.work(DIGITS)
    world.know(node("n1"))
    _, calls = world.work(DIGITS)
    assert calls == ["apply Deployment", "patch ModelDeployment/status", "announce SecondPodStarting"]
    assert world.server.objects[resources.DEPLOYMENT.gvk, V1]["spec"]["replicas"] == 2


@pytest.mark.parametrize("taken", [False, True], ids=["refused", "taken"])
def test_the_status_says_that_a_drain_goes_on_only_when_the_budget_lets_it(world: World, taken: bool) -> None:
    late = stable(1) | {"evacuation": {"node": "n1", "step": "SecondPodLate", "since": times.text(at(0))}}
    asyncio.run(discovery(world).look())
    world.know(server("n1"))
    world.work(DIGITS)
    answers = {"readyReplicas": 1, "availableReplicas": 1, "observedGeneration": 1}
    world.know({**world.server.objects[resources.DEPLOYMENT.gvk, V1], "status": answers})
    world.know(node("n1"))
    world.work(DIGITS)
    known = world.server.objects[MODEL_DEPLOYMENT, "digits"]
    world.know({**known, "status": {**known["status"], "places": held(late)["places"]}})
    refusal = errors.Refused("a policy", code=403)
    world.server.fail = lambda call: refusal if call == "apply PodDisruptionBudget" and not taken else None
    for _ in range(2):
        world.work(DIGITS)
        said = world.server.objects[MODEL_DEPLOYMENT, "digits"]["status"]["message"]
    assert ("A drain may evict the only pod now." in said) == taken
    assert ("from 1 to 0, so that a drain goes on. If it stays 1, the API server refuses the change" in said) != taken


def test_only_cordoned_nodes_are_watched() -> None:
    watching = kopf_settings.of_kopf(Settings(), [NODE]).watching
    assert watching.field_selectors["", "v1", "nodes"] == "spec.unschedulable=true"
    assert ("", "v1", "nodes") not in watching.label_selectors
