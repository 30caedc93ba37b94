"""Copies of requests while a candidate is compared: the comparator comes first, then the routes mirror to it; back, the routes first."""

from collections.abc import Iterator

from fovea_api.contract import labels, names
from fovea_api.v1alpha1.model_deployment_status import Place

from fovea_operator.desired import comparator as desired
from fovea_operator.desired import routes
from fovea_operator.desired.routes import Mirror
from fovea_operator.reconcile.serving import health
from fovea_operator.reconcile.serving.places import Places
from fovea_operator.reconcile.serving.view import ServingView
from fovea_operator.reconcile.shared.decision import DEPLOYMENT, SERVICE, Child, Deletion, Write


def compares(view: ServingView, places: Places) -> str:
    """Which two versions are to be compared, as a label's value; empty: none."""
    stable, candidate = places.stable, places.candidate
    if view.gateway is None or view.spec.rollout.mirror is None or stable is None or candidate is None:
        return ""
    return desired.compares(stable, candidate) if candidate.shift is not None else ""


def children(view: ServingView, places: Places) -> Iterator[Child]:
    """What is missing of the comparator. Without it requests go on, and the rollout waits."""
    if not compares(view, places) or places.stable is None or places.candidate is None:
        return
    name = names.comparator(view.model_deployment.metadata.name)
    if name not in view.workloads:
        manifest = desired.comparator(view.model_deployment, places.stable, places.candidate, view.settings)
        yield Child(Write.CREATE, manifest, is_optional=True)
    if name not in view.services:
        yield Child(Write.CREATE, desired.comparator_service(view.model_deployment), is_optional=True)


def waits_for(view: ServingView, stable: Place, candidate: Place, said: str) -> str:
    """What a rollout waits for (`said`), and what is known to be wrong where that is answers which nothing compares."""
    analysis, traffic = view.spec.rollout.analysis, view.observed.traffic
    if not said or analysis is None or analysis.max_drift is None or traffic is None:
        return said
    if traffic.compared.total >= analysis.min_requests:
        return said
    wrong = _trouble(view, compares(view, Places(stable=stable, candidate=candidate)))
    return f"{said}, which nothing compares: {wrong}" if wrong else said


def _trouble(view: ServingView, wanted: str) -> str:
    """What keeps the comparator from comparing these two versions; empty: nothing that is known."""
    model, left_out = view.model_deployment.metadata.name, view.observed.left_out
    name = names.comparator(model)
    record = view.workloads.get(name)
    if not wanted:
        return ""
    for kind, known in ((DEPLOYMENT.kind, view.workloads), (SERVICE.kind, view.services)):
        if name not in known and kind in left_out:
            return f"{kind} {name} is refused: {left_out[kind].rstrip('.')}"
    if record is None or record.ready_replicas > 0:
        return ""
    if record.replica_failure:
        return f"pods of Deployment {name} are refused: {record.replica_failure.rstrip('.')}"
    selector = labels.comparator_selector(model) | {labels.COMPARES: wanted}
    pods = (pod for pod in view.observed.pods if not pod.deleting and pod.labels.items() >= selector.items())
    found = health.of_pods(pods, lambda pod: health.of_pod(pod, desired.CONTAINER, "comparator"))
    return found[0].message if found else ""


def of_routes(view: ServingView, places: Places) -> Mirror | None:
    """Where copies of requests go; None until a comparator is there that compares these two versions."""
    wanted, rollout = compares(view, places), view.spec.rollout
    name = names.comparator(view.model_deployment.metadata.name)
    record = view.workloads.get(name)
    is_there = record is not None and record.ready_replicas > 0 and record.labels.get(labels.COMPARES) == wanted
    return (
        Mirror(name, rollout.mirror.percent)
        if wanted and is_there and rollout.mirror and name in view.services
        else None
    )


def deletions(view: ServingView, places: Places) -> Iterator[Deletion]:
    """The comparator that nothing is mirrored to any more, or that compares other versions."""
    name, wanted = names.comparator(view.model_deployment.metadata.name), compares(view, places)
    record, service = view.workloads.get(name), view.services.get(name)
    if record is not None and record.labels.get(labels.COMPARES) != wanted and not record.deleting:
        yield Deletion(DEPLOYMENT, record.namespace, record.name, record.uid)
    is_named = any(routes.mirror(route.spec) is not None for route in view.observed.routes)
    if service is not None and not wanted and not is_named and not service.deleting:
        yield Deletion(SERVICE, service.namespace, service.name, service.uid)
