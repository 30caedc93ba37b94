"""Whatever an operator may observe of a deployment, odd things too: strategies of Hypothesis."""

from dataclasses import replace
from typing import Any

from fovea_api.contract import names
from fovea_api.v1alpha1.conditions import ServingReason
from fovea_api.v1alpha1.model_deployment_status import EvacuationStep, PlaceRole, PlaceStep
from fovea_api.v1alpha1.rollout import Rollout
from fovea_operator.desired.deployment import revision
from fovea_operator.reconcile.serving.giving_up import hash_of
from fovea_operator.reconcile.shared.observed import (
    ServingObserved,
)
from hypothesis import strategies as st
from support.any_observation import conditions, container_records, many_machine_types, refusals, timestamps
from support.observations import machine, version
from support.serving_observations import model_deployment, own_service, server_pod, service_at, serving, workload

REVISIONS = ("aaaaaaaa", revision(model_deployment(), version(1)), revision(model_deployment(), version(2)))
shifts = st.fixed_dictionaries(
    {"step": st.integers(1, 5), "steps": st.integers(1, 5), "weight": st.integers(1, 100)},
    optional={"since": timestamps, "nextWeight": st.integers(1, 100), "nextTime": timestamps},
)
names_of_versions = st.builds(
    lambda number, of: f"digits-v{number}-{of}", st.integers(1, 4), st.sampled_from(REVISIONS)
)


@st.composite
def places(draw: st.DrawFn) -> dict[str, Any]:
    """A place of a version, also one that no operator writes: any step in any role."""
    name = draw(names_of_versions)
    _, number, of = name.rsplit("-", 2)
    fields = st.fixed_dictionaries(
        {
            "role": st.sampled_from([role.value for role in PlaceRole]),
            "step": st.sampled_from([step.value for step in PlaceStep]),
            "weight": st.sampled_from([0, 10, 100]),
        },
        optional={
            "since": timestamps,
            "reason": st.sampled_from([reason.value for reason in ServingReason]),
            "message": st.just("it is late"),
            "rolloutHash": st.sampled_from([hash_of(Rollout(), 1), "0123456789"]),
            "shift": shifts,
            "traffic": st.fixed_dictionaries(
                {"time": timestamps, "requests": st.integers(0, 1000)},
                optional={"errorRatio": st.sampled_from([0.0, 0.5]), "p99Milliseconds": st.sampled_from([0.0, 12.5])},
            ),
            "retryTime": timestamps,
            "evacuation": st.fixed_dictionaries(
                {"node": st.just("node-1"), "step": st.sampled_from([step.value for step in EvacuationStep])},
                optional={"since": timestamps},
            ),
        },
    )
    return {"version": int(number[1:]), "revision": of, "deployment": name, **draw(fields)}


serving_statuses = st.fixed_dictionaries(
    {},
    optional={
        "conditions": conditions,
        "places": st.lists(places(), max_size=6, unique_by=lambda place: place["deployment"]),
        "observedGeneration": st.integers(0, 2),
    },
)


@st.composite
def serving_observations(draw: st.DrawFn) -> ServingObserved:
    named = draw(st.lists(names_of_versions, max_size=4, unique=True))
    workloads = [workload(name, ready=draw(st.integers(0, 2)), deleting=draw(st.booleans())) for name in named]
    services = [
        replace(own_service(name), deleting=draw(st.booleans()))
        for name in draw(st.lists(names_of_versions, unique=True))
    ]
    records = st.dictionaries(
        st.sampled_from([names.FETCH_MODEL_CONTAINER, names.MODEL_SERVER_CONTAINER]), container_records
    )
    pods_seen = [
        server_pod(
            name,
            containers=draw(records),
            ready=draw(st.booleans()),
            node=draw(st.sampled_from(["", "node-1", "node-2"])),
        )
        for name in named
    ]
    options = st.sampled_from([{}, {"pod": {"serviceAccountName": "admin"}}])
    rollout = draw(
        st.fixed_dictionaries(
            {"strategy": st.sampled_from(["BlueGreen", "Canary", "Recreate"])},
            optional={
                "paused": st.booleans(),
                "bakeSeconds": st.sampled_from([0, 30]),
                "promotedVersion": st.integers(1, 4),
                "abortedVersion": st.integers(1, 4),
            },
        )
    )
    spec = {"version": draw(st.sampled_from(["Latest", 1, 2, 9])), "rollout": rollout, **draw(options)}
    return serving(
        model_deployment(draw(serving_statuses), generation=draw(st.integers(1, 2)), **spec),
        *(
            version(n, approval=draw(st.sampled_from(["Approved", "Rejected"])))
            for n in draw(st.sets(st.integers(1, 4)))
        ),
        workloads=workloads,
        pods=pods_seen,
        service=service_at(draw(names_of_versions)) if draw(st.booleans()) else None,
        services=services,
        machine_types=draw(st.sampled_from([[], [machine()], many_machine_types])),
        cordoned=draw(st.sampled_from([None, frozenset(), frozenset({"node-1"}), frozenset({"node-1", "node-2"})])),
        refused=draw(refusals),
    )
