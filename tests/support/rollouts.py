"""ModelDeployments in the middle of rollouts, as the cluster holds them."""

from typing import Any


def place(version: int, role: str, step: str, weight: int = 0, **more: Any) -> dict[str, Any]:
    """The status of one version."""
    return {
        "version": version,
        "revision": f"r{version}",
        "deployment": f"digits-v{version}-r{version}",
        "role": role,
        "step": step,
        "weight": weight,
        "since": "2026-05-01T11:40:00Z",
        "readyReplicas": 2,
        **more,
    }


def traffic(requests: int, errors: int, p50: float | None = 12.1, p99: float | None = 30.2) -> dict[str, Any]:
    """A count of requests."""
    seen = {"requests": requests, "errors": errors, "errorRatio": round(errors / requests, 5)}
    latency = {"p50Milliseconds": p50, "p99Milliseconds": p99}
    return {
        "time": "2026-05-01T11:59:58Z",
        **seen,
        **{key: value for key, value in latency.items() if value is not None},
    }


STABLE = place(3, "stable", "Serving", 90, traffic=traffic(9120, 11))
ALONE = place(3, "stable", "Serving", 100)
SHIFT = {
    "step": 2,
    "steps": 4,
    "weight": 10,
    "since": "2026-05-01T11:59:20Z",
    "nextWeight": 50,
    "nextTime": "2026-05-01T12:00:20Z",
}
CANDIDATE = place(4, "candidate", "Shifting", 10, shift=SHIFT, traffic=traffic(1013, 2, 12.6, None))
STARTING = place(4, "candidate", "Starting", readyReplicas=1, reason="Starting", message="1 of 2 pods answer")
FAILED = place(
    4,
    "failed",
    "GivenUp",
    readyReplicas=0,
    reason="TooManyErrors",
    message="12 % of its requests failed, 0.1 % of version 3.",
    traffic=traffic(512, 61),
)
ABORTED = place(4, "failed", "Draining", reason="Aborted", message="rollout.abortedVersion names it")
LATE = place(
    4,
    "failed",
    "GivenUp",
    readyReplicas=0,
    reason="ProgressDeadlineExceeded",
    message="its pods were not ready within 600 s (rollout.progressDeadlineSeconds)",
    retryTime="2026-05-01T12:40:00Z",
)
HISTORY = [
    {"version": version, "time": f"2026-05-01T0{version}:00:00Z", "reason": "Promoted", "traffic": traffic(7000, 7)}
    for version in (1, 2, 3)
] + [{"version": 4, "time": "2026-05-01T11:40:00Z", "reason": "TooManyErrors", "message": FAILED["message"]}]
CANARY = {"strategy": "Canary", "steps": [{"weight": weight} for weight in (5, 10, 50)]}


def deployment(
    *places: dict[str, Any], name: str = "digits", rollout: dict[str, Any] | None = None, **status: Any
) -> dict[str, Any]:
    """A ModelDeployment, of strategy Canary unless the rollout says another."""
    return {
        "apiVersion": "fovea.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {
            "name": name,
            "namespace": "vision",
            "uid": "u-1",
            "generation": 7,
            "creationTimestamp": "2026-04-29T12:00:00Z",
        },
        "spec": {"model": "digits", "rollout": {**CANARY, **(rollout or {})}},
        "status": {"places": list(places), "replicas": 2, "observedGeneration": 7, **status},
    }
