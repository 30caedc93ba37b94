"""A ModelDeployment in a world of its own: versions come and go, pods fail, others edit its Services and routes, the operator dies
between any two writes. Each write of the operator is checked: `World` has the invariants.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from fovea_api.contract import names
from fovea_api.v1alpha1 import ModelDeployment, ModelVersion
from fovea_api.v1alpha1.rollout import Rollout
from fovea_api.v1alpha1.scaling import Scaling
from fovea_operator.desired import routes
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.shared.decision import DEPLOYMENT, DISRUPTION_BUDGET, Child, Decision, Deletion, Write
from fovea_operator.reconcile.shared.observed import (
    BudgetRecord,
    DeploymentRecord,
    PodRecord,
    RouteRecord,
    ServiceRecord,
    ServingObserved,
)
from fovea_operator.reconcile.shared.traffic import Held, Load, Requests, Sample, Traffic
from fovea_operator.settings import Settings
from support.observations import SETTINGS, at, version
from support.places import check_whole, moved_along_the_ways, pointed_at
from support.rollout_table import CORRUPT
from support.serving_observations import (
    model_deployment,
    route_record,
    server_pod,
    service_at,
    service_record,
    serving,
    workload,
    written,
)

REFUSALS = {
    "a quota on Deployments": lambda child: child.manifest["kind"] == "Deployment" and child.write is Write.CREATE,
    "a policy on the Service": lambda child: child.manifest["metadata"]["name"] == "digits",
    "a quota on Services": lambda child: child.manifest["kind"] == "Service" and child.write is Write.CREATE,
    "a policy on routes": lambda child: child.manifest["kind"] in ("GRPCRoute", "HTTPRoute"),
    "nothing": lambda _: False,
}
ROLLOUTS: dict[str, dict[str, Any]] = {
    "a canary is asked for": {"strategy": "Canary", "steps": [{"weight": 10}, {"weight": 50}]},
    "a bake is asked for": {"bakeSeconds": 60},
    "the old version is to go first": {"strategy": "Recreate"},
    "no steps are asked for": {},
}
WITH_GATEWAY = replace(
    SETTINGS,
    gateway="fovea-system/fovea",
    gateway_address="gateway.fovea-system.svc.cluster.local",
    gateway_activator="fovea-system/fovea-activator",
    gateway_statistics_port=19001,
)
SCALINGS: dict[str, dict[str, Any]] = {
    "it may go without a pod": {"minReplicas": 0, "idleSeconds": 60},
    "it may have more pods": {"minReplicas": 1, "maxReplicas": 3},
    "it has one pod": {},
}


@dataclass
class World:
    """What the API server holds, and what tests watch over."""

    of: ModelDeployment = field(default_factory=model_deployment)
    versions: dict[int, ModelVersion] = field(default_factory=lambda: {1: version(1)})
    workloads: dict[str, DeploymentRecord] = field(default_factory=dict)
    services: dict[str, ServiceRecord] = field(default_factory=dict)
    budgets: dict[str, BudgetRecord] = field(default_factory=dict)
    corrupt: set[str] = field(default_factory=set)
    cordoned: bool = False
    """Whether the node of each version's first pod is."""
    refuses: str = "nothing"
    now: float = 0
    writes: list[str] = field(default_factory=list)
    has_gateway: bool = False
    gateway: str = "the gateway is there"
    routes: dict[str, RouteRecord] = field(default_factory=dict)
    taken: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The specs of the routes by which the gateway goes, by kind."""
    by_hand: set[str] = field(default_factory=set)
    """What somebody else has changed or taken away: kinds of routes, names of Services."""
    edited: bool = False
    """Whether somebody else has ever changed a route: what the gateway knows then is not ours to say."""
    bad: set[int] = field(default_factory=set)
    """Versions whose requests fail."""
    last_asked: dict[str, float] = field(default_factory=dict)
    """When the gateway last sent requests to a Deployment whose pods answered."""
    seen_steps: set[str] = field(default_factory=set)
    """Steps of all places so far."""
    counts: bool = True
    """Whether the gateway's count of requests can be read."""
    has_requests: bool = True
    """Whether clients ask."""
    last_request: float = 0
    made_room: bool = False
    """Whether a rollout was asked for in which the old version's pods end first."""
    waits: bool = False
    """Whether a request of a client is at the activator."""

    @property
    def settings(self) -> Settings:
        return WITH_GATEWAY if self.has_gateway else SETTINGS

    def seen(self, refused: str = "") -> ServingObserved:
        return serving(
            self.of,
            *self.versions.values(),
            workloads=self.workloads.values(),
            pods=[pod for name in self.workloads for pod in self._pods(name)],
            services=self.services.values(),
            budget=self.budgets.get("digits"),
            candidate_budgets=[each for name, each in self.budgets.items() if name != "digits"],
            cordoned=frozenset({"node-1"} if self.cordoned else ()),
            routes=self.routes.values(),
            serves_routes=self.has_gateway,
            traffic=self._traffic() if self.has_gateway else None,
            load=self._load() if self.has_gateway and self.of.spec.scaling.follows else None,
            held=Held(1, at(self.now)) if self.waits else None,
            activator_answers=True if self.has_gateway else None,
            refused=refused,
        )

    def _load(self) -> Load:
        """Read for long before, unless it cannot be read now."""
        asked = self.has_requests and not self.waits
        sample = Sample(at(self.now), 20 if asked else 0)
        return Load((sample,), at(self.last_request), at(-10_000), "" if self.counts else "no proxy answers")

    def _traffic(self) -> Traffic:
        """Each version that has a share of the requests has had many by the time that anybody looks."""
        if not self.counts:
            return Traffic(trouble="no proxy answers")
        asked = {name for spec in self.taken.values() for name in routes.weights(spec)}
        found = {
            place.deployment: Requests(1000, 500 if place.version in self.bad else 0, {10.0: 1000})
            for place in self.of.status.places or ()
            if (place.deployment in asked and place.shift is not None) or place.role == "stable"
        }
        return Traffic(found, found)

    def _pods(self, name: str) -> list[PodRecord]:
        """Those that are wanted, each on a node of its own."""
        found, of = {names.FETCH_MODEL_CONTAINER: CORRUPT} if name in self.corrupt else {}, self.workloads[name]
        return [
            server_pod(name, containers=found, node=f"node-{number}", ready=number <= of.ready_replicas)
            for number in range(1, of.replicas + 1)
        ]

    def reconcile(self, crash_after: int | None = None) -> None:
        """Decide and carry out, in the order of the edges, at most this many writes."""
        for done, _ in enumerate(self._steps(), 1):
            if crash_after is not None and done >= crash_after:
                return

    def _steps(self) -> Iterator[None]:
        was = self.of.status
        decision = decide_model_deployment(self.seen(), at(self.now), self.settings)
        for child in decision.children:
            if REFUSALS[self.refuses](child):
                decision = decide_model_deployment(self.seen(self.refuses), at(self.now), self.settings)
                break
            self._write(child)
            yield
        self.of = written(self.of, decision)
        places = self.of.status.dump()["places"]
        check_whole(places)
        self.seen_steps |= {place["step"] for place in places}
        if was.places is not None:
            moved_along_the_ways(was.dump()["places"], places)
        if self.of.status != was:
            self.writes.append("status")
        yield
        for deletion in decision.deletions:
            held = self._held(deletion)
            assert deletion.name != "digits", "the Service of the clients goes with its ModelDeployment only"
            # A version without a place was let go before its pods answered.
            placed = deletion.name in {place.deployment for place in was.places or ()}
            if (
                placed
                and deletion.gvk == DEPLOYMENT
                and self.workloads[deletion.name].ready_replicas
                and not self.edited
            ):
                asked = self.last_asked.get(deletion.name, -1000)
                assert self.now >= asked + self.of.spec.rollout.drain_seconds, "its requests are not finished"
            del held[deletion.name]
            self.writes.append(f"delete {deletion.gvk.kind}")
            yield
        self._watch(decision)

    def _held(self, deletion: Deletion) -> dict[str, Any]:
        return {DEPLOYMENT: self.workloads, DISRUPTION_BUDGET: self.budgets}.get(deletion.gvk, self.services)

    def _write(self, child: Child) -> None:
        name, kind = child.manifest["metadata"]["name"], child.manifest["kind"]
        self.writes.append(f"{child.write.value} {kind}")
        if kind in ("GRPCRoute", "HTTPRoute"):
            generation = self.routes[kind].generation + 1 if kind in self.routes else 1
            self._sends_to_what_answers(routes.weights(child.manifest["spec"]))
            self.routes[kind] = route_record(child.manifest, generation, taken=None)
            self.by_hand.discard(kind)
        elif kind == "ReferenceGrant":
            self.writes.pop()
        elif kind == "Service":
            self.services[name] = service_record(child.manifest)
            self.by_hand.discard(name)
        elif kind == "PodDisruptionBudget":
            self.budgets[name] = BudgetRecord("vision", name, "budget-uid", child.manifest["spec"])
            selected = [str(each.spec["selector"]) for each in self.budgets.values()]
            assert len(set(selected)) == len(selected), "an eviction of a pod with two budgets is an error"
        elif child.write is Write.CREATE:
            self.workloads[name] = workload(name, replicas=child.manifest["spec"]["replicas"])
        else:
            self._scale(name, child.manifest["spec"]["replicas"])

    def _scale(self, name: str, replicas: int) -> None:
        """Pods that are to end end at once: nothing that was to come to them may."""
        known = self.workloads[name]
        ready = min(known.ready_replicas, replicas)
        self.workloads[name] = replace(known, replicas=replicas, ready_replicas=ready, available_replicas=ready)

    def _sends_to_what_answers(self, weights: dict[str, int]) -> None:
        """None gets requests whose pods do not answer, but the version that is served where no other one answers."""
        answering = [name for name in weights if name in self.workloads and self.workloads[name].ready_replicas]
        assert len(weights) == 1 or len(answering) == len(weights)
        for name in weights.keys() - {
            place.deployment for place in (self.of.status.stable, *self.of.status.draining) if place
        }:
            assert len(weights) == 1 or name in answering, "a version without ready pods never has weight"

    def _watch(self, decision: Decision) -> None:
        """Clients of a served version are never sent to a version that has no Deployment."""
        served = self.of.status.stable
        if served is None or decision.children or self.refuses != "nothing":
            return
        if self.of.status.candidate is not None and self.of.status.candidate.shift is not None:
            return
        if not self.has_gateway or self.services["digits"].type != "ExternalName":
            assert pointed_at(self.services.values()) == served.deployment
        assert served.deployment in self.workloads

    def gateway_works(self) -> None:
        """It takes the routes, or refuses them, or is away: then it goes on by those that it has taken."""
        if not self.has_gateway:
            return
        for spec in self.taken.values():
            for name in routes.weights(spec):
                if name in self.workloads and self.workloads[name].ready_replicas:
                    self.last_asked[name] = self.now
        self._clients_ask()
        if self.gateway == "the gateway is away":
            return
        takes = self.gateway == "the gateway is there"
        for kind, route in self.routes.items():
            manifest = {"kind": kind, "metadata": {"name": route.name, "labels": route.labels}, "spec": route.spec}
            self.routes[kind] = route_record(manifest, route.generation, taken=takes)
            if takes:
                self._takes(kind, dict(route.spec))

    def _clients_ask(self) -> None:
        """No request comes to a version that has no pod, unless somebody else has edited the routes, or asked for an outage."""
        through = bool(self.taken) and all(routes.through_activator(spec) for spec in self.taken.values())
        self.waits = self.has_requests and through
        if not self.has_requests:
            return
        self.last_request = self.now
        for spec in self.taken.values():
            if not routes.through_activator(spec) and not self.edited and not self.made_room:
                for name in routes.weights(spec):
                    assert name not in self.workloads or self.workloads[name].replicas > 0

    def _takes(self, kind: str, spec: dict[str, Any]) -> None:
        before, self.taken[kind] = self.taken.get(kind, {}), spec
        weights = routes.weights(spec)
        if kind in self.by_hand:
            return
        assert sum(weights.values()) == 100
        served = [name for name in routes.weights(before) if name in self.workloads]
        if not self.edited and any(self.workloads[name].ready_replicas for name in served):
            assert weights.keys() <= routes.backends(before), "a version gets requests only when the gateway knows it"
            for name in weights.keys() - routes.weights(before).keys():
                assert name in self.workloads, "requests go to what is there"
                assert name in self.services or name in self.by_hand

    # -- what happens --------------------------------------------------------------------------------------------------

    def happens(self, what: str, number: int) -> None:
        """Something that the operator does not do."""
        newest = next(reversed(self.workloads), None)
        chosen = list(self.workloads)[number % len(self.workloads)] if self.workloads else None
        if what == "a version is registered":
            self.versions[max(self.versions) + 1] = version(max(self.versions) + 1)
        elif what in ("a version is rejected", "a version is approved"):
            approval = "Rejected" if what.endswith("rejected") else "Approved"
            one = sorted(self.versions)[number % len(self.versions)]
            self.versions[one] = version(one, approval=approval)
        elif what == "a version is asked for":
            self.spec(version=sorted(self.versions)[number % len(self.versions)])
        elif what == "the newest is asked for":
            self.spec(version="Latest")
        elif what in SCALINGS:
            self.spec(scaling=Scaling.model_validate(SCALINGS[what]))
        elif what in ("requests come", "no requests come"):
            self.has_requests = what == "requests come"
        elif what in ROLLOUTS:
            self.made_room = self.made_room or what == "the old version is to go first"
            self.spec(rollout=Rollout.model_validate(ROLLOUTS[what]))
        elif what == "a version is aborted" and self.of.status.candidate is not None:
            self.rollout(aborted_version=self.of.status.candidate.version)
        elif what == "a version is promoted" and self.of.status.candidate is not None:
            self.rollout(promoted_version=self.of.status.candidate.version)
        elif what in ("the rollout is paused", "the rollout is resumed"):
            self.rollout(paused=what.endswith("paused"))
        elif what == "a version turns bad":
            self.bad.add(max(self.versions))
        elif what in ("nothing counts", "the gateway counts"):
            self.counts = what == "the gateway counts"
        elif what == "pods answer" and newest is not None:
            self.answer(newest)
        elif what == "pods answer no more" and chosen is not None:
            self.workloads[chosen] = replace(self.workloads[chosen], ready_replicas=0, available_replicas=0)
        elif what == "a file is corrupt" and newest is not None:
            self.corrupt.add(newest)
        elif what == "someone moves the Service" and chosen is not None and "digits" in self.services:
            self.services["digits"] = service_at(chosen)
        elif what == "someone deletes a Service" and chosen is not None:
            self.services.pop(chosen, None)
            self.by_hand.add(chosen)
        elif what.startswith("the gateway"):
            self.gateway = what
        elif what == "someone edits a route" and chosen is not None and "GRPCRoute" in self.routes:
            self._edit("GRPCRoute", chosen)
        elif what in ("a node is cordoned", "a node is uncordoned"):
            self.cordoned = what == "a node is cordoned"
        elif what == "the status is lost":
            self.of = self.of.model_copy(update={"status": model_deployment().status})
        elif what in REFUSALS:
            self.refuses = what

    def _edit(self, kind: str, chosen: str) -> None:
        """All requests to one version, and no pin."""
        known = self.routes[kind]
        spec = {**known.spec, "rules": [{"backendRefs": [{"name": chosen, "weight": 1}]}]}
        self.routes[kind] = replace(known, spec=spec, generation=known.generation + 1)
        self.by_hand.add(kind)
        self.edited = True

    def answer(self, name: str) -> None:
        """All pods of a version answer."""
        wanted = self.workloads[name].replicas
        self.workloads[name] = replace(self.workloads[name], ready_replicas=wanted, available_replicas=wanted)

    def rollout(self, **wanted: Any) -> None:
        """A user edits spec.rollout."""
        self.spec(rollout=self.of.spec.rollout.model_copy(update=wanted))

    def spec(self, **wanted: Any) -> None:
        """A user edits the spec."""
        self.of = self.of.model_copy(update={"spec": self.of.spec.model_copy(update=wanted)})
