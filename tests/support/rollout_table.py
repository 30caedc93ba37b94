"""Tables of decisions on ModelDeployments, keyed by a sentence."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fovea_api.contract.report import REASON_MODEL_CORRUPT, Termination
from fovea_operator.desired.deployment import revision
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.shared.decision import Decision, Write
from fovea_operator.reconcile.shared.observed import ContainerRecord, ServingObserved
from support.observations import SETTINGS, at, model_deployment, version


def name_of(number: int, **spec: Any) -> str:
    """Name of the Deployment of a version."""
    return f"digits-v{number}-{revision(model_deployment(**spec), version(number))}"


V1, V2, V3 = name_of(1), name_of(2), name_of(3)


def place(number: int, since: float = 0) -> dict[str, Any]:
    """A version's place in the status, so many seconds after T0."""
    seconds = int(since)
    return {
        "version": number,
        "digest": version(number).spec.digest,
        "deployment": name_of(number),
        "since": f"2026-11-21T10:{seconds // 60:02}:{seconds % 60:02}Z",
    }


def progressing(reason: str, message: str = "", generation: int = 1) -> dict[str, Any]:
    """A status with the condition Progressing."""
    condition = {"type": "Progressing", "status": "False", "reason": reason, "message": message}
    return {
        "conditions": [
            condition | {"lastTransitionTime": "2026-11-21T10:00:00Z", "observedGeneration": generation},
        ]
    }


CORRUPT = ContainerRecord(
    waiting_reason="CrashLoopBackOff",
    last_exit_code=65,
    last_message=Termination(REASON_MODEL_CORRUPT, "s3://fovea/m/2/saved_model.pb does not match its digest").to_json(),
)
PULL = ContainerRecord(waiting_reason="ImagePullBackOff", waiting_message="Back-off pulling image")
CRASH = ContainerRecord(waiting_reason="CrashLoopBackOff", last_exit_code=1, last_message="no saved_model.pb")


def decide(seen: ServingObserved, now: float = 60) -> Decision:
    """The decision so many seconds after T0."""
    return decide_model_deployment(seen, at(now), SETTINGS)


def summary(decision: Decision) -> dict[str, Any]:
    """What a row speaks about."""
    status = decision.status or {}
    made = [child.manifest for child in decision.children if child.write is Write.CREATE]
    applied = [child.manifest for child in decision.children if child.write is Write.APPLY]
    pointed = [manifest for manifest in applied if manifest["kind"] == "Service"]
    return {
        "creates": [manifest["metadata"]["name"] for manifest in made],
        "scales": {m["metadata"]["name"]: m["spec"]["replicas"] for m in applied if m["kind"] == "Deployment"},
        "points_at": [f"v{manifest['spec']['selector']['fovea.dev/version']}" for manifest in pointed],
        "deletes": [deletion.name for deletion in decision.deletions],
        "stable": (status.get("stable") or {}).get("version"),
        "candidate": (status.get("candidate") or {}).get("version"),
        "draining": [each["version"] for each in status.get("draining", ())],
        "failed": (status.get("failed") or {}).get("version"),
        "conditions": {each["type"]: f"{each['status']} {each['reason']}" for each in status.get("conditions", ())},
        "replicas": status.get("replicas"),
        "wakes": (decision.requeue_at - at(0)).total_seconds() if decision.requeue_at else None,
    }


@dataclass(frozen=True)
class Row:
    """What is observed, so many seconds after T0, and what the summary and the message then have."""

    seen: Callable[[], ServingObserved]
    then: dict[str, Any]
    says: str = ""
    now: float = 60

    def check(self) -> None:
        """Decide and compare."""
        decision = decide(self.seen(), self.now)
        found = summary(decision)
        assert {key: found[key] for key in self.then} == self.then
        if self.says:
            assert self.says in (decision.status or {})["message"]


NOTHING: dict[str, Any] = {"creates": [], "scales": {}, "points_at": [], "deletes": []}
STABLE_1 = {"stable": place(1), "observedGeneration": 1}
ROLLING = STABLE_1 | {"candidate": place(2)}
DRAINING = {"observedGeneration": 1, "stable": place(2, 60), "draining": [place(1, 60)]}
