"""Which pods may report, and what each works for: by the cache, whatever a pod says of itself."""

from fovea_api.contract import labels, names
from fovea_api.contract.report import ProgressAnswer

from fovea_operator.cluster import resources
from fovea_operator.cluster.cache import Cache, Entry
from fovea_operator.cluster.keys import Key
from fovea_operator.cluster.progress import Sender
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.training import stopping


def prediction_of(pod: Entry[PodRecord]) -> Key | None:
    """The prediction that a pod works for; None where it is no worker."""
    name = pod.labels.get(labels.BATCH_PREDICTION)
    is_of_job = pod.owner.group_kind == resources.BATCH_JOB.gvk.group_kind
    return Key(resources.BATCH_PREDICTION.gvk, pod.record.namespace, name) if name and is_of_job else None


def job_of(pod: Entry[PodRecord]) -> Key | None:
    """The training job that owns a pod; None where another object does."""
    owned = pod.owner.group_kind == resources.TRAINING_JOB.gvk.group_kind
    return Key(resources.TRAINING_JOB.gvk, pod.record.namespace, pod.owner.name) if owned else None


class Senders:
    """The pods of the cache, as those to whom the operator answers."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def leads_its_job(self, namespace: str, pod: str) -> bool:
        """Whether a pod reports the progress of its job; so does one that is not known yet."""
        entry = self._cache.pods.get(namespace, pod)
        return entry is None or entry.record.labels.get(labels.ROLE, names.ROLE_CHIEF) == names.ROLE_CHIEF

    def is_one_of_many(self, namespace: str, pod: str) -> bool:
        """Whether it is one of up to a thousand workers of a prediction."""
        entry = self._cache.pods.get(namespace, pod)
        return entry is not None and prediction_of(entry) is not None

    def answer(self, sender: Sender) -> ProgressAnswer | None:
        """What a pod that reports has to know; None where it may not report."""
        entry = self._known(sender)
        if entry is None:
            return None
        if self._is_worker(entry):
            return ProgressAnswer()
        return stopping.answer(entry.record) if job_of(entry) is not None else None

    def has_log(self, sender: Sender) -> bool:
        """Whether the log of a pod's program may be asked for with its ticket."""
        entry = self._known(sender)
        return entry is not None and job_of(entry) is not None

    def _known(self, sender: Sender) -> Entry[PodRecord] | None:
        """The very pod that a token is bound to, not a namesake."""
        entry = self._cache.pods.get(sender.namespace, sender.pod)
        return entry if entry is not None and entry.uid == sender.uid else None

    def _is_worker(self, pod: Entry[PodRecord]) -> bool:
        """Whether a pod is a worker of a prediction that is there, by the Job that owns it."""
        key = prediction_of(pod)
        entry = self._cache.predictions.get(key.namespace, key.name) if key is not None else None
        job = self._cache.batch_jobs.get(pod.record.namespace, pod.owner.name)
        return entry is not None and job is not None and job.uid == pod.owner.uid and job.owner.uid == entry.uid
