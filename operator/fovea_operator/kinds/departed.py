"""Pods that were deleted before a decision saw how they ended: by a drain, by a controller that cleans up, or by force."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from fovea_api.contract import labels

from fovea_operator.cluster.keys import Key
from fovea_operator.reconcile.batch import outcome
from fovea_operator.reconcile.batch.view import worker_of
from fovea_operator.reconcile.shared.observed import EarlierPods, PodRecord
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


@dataclass
class _Worker:
    """Pods of one worker of one Job."""

    pods: dict[str, PodRecord] = field(default_factory=dict)
    failures: int = 0
    disruptions: int = 0

    def add(self, pod: PodRecord) -> None:
        """Of those that failed and were followed, the newest one stays and the newest one that was ended from outside."""
        self.pods[pod.uid] = pod
        for disruption in (False, True):
            older = sorted(self._followed(disruption=disruption), key=lambda each: (each.created, each.name))[:-1]
            for each in older:
                del self.pods[each.uid]
            self.disruptions += len(older) if disruption else 0
            self.failures += 0 if disruption else len(older)

    def _followed(self, *, disruption: bool) -> Iterator[PodRecord]:
        for pod in self.pods.values():
            found = outcome.of(pod)
            # All others end the prediction, or the work of this number: none follows them.
            if isinstance(found, outcome.Failure) and found.retryable and found.disruption == disruption:
                yield pod


class DepartedWorkers:
    """These pods of predictions. A worker of a thousand may be preempted many times a day, for days, and each decision reads them all."""

    def __init__(self) -> None:
        self._workers: dict[Key, dict[tuple[str, str, int], _Worker]] = {}  # by uids of prediction and Job, and number

    def put(self, key: Key, owner: str, pod: PodRecord) -> None:
        """Remember an ended pod that is deleted; `owner` is the uid of its prediction."""
        place = owner, job_of(pod), worker_of(pod)
        self._workers.setdefault(key, {}).setdefault(place, _Worker()).add(replace(pod, gone=True))

    def of(self, key: Key, owner: str) -> Iterator[PodRecord]:
        """The pods of the prediction with this uid that are still known."""
        for (uid, _, _), worker in self._workers.get(key, {}).items():
            yield from worker.pods.values() if uid == owner else ()

    def earlier(self, key: Key, owner: str) -> dict[tuple[str, int], EarlierPods]:
        """The others, by the uid of their Job and their worker's number."""
        return {
            (job, number): EarlierPods(worker.failures, worker.disruptions)
            for (uid, job, number), worker in self._workers.get(key, {}).items()
            if uid == owner and (worker.failures or worker.disruptions)
        }

    def forget(self, key: Key) -> None:
        """Forget the pods of a prediction: its status records how it ended."""
        self._workers.pop(key, None)


def job_of(pod: PodRecord) -> str:
    """The uid of the Job of a worker."""
    return pod.labels.get(labels.CONTROLLER_UID, "")
