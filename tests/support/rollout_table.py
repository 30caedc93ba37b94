"""Tables of decisions on ModelDeployments, keyed by a sentence."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fovea_api.contract.report import REASON_MODEL_CORRUPT, Termination
from fovea_api.v1alpha1.model_deployment_status import PlaceRole
from fovea_api.v1alpha1.rollout import Rollout
from fovea_operator.desired.deployment import revision
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.serving.giving_up import hash_of
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import DEPLOYMENT, SERVICE, Decision, Write
from fovea_operator.reconcile.shared.observed import ContainerRecord, ServingObserved
from support.observations import SETTINGS, at, version
from support.serving_observations import model_deployment


def name_of(number: int, **spec: Any) -> str:
    """Name of the Deployment of a version."""
    return f"digits-v{number}-{revision(model_deployment(**spec), version(number))}"


V1, V2, V3 = name_of(1), name_of(2), name_of(3)


def place(number: int, role: str, step: str, since: float = 0, **fields: Any) -> dict[str, Any]:
    """A version's place in the status, which it has had since that many seconds after T0."""
    name = name_of(number)
    return {
        "version": number,
        "digest": version(number).spec.digest,
        "revision": name.rpartition("-")[2],
        "deployment": name,
        "role": role,
        "step": step,
        "weight": 0,
        "since": times.text(at(since)),
        "readyReplicas": 0,
    } | fields


def stable(number: int, since: float = 0) -> dict[str, Any]:
    """A version that is served."""
    return place(number, "stable", "Serving", since, weight=100)


def candidate(number: int, since: float = 0, **fields: Any) -> dict[str, Any]:
    """A version that is being started."""
    return place(number, "candidate", "Starting", since, **fields)


def draining(number: int, since: float = 0) -> dict[str, Any]:
    """A version that finishes its connections."""
    return place(number, "draining", "Draining", since)


def failed(number: int, reason: str, **fields: Any) -> dict[str, Any]:
    """A version that was given up at T0 with the default rollout."""
    return place(number, "failed", "GivenUp", reason=reason, **({"rolloutHash": hash_of(Rollout(), number)} | fields))


def held(*places: dict[str, Any]) -> dict[str, Any]:
    """A status with these places."""
    return {"places": list(places), "observedGeneration": 1}


CORRUPT = ContainerRecord(
    waiting_reason="CrashLoopBackOff",
    last_exit_code=65,
    last_message=Termination(REASON_MODEL_CORRUPT, "s3://fovea/m/2/saved_model.pb does not match its digest").to_json(),
)
PULL = ContainerRecord(waiting_reason="ImagePullBackOff", waiting_message="Back-off pulling image")
CRASH = ContainerRecord(waiting_reason="CrashLoopBackOff", last_exit_code=1, last_message="no saved_model.pb")


def decide(seen: ServingObserved, now: float = 60) -> Decision:
    """The decision `now` seconds after T0."""
    return decide_model_deployment(seen, at(now), SETTINGS)


def summary(decision: Decision) -> dict[str, Any]:
    """What a row speaks about."""
    status = decision.status or {}
    made = [child.manifest for child in decision.children if child.write is Write.CREATE]
    applied = [child.manifest for child in decision.children if child.write is Write.APPLY]
    pointed = [
        manifest for manifest in applied if manifest["kind"] == "Service" and manifest["metadata"]["name"] == "digits"
    ]
    conditions = {each["type"]: f"{each['status']} {each['reason']}" for each in status.get("conditions", ())}
    numbers: dict[str, list[int]] = {role.value: [] for role in PlaceRole}
    for each in status.get("places", ()):
        numbers[each["role"]].append(each["version"])
    return {
        "creates": names_of(made, "Deployment"),
        "creates_services": names_of(made, "Service"),
        "scales": {m["metadata"]["name"]: m["spec"]["replicas"] for m in applied if m["kind"] == "Deployment"},
        "points_at": [f"v{manifest['spec']['selector']['fovea.dev/version']}" for manifest in pointed],
        "deletes": [deletion.name for deletion in decision.deletions if deletion.gvk == DEPLOYMENT],
        "deletes_services": [deletion.name for deletion in decision.deletions if deletion.gvk == SERVICE],
        "stable": next(iter(numbers["stable"]), None),
        "candidate": next(iter(numbers["candidate"]), None),
        "draining": numbers["draining"],
        "failed": next(iter(numbers["failed"]), None),
        "steps": {each["version"]: each["step"] for each in status.get("places", ())},
        "weights": {each["version"]: each["weight"] for each in status.get("places", ())},
        "since": {each["version"]: seconds(each["since"]) for each in status.get("places", ())},
        "conditions": {type_: said for type_, said in conditions.items() if type_ in ("Serving", "Progressing")},
        "promoted": conditions.get("Promoted"),
        "rolled_back": conditions.get("RolledBack"),
        "replicas": status.get("replicas"),
        "wakes": (decision.requeue_at - at(0)).total_seconds() if decision.requeue_at else None,
    }


def names_of(manifests: list[dict[str, Any]], kind: str) -> list[str]:
    """Names of the manifests of a kind."""
    return [manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] == kind]


def seconds(time: str) -> float:
    """How long after T0 that is."""
    return (datetime.fromisoformat(time) - at(0)).total_seconds()


@dataclass(frozen=True)
class Row:
    """What is observed, `now` seconds after T0, and what the summary and the message then have."""

    seen: Callable[[], ServingObserved]
    then: dict[str, Any]
    says: str = ""
    now: float = 60

    def check(self) -> None:
        """Decide and compare."""
        decision = decide(self.seen(), self.now)
        found = summary(decision)
        # A version's Service comes and goes with its Deployment, but where a row says otherwise.
        assert found["creates_services"] == self.then.get("creates_services", found["creates"])
        assert found["deletes_services"] == self.then.get("deletes_services", found["deletes"])
        assert {key: found[key] for key in self.then} == self.then
        if self.says:
            assert self.says in (decision.status or {})["message"]


NOTHING: dict[str, Any] = {"creates": [], "scales": {}, "points_at": [], "deletes": []}
STABLE_1 = held(stable(1))
ROLLING = held(stable(1), candidate(2))
DRAINING = held(stable(2, 60), draining(1, 60))
