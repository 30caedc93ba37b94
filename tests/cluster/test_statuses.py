"""Statuses on a real API server: what the operator patches, beside an operator that applies them (ADR 148)."""

import asyncio
from typing import Any

import pytest
from fovea_api.contract.labels import FIELD_MANAGER
from fovea_api.v1alpha1 import API_VERSION
from fovea_operator import errors
from fovea_operator.cluster import credentials, merge_patch, records
from fovea_operator.cluster.client import ApiClient
from fovea_operator.cluster.keys import Ref
from support.jobs import training_job
from support.kinds import TRAINING_JOB
from support.kube_apiserver import Cluster

QUEUED = {
    "state": "QUEUED",
    "message": "It waits.",
    "nextAttemptTime": "2026-01-01T00:00:00Z",
    "roles": {"chief": {"pending": 1, "active": 0, "succeeded": 0, "failed": 0}},
}
RUNNING = {"state": "RUNNING", "roles": {"chief": {"pending": 0, "active": 1, "succeeded": 0, "failed": 0}}}


def patched(cluster: Cluster, known: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    """The job after the operator has written a status, on what it knows of the job."""

    async def write() -> dict[str, Any]:
        client = ApiClient(lambda: credentials.from_kubeconfig([cluster.server.kubeconfig]))
        try:
            job = Ref(TRAINING_JOB, cluster.namespace, "digits")
            patch = merge_patch.between(known.get("status") or {}, status)
            return await client.merge_status(job, records.version(known), patch)
        finally:
            await client.close()

    return asyncio.run(write())


def applied(cluster: Cluster, status: dict[str, Any]) -> dict[str, Any]:
    """The job after server-side apply of a status."""
    path = f"{cluster.path('TrainingJob', 'digits')}/status?fieldManager={FIELD_MANAGER}&force=true"
    body = {"apiVersion": API_VERSION, "kind": "TrainingJob", "metadata": {"name": "digits"}, "status": status}
    return cluster.api.request("PATCH", path, body, "application/apply-patch+yaml")


def test_a_status_that_is_patched_and_one_that_is_applied_leave_nothing_of_each_other(cluster: Cluster) -> None:
    cluster.create(training_job("digits"))
    job = applied(cluster, QUEUED)
    assert job["status"] == QUEUED
    job = patched(cluster, job, RUNNING)
    assert job["status"] == RUNNING
    job = patched(cluster, job, QUEUED)
    assert job["status"] == QUEUED
    assert applied(cluster, RUNNING)["status"] == RUNNING


def test_no_field_of_a_status_has_an_owner_of_its_own(cluster: Cluster) -> None:
    job = patched(cluster, cluster.create(training_job("digits")), QUEUED)
    owned = [entry for entry in job["metadata"]["managedFields"] if entry.get("subresource") == "status"]
    assert [entry["fieldsV1"] for entry in owned] == [{"f:status": {}}]


def test_a_status_is_not_written_over_a_newer_object_nor_over_a_namesake(cluster: Cluster) -> None:
    created = cluster.create(training_job("digits"))
    patched(cluster, created, QUEUED)
    with pytest.raises(errors.Conflict, match="the object has been modified"):
        patched(cluster, created, RUNNING)
    found = cluster.get("TrainingJob", "digits")
    assert found is not None
    assert found["status"] == QUEUED
    cluster.delete("TrainingJob", "digits")
    cluster.create(training_job("digits"))
    with pytest.raises(errors.Conflict):
        patched(cluster, found, RUNNING)
