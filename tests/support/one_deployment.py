"""A cluster for a client that only looks for a model's server."""

from typing import Any


class OneDeployment:
    """A cluster with one ModelDeployment, which has these addresses outside the cluster."""

    namespace = "vision"

    def __init__(self, model: str = "pets", **addresses: str) -> None:
        serving = {"type": "Serving", "status": "True", "reason": "Available", "message": "It answers."}
        place = {"version": 1, "revision": "a", "deployment": f"{model}-v1-a", "role": "stable", "step": "Serving"}
        host = f"{model}.{self.namespace}.svc"
        status = {
            "conditions": [{**serving, "lastTransitionTime": "2026-05-01T11:59:20Z"}],
            "observedGeneration": 1,
            "places": [place],
            "endpoint": {"grpc": f"{host}:8500", "rest": f"http://{host}:8501/v1/models/{model}"} | addresses,
        }
        metadata = {"name": model, "namespace": self.namespace, "generation": 1}
        self.items = [{"metadata": metadata, "spec": {"model": model}, "status": status}]

    def get(self, *_: Any) -> dict[str, Any]:
        """The list of ModelDeployments."""
        return {"items": self.items}
