"""Pods that went after they had ended, and before a decision saw how: a drained node, a controller that cleans up."""

from dataclasses import replace

from fovea_operator.cluster.keys import Key
from fovea_operator.reconcile.shared.observed import PodRecord


class Departed:
    """By the key of their job, until the job's status says how that attempt ended."""

    def __init__(self) -> None:
        self._pods: dict[Key, dict[str, tuple[str, PodRecord]]] = {}

    def put(self, key: Key, owner: str, pod: PodRecord) -> None:
        """Remember a pod that had ended; `owner` is the uid of its job."""
        self._pods.setdefault(key, {})[pod.uid] = (owner, replace(pod, gone=True))

    def of(self, key: Key, owner: str) -> tuple[PodRecord, ...]:
        """Those of exactly this job, not of a namesake before it."""
        return tuple(pod for uid, pod in self._pods.get(key, {}).values() if uid == owner)

    def forget(self, key: Key) -> None:
        """Their job's status says how they ended."""
        self._pods.pop(key, None)
