"""ModelDeployments: the Deployments, pods and Services of their versions, and the cordoned nodes of their pods."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import ModelDeployment
from fovea_api.v1alpha1.conditions import ServingCondition
from fovea_api.v1alpha1.model_deployment_status import PlaceRole

from fovea_operator.cluster import resources
from fovea_operator.cluster.cache import BY_LABEL, BY_MODEL, BY_NODE, BY_OWNER, Cache, Change, Entry, Store
from fovea_operator.cluster.keys import Key, Ref
from fovea_operator.cluster.kind import Kind
from fovea_operator.cluster.left_out import LeftOut, Named
from fovea_operator.cluster.records import Owner
from fovea_operator.cluster.traffic import TrafficReader
from fovea_operator.cluster.waiting import Waiting
from fovea_operator.desired.comparator import compares
from fovea_operator.reconcile.serving import canary
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.shared.decision import DEPLOYMENT, SERVICE, Decision, GroupVersionKind
from fovea_operator.reconcile.shared.observed import BudgetRecord, PodRecord, ServingObserved
from fovea_operator.reconcile.shared.traffic import Load, Traffic
from fovea_operator.settings import Settings

T = TypeVar("T")
Decide = Callable[[ServingObserved, datetime, Settings], Decision]


class ModelDeployments(Kind[ModelDeployment]):
    """Everything that is known of them is in the cache."""

    resource = resources.MODEL_DEPLOYMENT
    trouble = ServingCondition.PROGRESSING.value

    def __init__(
        self,
        cache: Cache,
        traffic: TrafficReader | None = None,
        decide: Decide = decide_model_deployment,
        waiting: Waiting | None = None,
        left_out: LeftOut | None = None,
    ) -> None:
        """`waiting`: requests at the activator. `left_out`: optional objects that were refused."""
        super().__init__(cache.model_deployments)
        self._cache = cache
        self._traffic = traffic
        self._decide = decide
        self._waiting = waiting
        self._left_out = left_out

    def decide(self, key: Key, now: datetime, settings: Settings, refused: str) -> Decision:
        """The decision on a ModelDeployment; an empty one if it does not exist."""
        observed = self.observe(key, refused)
        return self._decide(observed, now, settings) if observed is not None else Decision()

    def observe(self, key: Key, refused: str) -> ServingObserved | None:
        """The observed state of a ModelDeployment; None if it does not exist."""
        cache, entry = self._cache, self.store.get(key.namespace, key.name)
        if entry is None:
            if self._traffic is not None:
                self._traffic.forget(key)
            return None
        owned = (key.namespace, key.gvk.group_kind, key.name)
        children: tuple[Store[Any], ...] = (cache.workloads, cache.services, cache.budgets, *cache.routes)
        pods = tuple(item.record for item in cache.pods.group(BY_LABEL, (key.namespace, key.name)))
        budgets: tuple[BudgetRecord, ...] = _of_owner(cache.budgets.group(BY_OWNER, owned), entry.uid)
        return ServingObserved(
            model_deployment=entry.record,
            versions=cache.models.versions(key.namespace, entry.record.spec.model),
            workloads=_of_owner(cache.workloads.group(BY_OWNER, owned), entry.uid),
            pods=pods,
            cordoned=_cordoned(cache, pods),
            services=_of_owner(cache.services.group(BY_OWNER, owned), entry.uid),
            budget=next((each for each in budgets if each.name == key.name), None),
            candidate_budgets=tuple(each for each in budgets if each.name != key.name),
            routes=tuple(
                route for store in cache.routes for route in _of_owner(store.group(BY_OWNER, owned), entry.uid)
            ),
            traffic=self._requests(key, entry.record),
            load=self._load(key, entry.record),
            held=self._waiting.of(key, _seconds()) if self._waiting is not None else None,
            activator_answers=self._waiting.answers(_seconds()) if self._waiting is not None else None,
            serves_routes=all(store.resource.gvk in cache.served for store in cache.routes),
            predecessors=tuple(
                sorted(
                    {
                        item.record.name
                        for store in children
                        for item in store.group(BY_OWNER, owned)
                        if item.owner.uid != entry.uid
                    }
                )
            ),
            machine_types=cache.machine_types.by_name,
            unreadable_machine_types={name: item.message for (_, name), item in cache.machine_types.unreadable.items()},
            left_out=self._refusals(key),
            refused=refused,
        )

    def _refusals(self, key: Key) -> Mapping[str, str]:
        kinds, name = (DEPLOYMENT.kind, SERVICE.kind), names.comparator(key.name)
        left_out = self._left_out
        said = {} if left_out is None else {kind: left_out.said(Named(kind, key.namespace, name)) for kind in kinds}
        return {kind: words for kind, words in said.items() if words}

    def is_judged(self, key: Key) -> bool:
        """Whether a candidate gets requests, by which it may have to go back within seconds."""
        entry = self.store.get(key.namespace, key.name)
        candidate = entry.record.status.candidate if entry is not None else None
        return candidate is not None and candidate.shift is not None

    def _requests(self, key: Key, of: ModelDeployment) -> Traffic | None:
        """What is counted of the versions between which a candidate's requests are, or will be, divided. Of others nothing is read."""
        stable, candidate = of.status.stable, of.status.candidate
        if self._traffic is None:
            return None
        # From its start: once it has all requests, the other version has none to compare with.
        if stable is None or candidate is None or not (candidate.shift or canary.is_judged(of.spec.rollout)):
            self._traffic.forget(key)
            return None
        wanted = labels.comparator_selector(key.name) | {labels.COMPARES: compares(stable, candidate)}
        comparators = [
            item.record.ip
            for item in self._cache.pods.group(BY_LABEL, (key.namespace, key.name))
            # Those of our Deployment, by its ReplicaSet: another pod with these labels has nothing to say.
            if item.owner.name.startswith(f"{names.comparator(key.name)}-")
            if item.record.ready and item.record.ip and item.record.labels.items() >= wanted.items()
        ]
        deployments = (stable.deployment, candidate.deployment)
        since = candidate.shift.since if candidate.shift is not None else None
        return self._traffic.look(key, deployments, since, comparators, has_step=candidate.shift is not None)

    def _load(self, key: Key, of: ModelDeployment) -> Load | None:
        """Requests under way, where they decide on the number of pods, and while there is a pod that could have one."""
        if self._traffic is None:
            return None
        scaling, status = of.spec.scaling, of.status
        stable = status.stable
        workload = None if stable is None else self._cache.workloads.get(key.namespace, stable.deployment)
        if not scaling.follows or stable is None or workload is None or workload.record.replicas == 0:
            self._traffic.forget_load(key)
            return None
        placed = {place.deployment for place in status.places or () if place.role != PlaceRole.FAILED}
        return self._traffic.load(key, placed, scaling.stabilization)

    def unconfirmed(self, key: Key) -> Iterator[tuple[Ref, Mapping[str, str]]]:
        """The clients' Service and Deployments of versions that the status names, and that are not in the cache.

        They may exist: a watch reports an object as gone when it loses its label, and never reports one that was made before
        that label was introduced.
        """
        entry = self.store.get(key.namespace, key.name)
        if entry is None or entry.record.metadata.deletion_timestamp is not None:
            return
        model, status = entry.record.spec.model, entry.record.status
        kept = [place for place in status.places or () if place.role != PlaceRole.FAILED]
        # Without places, a release that knew none wrote the status: the Service alone says what is served.
        before_places = status.places is None and status.observed_generation is not None
        if (kept or before_places) and self._cache.services.get(key.namespace, key.name) is None:
            yield Ref(resources.SERVICE.gvk, key.namespace, key.name), {labels.MANAGED: labels.MANAGED_VALUE}
        versions = [(place.version, place.revision) for place in kept]
        service = self._cache.services.get(key.namespace, key.name)
        if before_places and service is not None:
            served = labels.version_of(service.record.selector)
            versions = [served] if served is not None else []
        for version, revision in versions:
            name = names.version_deployment(key.name, version, revision)
            if self._cache.workloads.get(key.namespace, name) is None:
                marks = labels.of_model_server(key.name, model, version, revision)
                yield Ref(resources.DEPLOYMENT.gvk, key.namespace, name), marks

    def concerned(self, gvk: GroupVersionKind, change: Change[Any]) -> Iterator[Key]:
        """Its own changes, those of its children, of its model's versions and of its pods' nodes, and those of any machine type."""
        namespace = change.name[0]
        match gvk:
            case self.resource.gvk:
                yield self.key(*change.name)
            case resources.MODEL_VERSION.gvk:
                for entry in (change.before, change.after):
                    model = entry.record.spec.model if entry is not None else None
                    for deployment in self._cache.model_deployments.group(BY_MODEL, (namespace, model)):
                        yield self.key(namespace, deployment.record.metadata.name)
            case resources.MACHINE_TYPE.gvk:
                for name in self.store.names():
                    yield self.key(*name)
            case resources.NODE.gvk:
                for pod in self._cache.pods.group(BY_NODE, change.name[1]):
                    yield self.key(pod.record.namespace, pod.labels[labels.MODEL_DEPLOYMENT])
            case _:
                for entry in (change.before, change.after):
                    if entry is not None and (owner := self._owner(entry.owner, entry.labels)):
                        yield self.key(namespace, owner)

    def _owner(self, owner: Owner, held: Any) -> str:
        """Pods are owned by ReplicaSets: a label names their ModelDeployment."""
        if owner.group_kind == self.resource.gvk.group_kind:
            return owner.name
        return (
            "" if owner.group_kind == resources.TRAINING_JOB.gvk.group_kind else held.get(labels.MODEL_DEPLOYMENT, "")
        )


def _seconds() -> float:
    return asyncio.get_running_loop().time()


def _of_owner(entries: Iterable[Entry[T]], uid: str) -> tuple[T, ...]:
    """The records whose owner has this uid, without those of a deleted ModelDeployment of the same name."""
    return tuple(entry.record for entry in entries if entry.owner.uid == uid)


def _cordoned(cache: Cache, pods: Iterable[PodRecord]) -> frozenset[str] | None:
    if resources.NODE.gvk not in cache.served:
        return None
    return frozenset(pod.node for pod in pods if cache.nodes.get("", pod.node) is not None)
