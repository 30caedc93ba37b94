"""How many pods serve a model: a fixed number, or by the requests under way, down to none."""

from typing import Annotated

from pydantic import ConfigDict, Field

from .common import Model, Status, rule, rules

TARGET_CONCURRENCY = 8
IDLE_SECONDS = 300
STABILIZATION_SECONDS = 60
_AUTOMATIC = ("maxReplicas", "targetConcurrency", "idleSeconds", "stabilizationSeconds")


class Scaling(Model):
    """Number of pods. With maxReplicas, or with minReplicas 0, the requests under way decide on it: this needs a gateway."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.maxReplicas) || self.maxReplicas >= self.minReplicas",
                "scaling.maxReplicas must not be less than scaling.minReplicas",
                field=".maxReplicas",
            ),
            *(
                rule(
                    f"!has(self.{field}) || has(self.maxReplicas)",
                    f"scaling.{field} goes with scaling.maxReplicas: set it too",
                    field=f".{field}",
                )
                for field in ("targetConcurrency", "stabilizationSeconds")
            ),
            *(
                rule(
                    f"!has(self.{field}) || !has(self.external) || !self.external",
                    f"scaling.{field} does not go with scaling.external: remove one of them",
                    field=f".{field}",
                )
                for field in _AUTOMATIC
            ),
            rule(
                "!has(self.external) || !self.external || self.minReplicas > 0",
                "scaling.external does not go with scaling.minReplicas: 0: nothing would start a pod for a request",
                field=".minReplicas",
            ),
        )
    )

    min_replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Least number of pods of each version that is served or is starting. Without maxReplicas it is their number. 0: after idleSeconds
    without a request, no pod is left, and the next request waits until one has started."""
    max_replicas: Annotated[int | None, Field(ge=1, le=1000)] = None
    """Most pods of each version. Between minReplicas and this, the number follows the requests under way. Absent: minReplicas, or 1 with minReplicas 0."""
    target_concurrency: Annotated[int | None, Field(ge=1, le=10_000)] = None
    """Requests under way that one pod is to have. Absent: 8."""
    stabilization_seconds: Annotated[int | None, Field(ge=0, le=3_600)] = None
    """Pods end only once fewer have been enough for this long. Absent: 60."""
    idle_seconds: Annotated[int | None, Field(ge=10, le=604_800)] = None
    """Time without a request after which no pod is left, where minReplicas is 0. Absent: 300."""
    external: bool = False
    """Whether another autoscaler sets minReplicas, by the scale subresource. Fovea then takes it as it is."""

    @property
    def reaches_zero(self) -> bool:
        """Whether a model without requests has no pod."""
        return self.min_replicas == 0

    @property
    def least(self) -> int:
        """Least number of pods while the model is served by any."""
        return max(1, self.min_replicas)

    @property
    def most(self) -> int:
        """Most pods of a version."""
        return max(self.least, self.max_replicas or 0)

    @property
    def follows(self) -> bool:
        """Whether requests decide on the number."""
        return self.reaches_zero or self.most > self.least

    @property
    def target(self) -> int:
        """Requests under way for one pod."""
        return self.target_concurrency or TARGET_CONCURRENCY

    @property
    def stabilization(self) -> int:
        """Seconds for which fewer pods must have been enough."""
        return STABILIZATION_SECONDS if self.stabilization_seconds is None else self.stabilization_seconds

    @property
    def idle(self) -> int:
        """Seconds without a request after which no pod is left."""
        return self.idle_seconds or IDLE_SECONDS


class Scale(Status):
    """Number of pods that the requests under way ask for."""

    replicas: int
    """Number of pods that each version is to have while it is served or is starting."""
    since: str | None = None
    """Time of its last change."""
    concurrency: float | None = None
    """Requests under way that decided on it."""
    cold_start_seconds: float | None = None
    """How long the last start from no pod took, from the first request that waited to the first pod that answers."""
    end_time: str | None = None
    """While the version is idle and its requests go to the activator: time at which its pods end."""
    unavailable: Annotated[str | None, Field(max_length=1024)] = None
    """While requests wait for a version that cannot start: what they are answered."""
