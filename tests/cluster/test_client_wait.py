"""Waiting for jobs against a real API server, also for those that are deleted; the test plays the operator."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from fovea.sdk import Client, ConflictError, InvalidError, NotFoundError, WaitTimeoutError
from fovea_api.contract import labels
from support.command_line import Run
from support.jobs import pod_name, training_job
from support.kube_apiserver import Cluster
from support.kubelet_player import Kubelet
from support.operator_process import OperatorProcess
from support.played_operator import set_status, set_status_soon

IMAGE = "registry.invalid/trainer:1"


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELLED", 3)])
def test_the_exit_code_of_wait_says_how_the_job_ended(run: Run, cluster: Cluster, state: str, code: int) -> None:
    cluster.create(training_job("digits"))
    progress = {"step": 45, "steps": 450, "epoch": 1, "epochs": 10, "metrics": {"loss": 0.5}}
    writing = set_status_soon(
        cluster, "digits", {"state": "RUNNING"}, {"progress": progress}, {"state": state, "message": "that was it"}
    )
    ran = run("jobs", "wait", "digits", "--timeout", "30s")
    writing.join()
    assert ran.code == code
    assert ran.out == f"Job digits {state}.\n"
    assert "digits: QUEUED" in ran.err
    assert "digits: RUNNING: epoch 1/10, step 45/450; loss 0.5\n" in ran.err


def test_wait_gives_up_after_the_timeout_with_a_code_of_its_own(run: Run, cluster: Cluster) -> None:
    cluster.create(training_job("digits"))
    ran = run("jobs", "wait", "digits", "--timeout", "1s")
    assert ran.code == 124
    assert "TIMEOUT: job digits is still QUEUED after" in ran.err


def test_wait_for_several_jobs_answers_with_the_first_that_did_not_succeed(run: Run, cluster: Cluster) -> None:
    for name, state in (("a", "SUCCEEDED"), ("b", "CANCELLED"), ("c", "FAILED")):
        cluster.create(training_job(name))
        set_status(cluster, name, state=state)
    assert run("jobs", "wait", "a", "b", "c", "--timeout", "20s").code == 3


def test_a_job_deleted_while_it_is_waited_for_is_an_error(
    client: Client, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.create(training_job("digits"))
    watch = client.jobs.kinds.watch

    def deleted_meanwhile(*arguments: Any) -> Iterator[Any]:
        monkeypatch.setattr(client.jobs.kinds, "watch", watch)
        cluster.delete("TrainingJob", "digits")
        return watch(*arguments)

    monkeypatch.setattr(client.jobs.kinds, "watch", deleted_meanwhile)
    with pytest.raises(NotFoundError, match="job digits was deleted while it was waited for"):
        client.jobs.wait("digits", timeout=30)


def test_a_job_submitted_anew_while_the_watch_was_broken_is_not_taken_for_the_first(
    client: Client, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.create(training_job("digits"))
    monkeypatch.setattr(client.jobs.kinds, "watch", lambda *arguments: iter(()))
    following = client.jobs.follow("digits", timeout=30)
    next(following)
    cluster.delete("TrainingJob", "digits")
    cluster.create(training_job("digits"))
    with pytest.raises(NotFoundError, match="the job of that name is another one"):
        next(following)


def test_the_sdk_follows_a_job_change_by_change(client: Client, cluster: Cluster) -> None:
    job = client.jobs.submit(training_job("digits"))
    writing = set_status_soon(cluster, "digits", {"state": "PREPARING"}, {"state": "RUNNING"}, {"state": "SUCCEEDED"})
    seen = [change.state for change in job.follow(timeout=30)]
    writing.join()
    assert list(dict.fromkeys(seen)) == ["QUEUED", "PREPARING", "RUNNING", "SUCCEEDED"]
    with pytest.raises(InvalidError, match="has ended already"):
        job.cancel()


def test_the_sdk_says_when_waiting_took_too_long(client: Client) -> None:
    job = client.jobs.submit(training_job("digits"))
    with pytest.raises(WaitTimeoutError, match="job digits is still QUEUED after 1 s"):
        job.wait(timeout=1)


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELLED", 3)])
@pytest.mark.parametrize("how", ["--stream-logs", "--wait"])
def test_a_job_that_is_deleted_at_its_end_is_still_seen_to_end(
    run: Run, cluster: Cluster, how: str, state: str, code: int
) -> None:
    def play_operator() -> None:
        """With a TTL of 0: status and deletion within a moment."""
        cluster.wait("the job", lambda: cluster.get("TrainingJob", "digits"))
        set_status(cluster, "digits", state=state, message="that was it")
        cluster.delete("TrainingJob", "digits")

    player = threading.Thread(target=play_operator, daemon=True)
    player.start()
    ran = run("jobs", "submit", "digits", "--image", IMAGE, how, "--timeout", "30s")
    player.join()
    assert ran.code == code, ran.err
    assert f"Job digits {state}." in ran.out


@pytest.mark.parametrize(
    ("reason", "state", "code"),
    [("Published", "SUCCEEDED", 0), ("OutOfMemory", "FAILED", 1), ("Cancelled", "CANCELLED", 3)],
)
def test_a_job_that_was_deleted_before_it_is_waited_for_is_known_by_the_events_of_its_uid(
    run: Run, cluster: Cluster, reason: str, state: str, code: int
) -> None:
    def event(uid: str, reason: str, stamp: str, **marks: str) -> None:
        about = {"kind": "TrainingJob", "name": "digits", "namespace": cluster.namespace, "uid": uid}
        metadata = {"name": f"digits.{uid}.{reason.lower()}", "labels": marks}
        event = {"metadata": metadata, "involvedObject": about, "reason": reason, "type": "Normal"}
        cluster.create({"apiVersion": "v1", "kind": "Event", **event, "lastTimestamp": stamp})

    event("u-1", "Retrying", "2026-01-01T10:00:00Z")
    event("u-1", reason, "2026-01-01T10:00:05Z", **{labels.ENDED_AS: state})
    event("u-2", "Published", "2026-01-01T11:00:00Z", **{labels.ENDED_AS: "SUCCEEDED"})
    ran = run("jobs", "wait", "digits@u-1")
    assert (ran.code, ran.out) == (code, f"Job digits@u-1 {state}.\n")
    for words in (("describe", "digits@u-1"), ("stream-logs", "digits@u-1")):
        ran = run("jobs", *words)
        assert ran.code == 1
        assert f"is deleted: it {state} at 2026-01-01T10:00:05Z ({reason})" in ran.err
        assert f"fovea jobs download digits@u-1 -n {cluster.namespace}" in ran.err
    ran = run("jobs", "wait", "digits")
    assert (ran.code, ran.out) == (1, "")
    assert (
        f"does not exist: see `fovea jobs list -n {cluster.namespace}`. A deleted job of that name SUCCEEDED" in ran.err
    )
    assert f"`fovea jobs wait digits@u-2 -n {cluster.namespace}`" in ran.err


def test_the_verbs_on_a_job_leave_one_alone_that_has_taken_its_name(client: Client, cluster: Cluster) -> None:
    first = client.jobs.submit(training_job("digits"))
    cluster.delete("TrainingJob", "digits")
    second = client.jobs.submit(training_job("digits"))
    for verb in (first.refresh, first.cancel, first.suspend, first.resume, first.delete, first.wait):
        with pytest.raises(NotFoundError, match="is not there any more"):
            verb()
    assert second.refresh().resource.spec.cancel is False
    # As if it took the name between the look and the change.
    with pytest.raises((ConflictError, InvalidError)):
        client.jobs.kinds.patch("digits", {"metadata": {"uid": first.uid}, "spec": {"cancel": True}})
    assert second.suspend().resource.spec.suspend is True
    second.delete()
    assert cluster.get("TrainingJob", "digits") is None


def test_the_operator_says_how_a_job_ended_in_a_way_that_outlives_it(
    run: Run, cluster: Cluster, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    made = cluster.create(training_job("digits", runPolicy={"backoffLimit": 0}))
    pod = pod_name("digits", 0)
    cluster.wait("the pod", lambda: cluster.get("Pod", pod))
    kubelet.running(pod)
    kubelet.ended(pod, 137, reason="OOMKilled")
    address = f"digits@{made['metadata']['uid']}"
    assert run("jobs", "wait", address, "--timeout", "60s").code == 1
    cluster.delete("TrainingJob", "digits")
    cluster.wait("the job to be gone", lambda: cluster.get("TrainingJob", "digits") is None)

    def known() -> bool:
        return run("jobs", "wait", address).out == f"Job {address} FAILED.\n"

    cluster.wait("the Event of its end", known)
