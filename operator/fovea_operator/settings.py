"""Settings of the operator: one frozen dataclass, read once from FOVEA_OPERATOR_* environment variables (the chart writes them)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

from fovea_api.contract import storage


@dataclass(frozen=True)
class Settings:
    """Every value has a default that works with the chart's defaults; durations are seconds."""

    namespace: str = "fovea-system"
    """Namespace of the operator itself: its Lease lives here."""
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces whose resources are reconciled; empty: all of the cluster."""
    agent_image: str = "fovea:dev"
    """Image of the agent containers (`fovea`)."""
    trainer_image: str = "fovea-tensorflow:dev"
    """Image of recipes (`fovea-tensorflow`)."""
    trainer_gpu_image: str = ""
    """Image of recipes on machine types with GPUs; empty: trainer_image."""
    server_image: str = "tensorflow/serving:2.20.0"
    """Image of model servers; its entry point takes TensorFlow Serving's flags."""
    server_command: tuple[str, ...] = ("tensorflow_model_server",)
    """Command of the model server's container."""
    bucket: str = storage.BUCKET
    """Bucket of the object store, where it cannot be learnt from a job's status (a job that left checkpoints only)."""
    model_service_type: str = "ClusterIP"
    """Type of the Service of a ModelDeployment that a job makes (spec.model.deploy): ClusterIP, NodePort or LoadBalancer."""
    image_pull_secrets: tuple[str, ...] = ()
    """Pull secrets put on every pod of ours."""
    image_pull_policy: str = "IfNotPresent"
    """Pull policy of our own images."""
    report_url: str = ""
    """Base URL at which agents reach this operator for progress reports; empty: no reports."""
    report_port: int = 8080
    """Port of the endpoint for progress reports."""
    metrics_port: int = 9090
    """Port of /metrics, /healthz and /readyz."""
    workers: int = 16
    """Reconciles at the same time."""
    resync_seconds: float = 600.0
    """Every key is looked at again after this."""
    progress_seconds: float = 5.0
    """Progress reaches a job's status at most this often."""
    grace_seconds: int = 600
    """Grace period of training pods: time for the last checkpoint and the publication."""
    cancel_grace_seconds: int = 30
    """Grace period when a job is cancelled or deleted."""
    backoff_base_seconds: float = 10.0
    """First back-off between attempts of a job; doubled each time."""
    backoff_max_seconds: float = 360.0
    """Longest back-off between attempts."""
    lease_name: str = "fovea-operator"
    lease_seconds: int = 15
    lease_renew_seconds: float = 5.0
    identity: str = ""
    """Holder of the Lease: the pod's name, so that a restarted container leads at once. Empty: host and a random word."""
    log_format: str = "json"
    """json or text."""
    log_level: str = "info"
    """debug, info, warning or error."""
    events: bool = True
    """Whether Kubernetes Events are written."""
    event_rate: float = 20.0
    """Kubernetes Events written per second at most; the rest waits, and the oldest goes when too many wait."""
    retry_base_seconds: float = 0.5
    """First back-off of a reconcile that failed or whose child was refused; doubled each time."""
    retry_max_seconds: float = 60.0
    """Longest back-off of a reconcile."""
    relist_seconds: float = 10.0
    """After a watch began anew, a list is compared with the cache after this: it finds what went while nobody watched."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read; raises ValueError naming the variable and its value. Lists are comma-separated."""
        values: dict[str, object] = {}
        for item in fields(cls):
            variable = f"FOVEA_OPERATOR_{item.name.upper()}"
            text = environment.get(variable)
            if text is None:
                continue
            values[item.name] = _read(variable, text, item.default)
        return cls(**values)  # type: ignore[arg-type]


def _read(variable: str, text: str, default: object) -> object:
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float):
            return float(text)
    except (ValueError, KeyError):
        raise ValueError(f"{variable}={text!r} is not a {type(default).__name__}") from None
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text
