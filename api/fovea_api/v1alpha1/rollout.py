"""How a new version of a model takes over: its strategy, the steps of a canary, and what it is judged by."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from .common import Model, rule, rules

VersionNumber = Annotated[int, Field(ge=1, le=999_999_999)]
CANARY_BAKE_SECONDS = 120
"""bakeSeconds of a canary that names none."""


class RolloutStep(Model):
    """A share of the requests, and how long the candidate gets it."""

    weight: Annotated[int, Field(ge=0, le=99)]
    """Percentage of the requests that the new version gets. 0 goes with rollout.mirror only: the version is compared, and no client gets its answers."""
    hold_seconds: Annotated[int, Field(ge=0, le=86_400)] = 60
    """Least time of the step, in seconds. It begins when the gateway has taken the weight."""


class Analysis(Model):
    """What a new version is judged by while it gets requests. The gateway counts them. A version that fails is rolled back."""

    max_error_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Largest part of the new version's requests that may fail beyond the part that fails on the stable version, from 0 to 1. More
    failures than by chance roll the version back. Where they may be chance, it gets more requests, but no next step.
    A request fails if it ends with another status than OK or CANCELLED (gRPC), or with 4xx or 5xx (REST)."""
    max_latency_ratio: Annotated[float, Field(gt=1, le=1000)] = 1.5
    """Largest ratio of the new version's 99th percentile of the latency to that of the stable version in the same time. It is not
    judged while the new version has all requests."""
    min_requests: Annotated[int, Field(ge=0, le=1_000_000_000)] = 100
    """Requests to the new version in a step before it is judged. Fovea waits for them, however long holdSeconds is. 0: no
    version is judged by its requests, and time alone decides."""
    max_drift: Annotated[float | None, Field(ge=0, le=1)] = None
    """How far the answers of the new version to mirrored requests may be from those of the stable version, on average: the part of
    changed classes (outputs of strings or integers), or else the relative difference of numbers. Absent: the differences are counted, and
    not judged."""


class Mirror(Model):
    """Copies of requests, by which the answers of both versions are compared. Clients never see these answers."""

    percent: Annotated[int, Field(ge=1, le=100)] = 10
    """Percentage of the model's predictions, over gRPC and REST, that both versions answer in addition to their own."""


CANARY_STEPS = tuple(RolloutStep(weight=weight) for weight in (5, 25, 50))
"""steps of a canary that names none."""


class Rollout(Model):
    """How a new version takes over."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.steps) || self.strategy == 'Canary'",
                "rollout.steps goes with rollout.strategy Canary only: remove it or set strategy: Canary",
                field=".steps",
            ),
            rule(
                "!has(self.steps) || self.steps.map(s, s.weight).isSorted()",
                "the weights of rollout.steps must not decrease",
                field=".steps",
            ),
            rule(
                "!has(self.steps) || has(self.mirror) || self.steps.all(s, s.weight > 0)",
                "a step of weight 0 compares mirrored requests: set rollout.mirror, or a weight",
                field=".steps",
            ),
            rule(
                "!has(self.mirror) || self.strategy == 'Canary'",
                "rollout.mirror goes with rollout.strategy Canary only: remove it or set strategy: Canary",
                field=".mirror",
            ),
            rule(
                "!has(self.analysis) || !has(self.analysis.maxDrift) || has(self.mirror)",
                "rollout.analysis.maxDrift compares mirrored requests: set rollout.mirror",
                field=".analysis",
            ),
            rule(
                "!has(self.analysis) || !has(self.analysis.maxDrift) || self.analysis.minRequests > 0",
                "rollout.analysis.maxDrift judges requests: set rollout.analysis.minRequests to at least 1",
                field=".analysis",
            ),
            rule(
                "self.strategy != 'Recreate' || !has(self.bakeSeconds)",
                "rollout.bakeSeconds does not go with rollout.strategy Recreate: the old version has no pods by then",
                field=".bakeSeconds",
            ),
            rule(
                "!has(self.analysis) || self.strategy == 'Canary' || (has(self.bakeSeconds) && self.bakeSeconds > 0)",
                "rollout.analysis judges nothing here: set strategy: Canary, or strategy: BlueGreen with bakeSeconds",
                field=".analysis",
            ),
        )
    )

    strategy: Literal["BlueGreen", "Canary", "Recreate"] = "BlueGreen"
    """BlueGreen: all requests go to the new version as soon as all its pods are ready. Canary: the new version gets more and more of
    the requests, and is rolled back if it is worse than the old one; this needs a gateway. Recreate: the old version's pods
    end before those of the new version start, for machines that have no room for both; nothing answers in between."""
    steps: Annotated[list[RolloutStep] | None, Field(min_length=1, max_length=20)] = None
    """For a Canary: the steps before the new version gets all requests. Absent: 5 %, 25 % and 50 %, 60 s each."""
    analysis: Analysis | None = None
    """What the new version is judged by, during the steps of a Canary and during bakeSeconds. Absent: the defaults."""
    bake_seconds: Annotated[int | None, Field(ge=0, le=86_400)] = None
    """Seconds for which the old version keeps all its pods when the new version gets all requests. If the new version fails
    meanwhile, the requests go back at once. Absent: 120 for a Canary, 0 otherwise. More than 0 needs a gateway."""
    mirror: Mirror | None = None
    """For a Canary: copies of requests by which the answers of both versions are compared. Absent: none."""
    paused: bool = False
    """Whether the rollout stays at its present step. The new version is still rolled back if it fails."""
    promoted_version: VersionNumber | None = None
    """Number of a version that gets all requests as soon as its pods are ready, without steps and analysis. It means no other version.
    As long as it is set, a change of that version's pods (spec.pod, spec.machineType) takes no steps either."""
    aborted_version: VersionNumber | None = None
    """Number of a version that gets no requests, and whose rollout ends. It means no other version, and none that is stable
    or the only one that answers."""
    progress_deadline_seconds: Annotated[int, Field(ge=10, le=86_400)] = 600
    """Time, in seconds, in which all pods of a new version must become ready. If they do not, Fovea gives the version up, and the old
    version stays served. Without an old version, Fovea goes on trying."""
    drain_seconds: Annotated[int, Field(ge=0, le=3600)] = 60
    """Seconds for which the old version's pods stay after the requests have moved to the new version. It must be longer than
    clients' connections last: the model server closes gRPC connections after 30 s (serving.connectionSeconds of the chart)."""

    @property
    def needs_gateway(self) -> str:
        """The first field that works at a gateway only, with its value; empty: none."""
        if self.strategy == "Canary":
            return "strategy Canary"
        return f"bakeSeconds {self.bake_seconds}" if self.bake_seconds else ""
