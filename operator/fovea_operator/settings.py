"""Settings of the operator: one frozen dataclass, read once from FOVEA_OPERATOR_* environment variables (the chart writes them)."""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from fovea_api.contract import storage

_DAY = 86_400
_LONGEST_TTL = 315_360_000
_PORT = (0, 65_535)
_RANGES: dict[str, tuple[float, float]] = {
    "report_port": _PORT,
    "metrics_port": _PORT,
    "server_connection_seconds": (1, 600),
    "second_pod_end_seconds": (0, _DAY),
    "queue_position_seconds": (1, _DAY),
    "workers": (1, 256),
    "resync_seconds": (0.1, _DAY),
    "progress_seconds": (0.1, _DAY),
    "statistics_seconds": (0.1, 3_600),
    "gateway_statistics_port": _PORT,
    "gateway_grpc_tls_port": _PORT,
    "gateway_rest_tls_port": _PORT,
    "progress_rate": (0.01, 10_000),
    "grace_seconds": (1, _DAY),
    "cancel_grace_seconds": (0, _DAY),
    "backoff_base_seconds": (0, _DAY),
    "backoff_max_seconds": (0, _DAY),
    "lease_seconds": (3, 3_600),
    "lease_renew_seconds": (0.1, 1_200),
    "event_rate": (0.01, 10_000),
    "retry_base_seconds": (0.01, _DAY),
    "retry_max_seconds": (0.01, _DAY),
    "relist_seconds": (0, _DAY),
    "ttl_seconds_after_finished": (0, math.inf),
}
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|[kMGTPE]|[KMGTPE]i)?")
_OPTIONAL = frozenset({"agent_cpu_limit"})
_QUANTITIES = _OPTIONAL | {"agent_cpu", "agent_memory", "agent_memory_limit", "stream_room", "model_cache_size"}
_PATTERNS = frozenset({"service_accounts", "priority_classes"})
_PATTERN = re.compile(r"[a-z0-9*]([a-z0-9.*-]*[a-z0-9*])?")
_GATEWAY = re.compile(r"[a-z0-9][a-z0-9.-]*/[a-z0-9][a-z0-9.-]*")
_CHOICES: dict[str, tuple[str, ...]] = {
    "model_service_type": ("ClusterIP", "NodePort", "LoadBalancer"),
    "image_pull_policy": ("Always", "IfNotPresent", "Never"),
    "log_format": ("json", "text"),
    "log_level": ("debug", "info", "warning", "error"),
}


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
    server_gpu_image: str = ""
    """Image of model servers on machine types with GPUs; empty: server_image."""
    server_command: tuple[str, ...] = ("tensorflow_model_server",)
    """Command of the model server's container."""
    model_cache_volume: str = ""
    """Source of the volume in which serving pods share files of models, as JSON of a volume without its name; empty: none."""
    model_cache_size: str = "20Gi"
    """Most room of it that the models of a namespace take."""
    server_connection_seconds: int = 30
    """How long a gRPC connection to a model server lives (a tenth more or less). A pod that is to go answers that long, and ten seconds."""
    bucket: str = storage.BUCKET
    """Bucket of the object store, where it cannot be learnt from a job's status (a job that left checkpoints only)."""
    model_service_type: str = "ClusterIP"
    """Type of the Service of a ModelDeployment that a job makes (spec.model.deploy): ClusterIP, NodePort or LoadBalancer."""
    gateway: str = ""
    """Gateway (Gateway API) to which the routes of models attach: <namespace>/<name>. Empty: none, clients reach the model servers directly."""
    gateway_address: str = ""
    """DNS name inside the cluster of that Gateway's proxies: clients' Services stand for it."""
    gateway_domain: str = ""
    """Domain below which models have hosts for clients outside the cluster: <model>.<namespace>.<domain>. Empty: none."""
    gateway_grpc_tls_port: int = 0
    """Port of that Gateway's listener `grpc-tls`. 0: it has none."""
    gateway_rest_tls_port: int = 0
    """Port of that Gateway's listener `rest-tls`. 0: it has none."""
    gateway_activator: str = ""
    """Service of the activator, <namespace>/<name>: requests of a model without a pod wait there. Empty: there is none."""
    gateway_proxies: str = ""
    """Service of the Gateway's proxies, <namespace>/<name>: the proxies whose counters are read."""
    gateway_statistics_port: int = 0
    """Port of each proxy on which Envoy's counters can be read (/stats/prometheus). 0: they cannot."""
    statistics_seconds: float = 1.0
    """How often they are read while a candidate gets requests."""
    cluster_domain: str = "cluster.local"
    """DNS domain of the cluster."""
    image_pull_secrets: tuple[str, ...] = ()
    """Pull secrets put on every pod of ours."""
    image_pull_policy: str = "IfNotPresent"
    """Pull policy of our own images."""
    service_accounts: tuple[str, ...] = ()
    """ServiceAccounts that spec.pod may name besides `default`; * stands for any characters."""
    priority_classes: tuple[str, ...] = ("*",)
    """PriorityClasses that spec.pod may name, never those of the system; * stands for any characters."""
    agent_cpu: str = "50m"
    """CPU request of each agent container, where the machine type names none."""
    agent_cpu_limit: str = ""
    """CPU limit of each agent container; empty or 0: none."""
    agent_memory: str = "128Mi"
    """Memory request of each agent container."""
    agent_memory_limit: str = "512Mi"
    """Memory limit of each agent container."""
    report_url: str = ""
    """Base URL at which agents reach this operator for progress reports; empty: no reports."""
    report_port: int = 8080
    """Port of the endpoint for progress reports."""
    metrics_port: int = 9090
    """Port of /metrics, /healthz and /readyz."""
    second_pod_end_seconds: float = 120.0
    """How long the second pod of a model with one replica stays when its node is not cordoned any more.

    A removed node looks like one that was uncordoned, and Kubernetes deletes its pods within a minute. A Deployment that is
    scaled down before that deletes the newer pod, the one that is to stay.
    """
    coscheduling_scheduler: str = "scheduler-plugins-scheduler"
    """Scheduler of pods in a PodGroup of scheduling.x-k8s.io (the scheduler plugins)."""
    volcano_scheduler: str = "volcano"
    """Scheduler of pods in a PodGroup of scheduling.volcano.sh (Volcano)."""
    queue_position_seconds: float = 15.0
    """Kueue is asked this often for the order of queues in which jobs wait."""
    workers: int = 16
    """Reconciles at the same time."""
    resync_seconds: float = 600.0
    """Every key is looked at again after this."""
    progress_seconds: float = 5.0
    """Progress, and other words of the scheduler on a waiting pod, reach a status at most this often; less often where there are many (`progress_rate`)."""
    progress_rate: float = 20.0
    """Status writes a second that the progress of all jobs together may cost; the scheduler's words may cost as many."""
    grace_seconds: int = 600
    """Grace period of training pods: time for the last checkpoint and the publication."""
    stream_room: str = "10Gi"
    """Most bytes of shards that a pod holds of each streamed input (spec.inputModes) at once."""
    training_network_policies: bool = True
    """Whether each job of several pods gets a NetworkPolicy: only its own pods reach each other."""
    cancel_grace_seconds: int = 30
    """Grace period when a job is cancelled or deleted."""
    ttl_seconds_after_finished: float = math.inf
    """Ended jobs are deleted after this, where runPolicy.ttlSecondsAfterFinished does not say another; inf: never."""
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
    """After a watch began again, a list is compared with the cache after this time: it finds what went between the watches."""

    @property
    def ttl_seconds(self) -> float | None:
        """`ttl_seconds_after_finished`; None: never."""
        return None if math.isinf(self.ttl_seconds_after_finished) else self.ttl_seconds_after_finished

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read; raises ValueError naming the variable, its value and what it may be. Lists are comma-separated."""
        values: dict[str, object] = {}
        for item in fields(cls):
            variable = _variable(item.name)
            text = environment.get(variable)
            if text is None:
                continue
            values[item.name] = value = _read(variable, text, item.default)
            _check(item.name, value)
        settings = cls(**values)  # type: ignore[arg-type]
        if settings.gateway and not (_GATEWAY.fullmatch(settings.gateway) and settings.gateway_address):
            raise ValueError(
                f"{_variable('gateway')}={settings.gateway!r} must be <namespace>/<name>, and {_variable('gateway_address')}="
                f"{settings.gateway_address!r} the DNS name of its proxies"
            )
        if settings.gateway_statistics_port and not _GATEWAY.fullmatch(settings.gateway_proxies):
            raise ValueError(
                f"{_variable('gateway_statistics_port')} is set, so {_variable('gateway_proxies')}="
                f"{settings.gateway_proxies!r} must be the proxies' Service: <namespace>/<name>"
            )
        if settings.lease_renew_seconds > settings.lease_seconds / 3:
            # A leader gives up after two thirds of its Lease, and a renewal that failed needs time for another.
            raise ValueError(
                f"{_variable('lease_renew_seconds')}={settings.lease_renew_seconds} is more than a third of "
                f"{_variable('lease_seconds')}={settings.lease_seconds}: shorten it, or lengthen the lease"
            )
        return settings


def _variable(name: str) -> str:
    return f"FOVEA_OPERATOR_{name.upper()}"


def _check(name: str, value: object) -> None:
    if name in _QUANTITIES and (value or name not in _OPTIONAL) and not _QUANTITY.fullmatch(str(value)):
        raise ValueError(f"{_variable(name)}={value!r} is not a quantity such as 500m, 2 or 4Gi")
    if name in _PATTERNS and isinstance(value, tuple) and (wrong := [v for v in value if not _PATTERN.fullmatch(v)]):
        raise ValueError(f"{_variable(name)}: {wrong[0]!r} is not the name of an object; * stands for any characters")
    if name == "model_cache_volume" and value and not _is_volume(str(value)):
        raise ValueError(
            f'{_variable(name)}={value!r} is not the source of a volume, such as {{"hostPath": {{"path": "/var/cache/fovea"}}}}'
        )
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ValueError(f"{_variable(name)}={value!r} is not one of {', '.join(_CHOICES[name])}")
    low, high = _RANGES.get(name, (None, None))
    if low is not None and high is not None and not (isinstance(value, int | float) and low <= value <= high):
        raise ValueError(f"{_variable(name)}={value} is not between {low} and {high}")
    if name == "ttl_seconds_after_finished" and isinstance(value, float) and _LONGEST_TTL < value < math.inf:
        raise ValueError(
            f"{_variable(name)}={value} is more than {_LONGEST_TTL} (ten years); inf keeps ended jobs for good"
        )


def _is_volume(text: str) -> bool:
    try:
        source = json.loads(text)
    except ValueError:
        return False
    return isinstance(source, dict) and len(source) == 1 and all(isinstance(value, dict) for value in source.values())


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
