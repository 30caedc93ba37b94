"""Which jobs are looked at first."""

from collections.abc import Callable
from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_operator.cluster.cache import Cache
from fovea_operator.cluster.progress import Reports
from fovea_operator.kinds.training_job import TrainingJobs
from fovea_operator.reconcile.shared.observed import JobObserved
from fovea_operator.reconcile.training.view import is_urgent
from support.decision_table import RETRYING, RUNNING, SEEN, SUCCEEDED
from support.observations import ended, job, observed, pod, running

TABLE: dict[str, tuple[Callable[[], JobObserved], bool]] = {
    "a new job": (lambda: observed(job()), True),
    "a new job that is being deleted": (
        lambda: observed(job(metadata={"deletionTimestamp": "2026-11-21T10:00:30Z"})),
        False,
    ),
    "a job that waits for something": (lambda: observed(job({"state": "QUEUED"})), False),
    "a job whose pod is there": (lambda: observed(job(), pod()), False),
    "a job whose program runs": (lambda: observed(job(), running()), False),
    "a job whose pod has ended": (lambda: observed(job(RUNNING), ended()), True),
    "a job whose pod has failed before anything was reported": (lambda: observed(job(), ended(code=1)), True),
    "a job that waits for its next attempt": (lambda: observed(job(RETRYING), ended(code=75)), False),
    "a job whose next attempt runs": (lambda: observed(job(SEEN), ended(code=75), running(1)), False),
    "a job whose next attempt has ended": (lambda: observed(job(SEEN), ended(1), ended(0, code=75)), True),
    "a job that is over": (lambda: observed(job(SUCCEEDED), ended()), False),
}


@pytest.mark.parametrize("sentence", TABLE)
def test_urgency(sentence: str) -> None:
    seen, expected = TABLE[sentence]
    assert is_urgent(seen().job, seen().pods) == expected


def test_a_job_is_urgent_by_what_is_known_of_it_and_of_its_own_pods() -> None:
    cache = Cache(labels.MODEL_DEPLOYMENT)
    jobs = TrainingJobs(cache, Reports(5, lambda *_: None))
    key = jobs.key("vision", "digits")
    assert not jobs.is_urgent(key)
    cache.jobs.put(job(metadata={"resourceVersion": "1"}).dump())
    assert jobs.is_urgent(key)
    owner = {"apiVersion": "fovea.dev/v1alpha1", "kind": "TrainingJob", "name": "digits", "controller": True}
    metadata: dict[str, Any] = {"namespace": "vision", "creationTimestamp": "2026-11-21T10:00:00Z"}
    for number, uid in ((2, "a namesake"), (3, "job-uid")):
        assert jobs.is_urgent(key)
        named = {"name": f"pod-{number}", "uid": f"pod-{number}", "resourceVersion": str(number)}
        cache.pods.put({"metadata": metadata | named | {"ownerReferences": [owner | {"uid": uid}]}})
    assert not jobs.is_urgent(key)
