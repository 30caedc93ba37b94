"""What decisions make of pods on cordoned nodes: rows of a table, and a cluster that is played."""

from dataclasses import dataclass, field, replace
from typing import Any

from fovea_api.v1alpha1 import ModelDeployment
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.shared.observed import PodRecord, ServingObserved
from support.observations import SETTINGS, at, version
from support.rollout_table import STABLE_1, V1, held, stable, summary
from support.serving_observations import budget_of, model_deployment, server_pod, service_at, serving, workload, written

DEADLINE = 600
"""rollout.progressDeadlineSeconds by default."""
READY = {"n1": True}


def pods(name: str, answers: dict[str, bool], **fields: Any) -> list[PodRecord]:
    """One pod of a version on each node, ready or not; a node without a name: none takes the pod."""
    return [
        replace(server_pod(name, node=node, ready=ready), name=f"{name}-{node}", uid=f"{name}-{node}", **fields)
        for node, ready in answers.items()
    ]


def seen(
    answers: dict[str, bool],
    cordoned: set[str] | None,
    *,
    status: dict[str, Any] = STABLE_1,
    replicas: int = 1,
    budget: int = 1,
    **spec: Any,
) -> ServingObserved:
    """Version 1 is served by pods on these nodes."""
    return serving(
        model_deployment(status, **spec),
        version(1),
        workloads=[workload(V1, replicas=replicas, ready=sum(answers.values()))],
        pods=pods(V1, answers),
        service=service_at(V1),
        budget=budget_of(V1, budget),
        cordoned=None if cordoned is None else frozenset(cordoned),
    )


def moving(step: str, since: float = 0, node: str = "n1") -> dict[str, Any]:
    """A status by which version 1 leaves a cordoned node."""
    return held(stable(1) | {"evacuation": {"node": node, "step": step, "since": times.text(at(since))}})


STARTING, SECOND, LATE, ENDING = (moving(f"SecondPod{step}") for step in ("Starting", "Ready", "Late", "Ending"))


@dataclass(frozen=True)
class Row:
    """What is seen, and then: replicas and minAvailable that are written, the step with its start, what the Event is, and when time matters."""

    seen: ServingObserved
    scaled_to: int | None = None
    leaves: int | None = None
    step: str | None = None
    since: float | None = None
    event: str | None = None
    says: str = ""
    wakes: float | None = None
    now: float = 60


def check(row: Row) -> None:
    """Decide on what a row sees, and compare."""
    decision = decide_model_deployment(row.seen, at(row.now), SETTINGS)
    [place] = (decision.status or {})["places"]
    evacuation = place.get("evacuation", {})
    budgets = [child.manifest for child in decision.children if child.manifest["kind"] == "PodDisruptionBudget"]
    found = Row(
        row.seen,
        scaled_to=summary(decision)["scales"].get(V1),
        leaves=budgets[0]["spec"]["minAvailable"] if budgets else None,
        step=evacuation.get("step"),
        since=(times.parse(evacuation["since"]) or at(-1)).timestamp() - at(0).timestamp() if evacuation else None,
        event=next(
            (f"{e.type} {e.reason}" for e in decision.events if e.reason.startswith(("SecondPod", "Pods"))), None
        ),
        says=row.says if row.says in (decision.status or {})["message"] else (decision.status or {})["message"],
        wakes=summary(decision)["wakes"],
        now=row.now,
    )
    assert found == row
    assert (place["role"], place["step"], place["weight"]) == ("stable", "Serving", 100)
    ready, wanted = row.seen.workloads[0].ready_replicas, row.seen.model_deployment.spec.scaling.min_replicas
    assert (decision.status or {})["replicas"] == ready
    progressing = "UpToDate" if ready >= wanted else "Starting"
    assert {c["type"]: c["reason"] for c in (decision.status or {})["conditions"]}["Progressing"] == progressing


@dataclass
class Cluster:
    """One version, by default with one replica; Deployment controller, scheduler, disruption controller and `kubectl drain` are played."""

    of: ModelDeployment = field(default_factory=lambda: model_deployment(STABLE_1))
    nodes: dict[str, bool] = field(default_factory=lambda: {"n1": True, "n2": True})
    """Whether a node takes pods."""
    pods: dict[str, bool] = field(default_factory=lambda: {"n1": True})
    """By the node (empty: none takes it), whether the pod is ready; at most one pod on a node."""
    replicas: int = 1
    min_available: int = 1
    now: float = 0
    events: list[str] = field(default_factory=list)

    def reconcile(self) -> Decision:
        """Until nothing changes any more."""
        for _ in range(5):
            cordoned = {node for node, takes in self.nodes.items() if not takes}
            of = seen(self.pods, cordoned & self.pods.keys(), replicas=self.replicas, budget=self.min_available)
            decision = decide_model_deployment(replace(of, model_deployment=self.of), at(self.now), SETTINGS)
            self.of = written(self.of, decision)
            self.events += [event.reason for event in decision.events if event.reason.startswith(("SecondPod", "Pods"))]
            for child in decision.children:
                spec = child.manifest["spec"]
                self.min_available = spec.get("minAvailable", self.min_available)
                self.replicas = spec.get("replicas", self.replicas)
            self.schedule()
            if not decision.children:
                return decision
        raise AssertionError("decisions that never come to rest")

    def schedule(self) -> None:
        """As many pods as are wanted, the least useful ones deleted first, new ones where a node takes them."""
        while len(self.pods) > self.replicas:
            del self.pods[min(self.pods, key=lambda node: (node != "", self.pods[node]))]
        free = [node for node, takes in self.nodes.items() if takes and node not in self.pods]
        if "" in self.pods and free:
            del self.pods[""]
        if len(self.pods) < self.replicas:
            self.pods[free[0] if free else ""] = False

    def answer(self) -> None:
        """Pods on nodes become ready."""
        self.pods |= {node: True for node in self.pods if node}
        self.reconcile()

    def evict(self, node: str) -> bool:
        """One request of a drain; False: 429."""
        healthy = sum(self.pods.values())
        if self.pods[node] and healthy - 1 < self.min_available:
            return False
        del self.pods[node]
        self.schedule()
        self.reconcile()
        return True
