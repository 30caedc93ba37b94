"""Lives of ModelDeployments, with crashes and refusals: versions come and go, pods fail, others edit the Service."""

import pytest
from fovea_operator.desired import routes
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from support.observations import at
from support.serving_world import REFUSALS, ROLLOUTS, SCALINGS, World

PROFILE = settings(max_examples=60)

HAPPENINGS = st.one_of(
    st.sampled_from(["a version is registered", "pods answer", "pods answer"]),
    st.sampled_from(
        [
            "a version is rejected",
            "a version is approved",
            "a version is asked for",
            "the newest is asked for",
            "pods answer",
            "pods answer no more",
            "a file is corrupt",
            "someone moves the Service",
            "someone deletes a Service",
            "a node is cordoned",
            "a node is uncordoned",
            "the status is lost",
            "someone edits a route",
            "the gateway is away",
            "the gateway is there",
            "the gateway refuses routes",
            *ROLLOUTS,
            "a version is aborted",
            "a version is promoted",
            "the rollout is paused",
            "the rollout is resumed",
            "a version turns bad",
            "nothing counts",
            "the gateway counts",
            "requests come",
            "no requests come",
            *SCALINGS,
            *REFUSALS,
        ]
    ),
)


@pytest.mark.parametrize("has_gateway", [False, True], ids=["directly", "by a gateway"])
@given(
    story=st.lists(
        st.tuples(
            HAPPENINGS,
            st.integers(0, 9),
            st.none() | st.integers(1, 4),
            st.sampled_from([0, 1, 59, 61, 700, 4000]),
        ),
        min_size=5,
        max_size=30,
    )
)
@example(
    story=[
        (what, 0, None, 0)
        for what in (
            *("a version is registered", "pods answer", "a version is registered", "pods answer"),
            *("a canary is asked for", "a quota on Deployments", "a version is registered"),
        )
    ]
).via("a candidate with requests was replaced by a version whose Deployment is refused")
@PROFILE
def test_places_stay_one_whole_over_a_life_and_it_ends_with_the_newest_version(
    has_gateway: bool, story: list[tuple[str, int, int | None, int]]
) -> None:
    world = World(has_gateway=has_gateway)
    for what, number, crash, pause in story:
        world.happens(what, number)
        world.gateway_works()
        world.now += pause
        world.reconcile(crash)
    # Then nothing goes wrong any more, and one more version is registered.
    world.refuses = "nothing"
    world.corrupt.clear()
    world.cordoned = False
    world.gateway = "the gateway is there"
    world.counts = True
    world.happens("a version is registered", 0)
    world.happens("the newest is asked for", 0)
    world.happens("requests come", 0)
    world.happens("it has one pod", 0)
    world.rollout(paused=False, aborted_version=None)
    if not has_gateway:
        world.happens("no steps are asked for", 0)
    newest = max(world.versions)
    for _ in range(14):
        world.gateway_works()
        world.reconcile()
        for name in list(world.workloads):
            world.answer(name)
        world.now += 61
    assert [(place.version, place.role, place.step, place.weight) for place in world.of.status.places or ()] == [
        (newest, "stable", "Serving", 100)
    ]
    [left] = world.workloads
    assert world.services.keys() == {"digits", left}
    assert (world.workloads[left].replicas, world.of.status.places[0].evacuation) == (1, None)  # type: ignore[index]
    assert {kind: routes.weights(spec) for kind, spec in world.taken.items()} == (
        {"GRPCRoute": {left: 100}, "HTTPRoute": {left: 100}} if has_gateway else {}
    )
    assert world.services["digits"].type == ("ExternalName" if has_gateway else "ClusterIP")
    last = decide_model_deployment(world.seen(), at(world.now), world.settings)
    assert (last.children, last.deletions, last.status) == ((), (), world.of.status.dump()), "then it costs nothing"


CANARY_HAPPENINGS = [
    "a version is registered",
    "a version turns bad",
    "pods answer no more",
    "the newest is asked for",
    "a version is asked for",
    "a version is aborted",
    "a version is promoted",
    "the rollout is paused",
    "the rollout is resumed",
    "a bake is asked for",
    "a canary is asked for",
    "the old version is to go first",
    "nothing counts",
    "the gateway counts",
    "the gateway is away",
    "the gateway is there",
    *("nothing happens" for _ in range(8)),
]
SLEEP_HAPPENINGS = [
    *SCALINGS,
    "it may go without a pod",
    "requests come",
    "no requests come",
    "no requests come",
    "a version is registered",
    "the newest is asked for",
    "a version is asked for",
    "nothing counts",
    "the gateway counts",
    "the gateway is away",
    "the gateway is there",
    "a node is cordoned",
    "a node is uncordoned",
    "someone deletes a Service",
    *("nothing happens" for _ in range(6)),
]


@given(
    story=st.lists(
        st.tuples(
            st.sampled_from(CANARY_HAPPENINGS),
            st.integers(0, 9),
            st.sampled_from([None, None, None, None, None, 1, 2, 3]),
            st.integers(1, 70),
        ),
        min_size=10,
        max_size=40,
    ),
    bad=st.sets(st.integers(2, 4)),
)
@example(
    story=[
        *(("nothing happens", 0, None, 1) for _ in range(2)),
        ("a version is registered", 0, None, 1),
        ("nothing happens", 0, None, 1),
        ("nothing happens", 0, 1, 1),
        ("a version is registered", 0, 2, 1),
        ("a version is registered", 0, None, 1),
    ],
    bad=set(),
).via("the operator ended twice: after it had written one route, and after it had taken the weight back")
@PROFILE
def test_rollouts_by_steps_lose_no_request_and_never_serve_what_fails(
    story: list[tuple[str, int, int | None, int]], bad: set[int]
) -> None:
    world = World(has_gateway=True, bad=bad)
    world.happens("a canary is asked for", 0)
    served_well = True
    for what, number, crash, pause in story:
        world.happens(what, number)
        before = world.of.status.stable
        # What a user asks for himself is his to answer for; so is a strategy without an analysis.
        asked = what in ("a version is promoted", "the old version is to go first", "a bake is asked for")
        served_well = served_well and not asked
        if what != "pods answer no more":
            for name, of in list(world.workloads.items()):
                if of.ready_replicas < of.replicas:
                    world.answer(name)
        world.gateway_works()
        world.now += pause
        world.gateway_works()
        world.reconcile(crash)
        stable = world.of.status.stable
        if served_well and before is not None and stable is not None and stable.deployment != before.deployment:
            assert stable.version not in world.bad
    for step in world.seen_steps:
        event(step)


@given(
    story=st.lists(
        st.tuples(
            st.sampled_from(SLEEP_HAPPENINGS),
            st.integers(0, 9),
            st.sampled_from([None, None, None, 1, 2, 3]),
            st.sampled_from([1, 9, 11, 61, 130, 700]),
        ),
        min_size=10,
        max_size=40,
    )
)
@PROFILE
def test_a_model_that_falls_asleep_and_wakes_loses_no_request_and_is_awake_while_there_are_some(
    story: list[tuple[str, int, int | None, int]],
) -> None:
    world = World(has_gateway=True)
    world.happens("it may go without a pod", 0)
    for what, number, crash, pause in story:
        world.happens(what, number)
        for name in list(world.workloads):
            world.answer(name)
        world.gateway_works()
        world.now += pause
        world.gateway_works()
        world.reconcile(crash)
    for step in world.seen_steps:
        event(step)
    world.counts, world.cordoned, world.gateway = True, False, "the gateway is there"
    world.happens("it may go without a pod", 0)
    for requests, step, replicas in (("no requests come", "Idle", 0), ("requests come", "Serving", 1)):
        world.happens(requests, 0)
        for _ in range(14):
            world.gateway_works()
            world.reconcile()
            for name in list(world.workloads):
                world.answer(name)
            world.now += 61
        stable = world.of.status.stable
        assert stable is not None
        assert (stable.step, stable.weight) == (step, 100)
        assert {place.role for place in world.of.status.places or ()} <= {"stable", "failed"}, "one may have been late"
        least = world.workloads[stable.deployment].replicas
        assert least == replicas or (replicas and least > 1), "as many as the requests need"
    assert not world.waits


def test_a_rollout_costs_two_writes_for_its_version_s_service_and_three_statuses() -> None:
    world = World()
    world.reconcile()
    world.answer(next(iter(world.workloads)))
    world.reconcile()
    first, world.writes = world.writes, []
    world.happens("a version is registered", 0)
    world.reconcile()
    world.happens("pods answer", 0)
    world.reconcile()
    world.now += 61
    world.reconcile()
    assert first == [
        "create Deployment",
        "apply Service",
        "create Service",
        "create PodDisruptionBudget",
        "status",
        "status",
    ]
    assert world.writes == [
        "create Deployment",
        "create Service",
        "status",
        "apply Service",
        "apply PodDisruptionBudget",
        "status",
        "status",
        "delete Deployment",
        "delete Service",
    ]
