"""A model that may have no pod: its routes to its pods or through the activator, and its requests as the gateway counts them."""

from dataclasses import replace

from fovea_operator.desired import routes
from fovea_operator.desired.routes import Activator, Share
from fovea_operator.reconcile.shared.observed import RouteRecord
from fovea_operator.reconcile.shared.traffic import Load, Sample
from support.observations import at
from support.rollout_table import V1
from support.routes import GATEWAY, SERVED, share
from support.serving_observations import model_deployment, route_record

SETTINGS = replace(SERVED, gateway_activator="fovea-system/fovea-activator", gateway_statistics_port=19001)
ACTIVATOR = Activator("fovea-system", "fovea-activator")
SLEEPY = {"minReplicas": 0, "idleSeconds": 300}
NOW = 1000


def ways(*shares: Share, sleeps: bool = False, said: bool | None = True) -> list[RouteRecord]:
    """The routes with these shares; `sleeps`: through the activator."""
    gateway = replace(GATEWAY, domain="", activator=ACTIVATOR)
    given = [replace(each, sleeps=sleeps) for each in shares]
    made = routes.routes(model_deployment(), gateway, given, activates=True)
    return [route_record(manifest, taken=said) for manifest in made]


def load(*active: int, last: float | None = None) -> Load:
    """Readings up to now, of which the first one is long ago; `last`: seconds since the last request."""
    samples = tuple(Sample(at(NOW - len(active) + 1 + number), count) for number, count in enumerate(active))
    return Load(samples, None if last is None else at(NOW - last), at(0))


DIRECT, THROUGH = ways(share(V1, 100)), ways(share(V1, 100), sleeps=True)
QUIET = load(0, 0, last=400)
