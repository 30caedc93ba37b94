"""What keeps the pod of a model without requests, and how the status says it."""

from dataclasses import replace
from typing import Any

import pytest
from fovea_api.v1alpha1.model_deployment_status import ModelDeploymentStatus
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.shared.traffic import Load, Sample
from fovea_operator.settings import Settings
from support.observations import at, version
from support.rollout_table import V1, held, stable
from support.serving_observations import model_deployment, serving, workload
from support.sleeping import DIRECT, NOW, QUIET, SETTINGS, SLEEPY


def test_without_a_gateway_there_is_a_pod() -> None:
    of = model_deployment(held(stable(1)), scaling=SLEEPY)
    seen = serving(of, version(1), workloads=[workload(V1, ready=1)], load=QUIET)
    status = ModelDeploymentStatus.model_validate(decide_model_deployment(seen, at(NOW), SETTINGS).status)
    assert status.stable is not None
    assert (status.stable.step.value, status.scaling) == ("Serving", None)


@pytest.mark.parametrize(
    ("scaling", "settings", "says"),
    [
        (SLEEPY, replace(SETTINGS, gateway=""), "scaling.minReplicas: 0 needs a gateway: ask the platform team"),
        (
            {"maxReplicas": 3},
            replace(SETTINGS, gateway=""),
            "scaling.maxReplicas needs a gateway: ask the platform team",
        ),
        (SLEEPY, replace(SETTINGS, gateway_statistics_port=0), "set gateway.statisticsPort in the chart's values"),
        (SLEEPY, replace(SETTINGS, gateway_activator=""), "set gateway.activator.replicas in the chart's values"),
    ],
    ids=["no gateway", "no gateway for several", "nothing counts", "no activator"],
)
def test_what_is_missing_is_said_with_the_value_of_the_chart(
    scaling: dict[str, Any], settings: Settings, says: str
) -> None:
    of = model_deployment(held(stable(1)), scaling=scaling)
    seen = serving(of, version(1), workloads=[workload(V1, ready=1)], routes=DIRECT, serves_routes=True, budget=None)
    status = ModelDeploymentStatus.model_validate(decide_model_deployment(seen, at(NOW), settings).status)
    [said] = [each for each in status.conditions or () if each.type == "Progressing"]
    assert (said.status, said.reason) == ("False", "GatewayMissing")
    assert says in said.message
    assert "Until then the number of pods is 1." in said.message


def test_requests_that_nobody_can_count_are_said_once_that_lasts() -> None:
    of = model_deployment(held(stable(1)), scaling=SLEEPY)
    unknown = Load(
        (Sample(at(NOW), 0),), None, None, "proxy 10.0.0.2: no route to host", "proxy 10.0.0.2: no route to host"
    )
    seen = serving(
        of, version(1), workloads=[workload(V1, ready=1)], routes=DIRECT, serves_routes=True, budget=None, load=unknown
    )
    status = ModelDeploymentStatus.model_validate(decide_model_deployment(seen, at(NOW), SETTINGS).status)
    [said] = [each for each in status.conditions or () if each.type == "Progressing"]
    assert (said.status, said.reason) == ("False", "LoadUnknown")
    assert said.message == (
        "Not all requests are known (proxy 10.0.0.2: no route to host): the number of pods can grow, and no pod ends. It is 1."
    )


def test_a_model_whose_clients_may_go_past_the_gateway_keeps_its_pod() -> None:
    of = model_deployment(held(stable(1)), scaling=SLEEPY, service={"type": "NodePort"})
    seen = serving(
        of,
        version(1),
        workloads=[workload(V1, ready=1)],
        routes=DIRECT,
        serves_routes=True,
        budget=None,
        load=QUIET,
        activator_answers=True,
    )
    status = ModelDeploymentStatus.model_validate(decide_model_deployment(seen, at(NOW), SETTINGS).status)
    assert status.stable is not None
    assert status.stable.step.value == "Serving"
    [said] = [each for each in status.conditions or () if each.type == "Progressing"]
    assert "service.type is NodePort: set ClusterIP" in said.message
