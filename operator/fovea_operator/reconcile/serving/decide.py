"""What to do about a ModelDeployment. Total, synchronous, no clock, no I/O.

1. places     which version is stable, candidate, draining, failed, and how far it is (`rollout`, `places`)
2. children   a Deployment at its scale and a Service for each version that serves or is to serve; the clients' Service
3. deletions  Deployments and Services of versions that have no place any more
4. status     conditions Serving, Progressing, Promoted and RolledBack, places, endpoint
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from fovea_api.contract import labels, names
from fovea_api.v1alpha1.model_deployment_status import Place

from fovea_operator.desired import deployment as desired
from fovea_operator.desired import routes
from fovea_operator.desired.disruption_budget import disruption_budget
from fovea_operator.desired.routes import Gateway, Share
from fovea_operator.desired.service import BALANCER_FIELDS, gateway_service, service, version_service
from fovea_operator.reconcile.serving import canary, evacuation, mirror, rollout, scaling, status
from fovea_operator.reconcile.serving.places import Places
from fovea_operator.reconcile.serving.scaling import SLEEPS
from fovea_operator.reconcile.serving.view import ServingView
from fovea_operator.reconcile.shared import conditions
from fovea_operator.reconcile.shared.decision import (
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    GRPC_ROUTE,
    HTTP_ROUTE,
    SERVICE,
    Child,
    Decision,
    Deletion,
    Write,
)
from fovea_operator.reconcile.shared.observed import BudgetRecord, ServiceRecord, ServingObserved
from fovea_operator.reconcile.shared.pods import ended
from fovea_operator.settings import Settings


def decide_model_deployment(observed: ServingObserved, now: datetime, settings: Settings) -> Decision:
    """The answer to what is observed of a ModelDeployment. Never raises on an observed state, never changes it."""
    if observed.model_deployment.metadata.deletion_timestamp is not None:
        # Its children go by their owner references, once it has gone itself.
        return Decision(children=tuple(_released(observed)))
    view = ServingView.of(observed, now, settings)
    advanced = rollout.advance(view)
    found = status.of(view, advanced)
    return Decision(
        children=tuple(replace(child, is_needed=False) for child in _children(view, advanced.places)),
        status=found.dump(),
        deletions=tuple(_deletions(view, advanced.places)),
        events=(
            *conditions.events_of_change(view.status.conditions, found.conditions, status.NOTABLE),
            *evacuation.events(view, advanced.places),
            *canary.events(view, advanced.places),
            *scaling.events(view.status.scaling, advanced.scale),
        ),
        requeue_at=rollout.wake(view, advanced.places),
    )


def _children(view: ServingView, places: Places) -> Iterator[Child]:
    """In this order a candidate that is refused, by a quota for example, leaves alone what is served."""
    pointed_at = places.pointed_at
    started = [place for place in (places.stable, places.candidate) if place is not None]
    has_room = not (rollout.makes_room(view, places) and places.stable is not None and view.has_pods(places.stable))
    if pointed_at is not None:
        yield from _workload(view, pointed_at)
    if view.gateway is not None:
        # Before the routes that name them.
        yield from _own_services(view, started)
        yield from _routes(view, view.gateway, places)
    if pointed_at is not None:
        yield from _service(view.service, _for_clients(view, pointed_at))
    for place in started[1:] if has_room else ():
        yield from _workload(view, place)
    if view.gateway is None:
        # Last: no client of the ModelDeployment's own Service depends on them.
        yield from _own_services(view, started)
    yield from mirror.children(view, places)
    yield from _budgets(view, places)


def _own_services(view: ServingView, started: Iterable[Place]) -> Iterator[Child]:
    for place in started:
        manifest = version_service(view.model_deployment, place.version, place.revision)
        yield from _service(view.services.get(place.deployment), manifest, absent=Write.CREATE)


def _for_clients(view: ServingView, pointed_at: Place) -> dict[str, Any]:
    if view.gateway is None or view.selects_pods:
        return service(view.model_deployment, pointed_at.version, pointed_at.revision)
    return gateway_service(view.model_deployment, view.gateway.address)


def _routes(view: ServingView, gateway: Gateway, places: Places) -> Iterator[Child]:
    """A version's pin comes after its Service and goes before it: routes never name a Service that is not there."""
    pointed_at = places.pointed_at
    if pointed_at is None or pointed_at.deployment not in view.services:
        return
    weights = places.weights
    shares = [
        Share(
            place.version,
            place.revision,
            place.deployment,
            weights.get(place.deployment, 0),
            sleeps=place.step in SLEEPS,
        )
        for place in places.started
        if place.deployment in view.services
    ]
    known = {route.kind: route for route in view.observed.routes}
    # Also of a model that is not to sleep any more: its requests wait until it has a pod.
    activates = view.sleeps or any(share.sleeps for share in shares)
    yield from _grant(view, gateway, activates=activates)
    copies = mirror.of_routes(view, places)
    for manifest in routes.routes(view.model_deployment, gateway, shares, copies, activates=activates):
        record = known.get(manifest["kind"])
        if record is None or not (
            _covers(record.spec, manifest["spec"])
            and routes.mirror(record.spec) == routes.mirror(manifest["spec"])
            and record.labels.items() >= manifest["metadata"]["labels"].items()
        ):
            yield Child(Write.APPLY, manifest)


def _grant(view: ServingView, gateway: Gateway, *, activates: bool) -> Iterator[Child]:
    """Before the routes name the activator, and where the gateway refuses a route: somebody may have deleted it."""
    activator, known = gateway.activator, view.observed.routes
    if activator is None or not activates:
        return
    if view.route_refusal or not known or not all(activator.name in routes.backends(route.spec) for route in known):
        grant = routes.reference_grant(activator, view.model_deployment.metadata.namespace)
        yield Child(Write.APPLY, grant, is_optional=True)


def _covers(known: Any, wanted: Any) -> bool:
    """Whether an object has all that is wanted of it; fields that the API server has filled in do not count."""
    if isinstance(known, Mapping) and isinstance(wanted, Mapping):
        return all(field in known and _covers(known[field], value) for field, value in wanted.items())
    if isinstance(known, list) and isinstance(wanted, list):
        return len(known) == len(wanted) and all(map(_covers, known, wanted))
    return bool(known == wanted)


def _budgets(view: ServingView, places: Places) -> Iterator[Child]:
    """Of the version that is served, and of a candidate that has requests.

    An eviction of a pod with two budgets is an error. So a candidate that becomes the stable version loses its own one first.
    """
    candidate, served = places.candidate, places.pointed_at
    if candidate is not None and candidate.shift is not None:
        known = next((each for each in view.observed.candidate_budgets if each.name == candidate.deployment), None)
        yield from _budget(view, candidate, known, candidate.deployment)
    if served is not None and served.deployment not in {each.name for each in view.observed.candidate_budgets}:
        yield from _budget(view, served, view.observed.budget, view.model_deployment.metadata.name)


def _budget(view: ServingView, place: Place, known: BudgetRecord | None, name: str) -> Iterator[Child]:
    leaves = evacuation.min_available(view, place)
    manifest = disruption_budget(view.model_deployment, place.version, place.revision, leaves, named=name)
    if known is None:
        yield Child(Write.CREATE, manifest, is_optional=True)
    elif known.spec != manifest["spec"]:
        yield Child(Write.APPLY, manifest, is_optional=True)


def _released(observed: ServingObserved) -> Iterator[Child]:
    """The budgets of a ModelDeployment that is being deleted hold up no drain: pods that are missing may never come.

    A finalizer of others may hold the ModelDeployment for days.
    """
    of = observed.model_deployment
    there = [pod for pod in observed.pods if not pod.deleting and not ended(pod)]
    for known in (observed.budget, *observed.candidate_budgets):
        selector = {} if known is None else known.spec.get("selector", {}).get("matchLabels", {})
        version = labels.version_of(selector)
        if known is None or version is None:
            continue
        pods = [pod for pod in there if pod.labels.items() >= selector.items()]
        leaves = evacuation.min_available_of(of.spec.scaling.least, pods)
        if known.spec.get("minAvailable") != leaves:
            manifest = disruption_budget(of, *version, leaves, named=known.name)
            yield Child(Write.APPLY, manifest, is_optional=True, is_needed=False)


def _service(record: ServiceRecord | None, manifest: dict[str, Any], *, absent: Write = Write.APPLY) -> Iterator[Child]:
    """A Service that is not as it is wanted; `absent`: how one that is not there is made."""
    if record is None:
        yield Child(absent, manifest)
    elif not _is_as_wanted(record, manifest):
        yield Child(Write.APPLY, manifest)


def _is_as_wanted(record: ServiceRecord, manifest: dict[str, Any]) -> bool:
    """Whether a Service has what the manifest says; what others added to it (labels, annotations, ports) is theirs."""
    spec, metadata = manifest["spec"], manifest["metadata"]
    annotations = metadata.get("annotations") or {}
    return (
        (record.type, record.selector) == (spec["type"], spec.get("selector", {}))
        and record.external_name == spec.get("externalName", "")
        and record.labels.items() >= metadata["labels"].items()
        and record.annotations.items() >= annotations.items()
        and record.annotations.get(labels.PASSED_ON) == annotations.get(labels.PASSED_ON)
        and all(record.balancer.get(field) == spec[field] for field in BALANCER_FIELDS if field in spec)
        and all(record.ports.get(port["name"]) == port for port in spec["ports"])
    )


def _workload(view: ServingView, place: Place) -> Iterator[Child]:
    """The Deployment of a version: made when absent, scaled when its size is wrong, otherwise never touched."""
    record = view.workloads.get(place.deployment)
    if record is None:
        version, machine_type = view.version(place.version), view.machine_type
        if version is not None and machine_type is not None and rollout.cannot_be_made(view, place) is None:
            manifest = desired.version_deployment(
                view.model_deployment,
                version,
                place.revision,
                machine_type,
                view.settings,
                replicas=evacuation.replicas(view, place),
            )
            yield Child(Write.CREATE, manifest)
    elif not record.deleting and record.replicas != (wanted := evacuation.replicas(view, place)):
        yield Child(Write.APPLY, desired.scale(view.model_deployment, place.version, place.revision, wanted))


def _deletions(view: ServingView, places: Places) -> Iterator[Deletion]:
    kept = places.kept | {names.comparator(view.model_deployment.metadata.name)}
    yield from mirror.deletions(view, places)
    candidate = places.candidate
    shifts = candidate.deployment if candidate is not None and candidate.shift is not None else ""
    for budget in view.observed.candidate_budgets:
        if budget.name != shifts:
            yield Deletion(DISRUPTION_BUDGET, budget.namespace, budget.name, budget.uid)
    for workload in view.observed.workloads:
        if workload.name not in kept and not workload.deleting:
            yield Deletion(DEPLOYMENT, workload.namespace, workload.name, workload.uid)
    for record in view.observed.services:
        if record.name not in kept and record != view.service and not record.deleting:
            yield Deletion(SERVICE, record.namespace, record.name, record.uid)
    if view.gateway is None and (view.service is None or view.service.type != "ExternalName"):
        # Of a gateway that was taken out of the settings.
        for route in view.observed.routes:
            if not route.deleting and route.kind == GRPC_ROUTE.kind:
                yield Deletion(GRPC_ROUTE, route.namespace, route.name, route.uid)
            elif not route.deleting:
                yield Deletion(HTTP_ROUTE, route.namespace, route.name, route.uid)
