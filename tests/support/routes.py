"""A gateway, the routes that it has taken, and the clients' Service whose name stands for it."""

from dataclasses import replace

from fovea_operator.desired.routes import Gateway, Share, routes
from fovea_operator.desired.service import gateway_service
from fovea_operator.reconcile.shared.observed import RouteRecord, ServiceRecord
from support.observations import SETTINGS
from support.serving_observations import model_deployment, route_record, service_record

ADDRESS = "gateway.fovea-system.svc.cluster.local"
GATEWAY = Gateway("fovea-system", "fovea", ADDRESS, domain="models.example.com")
SERVED = replace(SETTINGS, gateway="fovea-system/fovea", gateway_address=ADDRESS)


def share(name: str, weight: int) -> Share:
    """What the version with a Deployment of that name gets."""
    _, number, revision = name.rsplit("-", 2)
    return Share(int(number[1:]), revision, name, weight)


def taken(*shares: Share, said: bool | None = True) -> list[RouteRecord]:
    """The routes with these shares; `said`: whether the gateway takes them, None: it has not said."""
    gateway = replace(GATEWAY, domain="")
    return [route_record(manifest, taken=said) for manifest in routes(model_deployment(), gateway, shares)]


def through_gateway() -> ServiceRecord:
    """The clients' Service when its name stands for the gateway."""
    return service_record(gateway_service(model_deployment(), ADDRESS))
