"""A cache that is told of objects, and the keys that are queued for them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fovea_api.contract import labels
from fovea_operator.cluster import resources
from fovea_operator.cluster.cache import Cache
from fovea_operator.cluster.intake import Intake, list_all
from fovea_operator.cluster.keys import Key
from fovea_operator.cluster.kind import Kinds
from fovea_operator.cluster.progress import Reports
from fovea_operator.kinds.model_deployment import ModelDeployments
from fovea_operator.kinds.training_job import TrainingJobs
from fovea_operator.reconcile.shared.decision import GroupVersionKind
from fovea_operator.settings import Settings
from support.kinds import TRAINING_JOB

JOB = resources.TRAINING_JOB.kind


class World:
    """A cache with its kinds and the keys that were queued."""

    def __init__(self, namespaces: tuple[str, ...] = ()) -> None:
        self.cache = Cache(labels.MODEL_DEPLOYMENT)
        self.queued: list[Key] = []
        self.jobs = TrainingJobs(self.cache, Reports(5, lambda *_: None))
        self.serving = ModelDeployments(self.cache)
        kinds = Kinds(self.jobs, self.serving)
        self.intake = Intake(self.cache, kinds, self.queued.append, namespaces)

    def seen(self, *objects: dict[str, Any]) -> set[Key]:
        """Keys queued for objects."""
        self.queued.clear()
        for raw in objects:
            self.intake.event(GroupVersionKind.of(raw), "MODIFIED", raw)
        return set(self.queued)

    def deleted(self, raw: dict[str, Any]) -> set[Key]:
        self.queued.clear()
        self.intake.event(GroupVersionKind.of(raw), "DELETED", raw)
        return set(self.queued)


def meta(name: str, version: int, uid: str = "", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": "team",
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
        "creationTimestamp": "2026-01-01T00:00:00Z",
        **more,
    }


def job(name: str = "digits", version: int = 1, uid: str = "", status: Any = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "fovea.dev/v1alpha1",
        "kind": JOB,
        "metadata": meta(name, version, uid),
        "spec": {"trainer": {"container": {"image": "a:1"}}, **spec},
        "status": status or {},
    }


OWNER = {"apiVersion": "fovea.dev/v1alpha1", "kind": JOB, "name": "digits", "uid": "uid-digits", "controller": True}


def pod(name: str = "digits-chief-0-0", version: int = 2, phase: str = "Pending", **more: Any) -> dict[str, Any]:
    metadata = meta(name, version, ownerReferences=[OWNER], labels={labels.JOB: "digits"})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, **more}, "spec": {}, "status": {"phase": phase}}


def model_version(name: str, model: str, version: int = 3) -> dict[str, Any]:
    return {
        "kind": "ModelVersion",
        "apiVersion": "fovea.dev/v1alpha1",
        "metadata": meta(name, version),
        "spec": {"model": model, "version": 1, "uri": "s3://b/p", "digest": "sha256:" + "0" * 64},
    }


def model_deployment(name: str, model: str, version: int = 4) -> dict[str, Any]:
    return {
        "kind": "ModelDeployment",
        "apiVersion": "fovea.dev/v1alpha1",
        "metadata": meta(name, version),
        "spec": {"model": model},
    }


DIGITS = Key(TRAINING_JOB, "team", "digits")


class Lists:
    """A client that answers lists."""

    def __init__(self, version: int, *objects: dict[str, Any]) -> None:
        self.version, self.objects = version, objects
        self.asked: list[tuple[str, str]] = []

    async def pages(
        self, resource: resources.Resource, namespace: str = "", label: str = ""
    ) -> AsyncIterator[tuple[list[dict[str, Any]], int]]:
        self.asked.append((resource.kind, label))
        yield [raw for raw in self.objects if raw["kind"] == resource.kind], self.version


def compare(world: World, client: Lists) -> set[Key]:
    world.queued.clear()
    asyncio.run(list_all(client, world.cache, world.intake, Settings()))  # type: ignore[arg-type]
    return set(world.queued)
