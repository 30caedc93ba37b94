"""Pods that were deleted before a decision saw how they ended: by a drain, by a controller that cleans up, or by force."""

from dataclasses import replace
from datetime import datetime

from fovea_operator.cluster.keys import Key
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.shared.pods import Place, place_of


class Departed:
    """These pods by the key of their job, until the job's status records how the attempt ended."""

    def __init__(self) -> None:
        self._pods: dict[Key, dict[str, tuple[str, PodRecord]]] = {}
        self._vanished: dict[Key, dict[tuple[str, Place], datetime]] = {}  # by owner and place

    def put(self, key: Key, owner: str, pod: PodRecord) -> None:
        """Remember an ended pod that is deleted; `owner` is the uid of its job."""
        self._pods.setdefault(key, {})[pod.uid] = (owner, replace(pod, gone=True))

    def of(self, key: Key, owner: str) -> tuple[PodRecord, ...]:
        """The pods of the job with this uid, not those of an earlier job of the same name."""
        return tuple(pod for uid, pod in self._pods.get(key, {}).values() if uid == owner)

    def vanish(self, key: Key, owner: str, pod: PodRecord, when: datetime) -> None:
        """Remember when a pod disappeared that had not ended; `owner` is the uid of its job."""
        if (place := place_of(pod)) is not None:
            self._vanished.setdefault(key, {})[owner, place] = when

    def vanished(self, key: Key, owner: str) -> datetime | None:
        """When the last such pod of the job with this uid disappeared; None: none did."""
        return max((when for (uid, _), when in self._vanished.get(key, {}).items() if uid == owner), default=None)

    def vanished_places(self, key: Key, owner: str) -> frozenset[Place]:
        """Members and attempts of such pods of the job with this uid."""
        return frozenset(place for uid, place in self._vanished.get(key, ()) if uid == owner)

    def forget(self, key: Key) -> None:
        """Forget the pods of a job: its status records how they ended."""
        self._pods.pop(key, None)
        self._vanished.pop(key, None)
