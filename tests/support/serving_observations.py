"""What an operator may observe of deployments of models, built for tests: Deployments, pods, Services, routes."""

import json
from dataclasses import replace
from typing import Any

from fovea_api.contract import labels
from fovea_api.v1alpha1 import API_VERSION, ModelDeployment, ModelVersion
from fovea_operator.desired.disruption_budget import disruption_budget
from fovea_operator.desired.service import BALANCER_FIELDS, service, version_service
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.shared.observed import (
    BudgetRecord,
    DeploymentRecord,
    PodRecord,
    RouteRecord,
    ServiceRecord,
    ServingObserved,
)
from support.observations import T0, index_of, machine


def model_deployment(status: dict[str, Any] | None = None, *, generation: int = 1, **spec: Any) -> ModelDeployment:
    """A ModelDeployment of the model `digits`."""
    metadata = {
        "name": "digits",
        "namespace": "vision",
        "uid": "deployment-uid",
        "generation": generation,
        "creationTimestamp": times.text(T0),
    }
    return ModelDeployment.model_validate(
        {
            "apiVersion": API_VERSION,
            "kind": "ModelDeployment",
            "metadata": metadata,
            "spec": {"model": "digits"} | spec,
            "status": status or {},
        }
    )


def written(of: ModelDeployment, decision: Decision) -> ModelDeployment:
    """The ModelDeployment with the decided status written."""
    document = of.dump()
    document["status"] = json.loads(json.dumps(decision.status))
    return ModelDeployment.model_validate(document)


def workload(name: str, *, ready: int = 0, replicas: int = 1, **fields: Any) -> DeploymentRecord:
    """The Deployment of a version, by its name `digits-v<N>-<revision>`."""
    _, number, revision = name.rsplit("-", 2)
    values: dict[str, Any] = {
        "generation": 1,
        "observed_generation": 1,
        "ready_replicas": ready,
        "available_replicas": ready,
    }
    return DeploymentRecord(
        namespace="vision",
        name=name,
        uid=f"{name}-uid",
        labels=labels.of_model_server("digits", "digits", int(number[1:]), revision),
        replicas=replicas,
        **(values | fields),
    )


def server_pod(name: str, **fields: Any) -> PodRecord:
    """A pod of the Deployment of that name."""
    _, number, revision = name.rsplit("-", 2)
    values: dict[str, Any] = {"phase": "Running", "created": T0, "node": "node-1"}
    return PodRecord(
        namespace="vision",
        name=f"{name}-abcde",
        uid=f"{name}-abcde-uid",
        labels=labels.of_model_server("digits", "digits", int(number[1:]), revision),
        **(values | fields),
    )


def service_at(
    name: str,
    *,
    type_: str = "",
    node_ports: dict[str, int] | None = None,
    of: ModelDeployment | None = None,
) -> ServiceRecord:
    """The clients' Service, pointing at the version with the Deployment of that name."""
    _, number, revision = name.rsplit("-", 2)
    manifest = service(of or model_deployment(), int(number[1:]), revision)
    return service_record(manifest, type_=type_, node_ports=node_ports)


def route_record(manifest: dict[str, Any], generation: int = 1, *, taken: bool | None = True) -> RouteRecord:
    """What is seen of a route; `taken`: what our Gateway says of it, None: nothing yet."""
    said = [
        {"type": kind, "status": str(taken), "observedGeneration": generation, "message": "said"}
        for kind in ("Accepted", "ResolvedRefs")
    ]
    return RouteRecord(
        namespace="vision",
        name=manifest["metadata"]["name"],
        uid=f"{manifest['kind']}-uid",
        kind=manifest["kind"],
        generation=generation,
        spec=manifest["spec"],
        labels=manifest["metadata"]["labels"],
        parents=tuple(
            {"parentRef": parent, "conditions": said}
            for parent in (() if taken is None else manifest["spec"]["parentRefs"])
        ),
    )


def own_service(name: str) -> ServiceRecord:
    """The Service of the version with the Deployment of that name."""
    _, number, revision = name.rsplit("-", 2)
    return replace(service_record(version_service(model_deployment(), int(number[1:]), revision)), name=name)


def service_record(
    manifest: dict[str, Any], *, type_: str = "", node_ports: dict[str, int] | None = None
) -> ServiceRecord:
    """What is seen of a Service that was made from that manifest."""
    name = manifest["metadata"]["name"]
    return ServiceRecord(
        namespace="vision",
        name=name,
        uid=f"{name}-service-uid",
        type=type_ or manifest["spec"]["type"],
        selector=manifest["spec"].get("selector", {}),
        external_name=manifest["spec"].get("externalName", ""),
        node_ports=node_ports or {},
        labels=manifest["metadata"]["labels"],
        annotations=manifest["metadata"].get("annotations", {}),
        balancer={field: manifest["spec"][field] for field in BALANCER_FIELDS if field in manifest["spec"]},
        ports={port["name"]: port for port in manifest["spec"]["ports"]},
    )


def served_by(name: str) -> dict[str, Any]:
    """A status by which the version with the Deployment of that name is served."""
    _, number, revision = name.rsplit("-", 2)
    place = {"version": int(number[1:]), "revision": revision, "deployment": name, "role": "stable", "step": "Serving"}
    return {"places": [place], "observedGeneration": 1}


def pointed_at(service: ServiceRecord) -> tuple[str, str]:
    """Version and revision that a Service points at."""
    return service.selector[labels.VERSION], service.selector[labels.REVISION]


def budget_of(name: str, min_available: int = 0) -> BudgetRecord:
    """The PodDisruptionBudget when clients reach the version with that Deployment."""
    _, number, revision = name.rsplit("-", 2)
    manifest = disruption_budget(model_deployment(), int(number[1:]), revision, min_available)
    return BudgetRecord("vision", "digits", "budget-uid", manifest["spec"])


def candidate_budget_of(name: str, min_available: int = 0) -> BudgetRecord:
    """The own PodDisruptionBudget of a candidate with that Deployment."""
    _, number, revision = name.rsplit("-", 2)
    manifest = disruption_budget(model_deployment(), int(number[1:]), revision, min_available, named=name)
    return BudgetRecord("vision", name, "own-uid", manifest["spec"])


def _budget_beside(clients: ServiceRecord) -> BudgetRecord:
    return budget_of("digits-v{}-{}".format(*pointed_at(clients)))


def serving(of: ModelDeployment, *versions: ModelVersion, **seen: Any) -> ServingObserved:
    """A ModelDeployment with the versions of its model and what else is named.

    `service`: the clients' one; `services`: those of versions, unless each Deployment has its own.
    """
    types = seen.pop("machine_types", (machine(),))
    workloads = tuple(seen.pop("workloads", ()))
    services = seen.pop("services") if "services" in seen else [own_service(each.name) for each in workloads]
    clients = seen.pop("service", None)
    return ServingObserved(
        model_deployment=of,
        versions=index_of(versions),
        workloads=workloads,
        pods=tuple(seen.pop("pods", ())),
        services=(*([] if clients is None else [clients]), *services),
        budget=seen.pop("budget") if "budget" in seen else clients and _budget_beside(clients),
        candidate_budgets=tuple(seen.pop("candidate_budgets", ())),
        routes=tuple(seen.pop("routes", ())),
        serves_routes=seen.pop("serves_routes", False),
        predecessors=tuple(seen.pop("predecessors", ())),
        machine_types={item.metadata.name: item for item in types},
        **seen,
    )
