"""Where clients call a ModelDeployment."""

from fovea_api.contract import names
from fovea_api.v1alpha1 import ModelDeployment
from fovea_api.v1alpha1.model_deployment import Endpoint

from fovea_operator.reconcile.observed import ServiceRecord


def of(deployment: ModelDeployment, service: ServiceRecord | None) -> Endpoint | None:
    """Addresses inside the cluster, and the node ports where the Service has some; None without a Service."""
    if service is None:
        return None
    host = f"{deployment.metadata.name}.{deployment.metadata.namespace}.svc"
    return Endpoint(
        grpc=f"{host}:{names.GRPC_PORT}",
        rest=f"http://{host}:{names.REST_PORT}/v1/models/{deployment.spec.model}",
        node_port_grpc=service.node_ports.get(names.GRPC_PORT_NAME),
        node_port_rest=service.node_ports.get(names.REST_PORT_NAME),
    )
