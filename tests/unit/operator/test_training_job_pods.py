"""TrainingJobs with a pod: its stages, success and registration."""

from dataclasses import replace
from typing import Any

import pytest
from fovea_api.contract import names
from fovea_api.contract.report import ProgressReport, Termination
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from support.decision_table import QUIET, RETRYING, RUNNING, Row
from support.observations import (
    already_complete,
    at,
    ended,
    fetched,
    job,
    observed,
    pod,
    preparing,
    published,
    running,
    version,
)
from support.serving_observations import model_deployment

CRASHING = ContainerRecord(
    waiting_reason="CrashLoopBackOff",
    last_exit_code=77,
    last_message=Termination("KeyRefused", "the store refused the key").to_json(),
)


def with_sync(record: PodRecord, sync: ContainerRecord) -> PodRecord:
    return replace(record, containers={**record.containers, names.SYNC_CONTAINER: sync})


def pulling(fetch: ContainerRecord, **fields: Any) -> PodRecord:
    """A pod whose program's image cannot be pulled."""
    trainer = ContainerRecord(waiting_reason="ImagePullBackOff", waiting_message="503 from the registry")
    containers = {names.FETCH_CONTAINER: fetch, names.TRAINER_CONTAINER: trainer}
    return pod(node="node-1", containers=containers, **fields)


def mounting(**fields: Any) -> PodRecord:
    """A pod on a node that has not started any of its containers."""
    waiting = ContainerRecord(waiting_reason="PodInitializing")
    containers = {names.FETCH_CONTAINER: waiting, names.TRAINER_CONTAINER: waiting}
    return pod(node="node-1", containers=containers, **({"scheduled": at(1800)} | fields))


WITH_VOLUMES = {
    "container": {
        "image": "a:1",
        "volumes": [{"name": "keys", "secret": {"secretName": "gone"}}, {"name": "scratch", "emptyDir": {}}],
    }
}

TABLE: dict[str, Row] = {
    # a live pod
    "a pod that was just created is not worth a status": Row(
        lambda: observed(job(), pod()), QUIET | {"wakes": 2}, now=1
    ),
    "a pod that waits for a node is QUEUED": Row(
        lambda: observed(job(), pod()),
        {
            "state": "QUEUED",
            "conditions": {"Admitted": "True Accepted", "Running": "False PodCreated"},
            "attempts": {"chief-0": 0},
        },
    ),
    "a pod that no node takes is QUEUED at once, with the scheduler's reason": Row(
        lambda: observed(job(), pod(unschedulable="0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")),
        {"state": "QUEUED", "conditions": {"Admitted": "True Accepted", "Running": "False Unschedulable"}},
        "No node takes the pod: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu. Free a node or add one",
        now=1,
    ),
    "a job whose pod no node takes is cancelled at maxWaitSeconds with the scheduler's reason": Row(
        lambda: observed(job(runPolicy={"maxWaitSeconds": 30}), pod(unschedulable="3 Insufficient cpu")),
        {
            "state": "CANCELLED",
            "deletes": ["digits-chief-0-0"],
            "conditions": {
                "Admitted": "True Accepted",
                "Running": "False MaxWaitSecondsExceeded",
                "Failed": "True MaxWaitSecondsExceeded",
            },
        },
        "Cancelled: the job waited longer than runPolicy.maxWaitSeconds (30). No node takes the pod: 3 Insufficient cpu.",
    ),
    "before maxWaitSeconds the job looks again at that time": Row(
        lambda: observed(job(runPolicy={"maxWaitSeconds": 90}), pod(unschedulable="3 Insufficient cpu")),
        {"state": "QUEUED", "wakes": 90},
    ),
    "a pod on a node that fetches is PREPARING": Row(
        lambda: observed(job(), preparing()),
        {"state": "PREPARING", "conditions": {"Admitted": "True Accepted", "Running": "False Fetching"}},
    ),
    "a long fetch does not count against maxWaitSeconds": Row(
        lambda: observed(job(runPolicy={"maxWaitSeconds": 30}), preparing()), {"state": "PREPARING"}, now=600
    ),
    "a pod that cannot begin on its node names the volumes and counts against maxWaitSeconds": Row(
        lambda: observed(job(trainer=WITH_VOLUMES, runPolicy={"maxWaitSeconds": 30}), mounting()),
        {
            "state": "PREPARING",
            "conditions": {"Admitted": "True Accepted", "Running": "False Fetching"},
            "wakes": 1830,
        },
        "check that the Secrets, ConfigMaps and PersistentVolumeClaims of its volumes (keys, scratch) exist: "
        "kubectl describe pod digits-chief-0-0",
        now=1829,
    ),
    "a pod that cannot begin on its node is cancelled at maxWaitSeconds": Row(
        lambda: observed(job(trainer=WITH_VOLUMES, runPolicy={"maxWaitSeconds": 30}), mounting()),
        {
            "state": "CANCELLED",
            "deletes": ["digits-chief-0-0"],
            "conditions": {
                "Admitted": "True Accepted",
                "Running": "False MaxWaitSecondsExceeded",
                "Failed": "True MaxWaitSecondsExceeded",
            },
        },
        "(keys, scratch)",
        now=1830,
    ),
    "a pod without volumes of its own says where to look": Row(
        lambda: observed(job(), mounting()),
        {"state": "PREPARING", "wakes": None},
        "pulls the agent's image; if this takes long, see: kubectl describe pod digits-chief-0-0",
    ),
    "a pod that cannot begin is not told in its first moment": Row(
        lambda: observed(job(runPolicy={"maxWaitSeconds": 30}), mounting(scheduled=at(1))), QUIET | {"wakes": 2}, now=1
    ),
    "an image that cannot be pulled is reported in the kubelet's words": Row(
        lambda: observed(
            job(trainer={"container": {"image": "a:1"}}),
            pod(
                node="node-1",
                containers={
                    names.TRAINER_CONTAINER: ContainerRecord(
                        waiting_reason="ImagePullBackOff", waiting_message='Back-off pulling image "a:1"'
                    )
                },
            ),
        ),
        {"state": "PREPARING", "conditions": {"Admitted": "True Accepted", "Running": "False ImagePullFailed"}},
        'The image of container trainer cannot be pulled: Back-off pulling image "a:1"; correct spec.trainer.container',
        now=1,
    ),
    "an image that cannot be pulled counts against maxWaitSeconds": Row(
        lambda: observed(
            job(runPolicy={"maxWaitSeconds": 30}),
            pod(node="node-1", containers={names.FETCH_CONTAINER: ContainerRecord(waiting_reason="ErrImagePull")}),
        ),
        {"state": "CANCELLED", "deletes": ["digits-chief-0-0"]},
    ),
    "an image counts from the end of the fetch, not from the time in the queue": Row(
        lambda: observed(job(runPolicy={"maxWaitSeconds": 30}), pulling(fetched(3600), scheduled=at(1800))),
        {
            "state": "PREPARING",
            "deletes": [],
            "conditions": {"Admitted": "True Accepted", "Running": "False ImagePullFailed"},
            "wakes": 3630,
        },
        now=3610,
    ),
    "an image that cannot be pulled for so long after the fetch cancels the job": Row(
        lambda: observed(job(runPolicy={"maxWaitSeconds": 30}), pulling(fetched(3600), scheduled=at(1800))),
        {"state": "CANCELLED", "deletes": ["digits-chief-0-0"]},
        now=3630,
    ),
    "the agent's own image counts from when the pod got its node": Row(
        lambda: observed(
            job(runPolicy={"maxWaitSeconds": 30}),
            pulling(ContainerRecord(waiting_reason="ErrImagePull"), scheduled=at(1800)),
        ),
        {"state": "PREPARING", "wakes": 1830},
        now=1810,
    ),
    "a container that cannot be made is reported with what is missing": Row(
        lambda: observed(
            job(trainer={"container": {"image": "a:1"}}),
            pod(
                node="node-1",
                containers={
                    names.TRAINER_CONTAINER: ContainerRecord(
                        waiting_reason="CreateContainerConfigError", waiting_message='secret "team-tokens" not found'
                    )
                },
            ),
        ),
        {"state": "PREPARING", "conditions": {"Admitted": "True Accepted", "Running": "False ContainerConfigError"}},
        'Container trainer cannot be made: secret "team-tokens" not found; correct spec.trainer.container',
    ),
    "a program that runs is RUNNING at once": Row(
        lambda: observed(job(), running(started=1)),
        {
            "state": "RUNNING",
            "conditions": {"Admitted": "True Accepted", "Running": "True Started"},
            "attempts": {"chief-0": 0},
        },
        "The program runs in pod digits-chief-0-0; follow it with: fovea jobs stream-logs digits",
        now=1,
    ),
    "a sidecar that cannot stay up is reported while the program runs": Row(
        lambda: observed(job(RUNNING), with_sync(running(), CRASHING)),
        {"state": "RUNNING", "conditions": {"Admitted": "True Accepted", "Running": "True Started"}},
        "Nothing can be published at the moment: the store refused the key",
    ),
    "a sidecar that cannot start is reported": Row(
        lambda: observed(job(), with_sync(preparing(), CRASHING)),
        {"state": "PREPARING", "conditions": {"Admitted": "True Accepted", "Running": "False AgentFailed"}},
        "Fovea's agent cannot start: the store refused the key.",
    ),
    "a sidecar that was down when the program ended fails the attempt with its reason, and it is retried": Row(
        lambda: observed(job(RUNNING), ended(sync=CRASHING)),
        {
            "state": "QUEUED",
            "retries": 1,
            "conditions": {"Admitted": "True Accepted", "Running": "False Retrying"},
            "wakes": 80,
        },
        "Attempt 0 failed: the store refused the key.",
        now=71,
    ),
    "a sidecar that was down whenever the program ended fails the job with its reason": Row(
        lambda: observed(job(RUNNING | {"retries": 3}), ended(sync=CRASHING)),
        {
            "state": "FAILED",
            "conditions": {
                "Running": "False BackoffLimitExceeded",
                "Admitted": "True Accepted",
                "Failed": "True BackoffLimitExceeded",
            },
        },
        "the store refused the key.",
    ),
    "publishing is reported when it lasts": Row(
        lambda: observed(job(RUNNING), ended(phase="Running", sync=ContainerRecord(running_since=at(9)))),
        {"state": "RUNNING", "conditions": {"Admitted": "True Accepted", "Running": "True Publishing"}},
        now=75,
    ),
    "publishing without a store says since when it is away": Row(
        lambda: observed(
            job(RUNNING),
            ended(phase="Running", sync=ContainerRecord(running_since=at(9))),
            progress=ProgressReport(store_unreachable_since="2026-11-21T10:00:00Z"),
        ),
        {"state": "RUNNING", "conditions": {"Admitted": "True Accepted", "Running": "True StoreUnreachable"}},
        "what it wrote is being published. The object store has not answered since 2026-11-21T10:00:00Z",
        now=71,
    ),
    "publishing is not told in its first moment": Row(
        lambda: observed(job(RUNNING), ended(phase="Running", sync=ContainerRecord(running_since=at(9)))),
        QUIET | {"wakes": 72},
        now=71,
    ),
    "a pod that is being evicted saves its checkpoint first": Row(
        lambda: observed(job(RUNNING), running(deleting=True, deletion_deadline=at(600), disrupted="preempted by vip")),
        {
            "state": "RUNNING",
            "creates": [],
            "deletes": [],
            "conditions": {"Admitted": "True Accepted", "Running": "True Stopping"},
            "wakes": 630,
        },
        "Pod digits-chief-0-0 is being deleted (preempted by vip): its program saves a checkpoint",
    ),
    # success
    "success is believed with the output's digest": Row(
        lambda: observed(job(RUNNING), ended()),
        {
            "state": "SUCCEEDED",
            "creates": [],
            "deletes": [],
            "conditions": {"Admitted": "True Accepted", "Running": "False Published", "Complete": "True Published"},
        },
        "Succeeded: the output is published.",
    ),
    "finished output of an earlier attempt is success": Row(
        lambda: observed(job(RETRYING), already_complete()),
        {
            "state": "SUCCEEDED",
            "creates": [],
            "conditions": {
                "Admitted": "True Accepted",
                "Running": "False AlreadyComplete",
                "Complete": "True AlreadyComplete",
            },
            "attempts": {"chief-0": 1},
        },
    ),
    "the number of a deleted version that a status names is not given again": Row(
        lambda: observed(job(RUNNING, model={"name": "digits"}), ended(), versions=[version(1)], highest_taken=4),
        {"state": "SUCCEEDED", "creates": ["digits-v5"]},
    ),
    "a newer version than any that a status names counts": Row(
        lambda: observed(job(RUNNING, model={"name": "digits"}), ended(), versions=[version(5)], highest_taken=4),
        {"state": "SUCCEEDED", "creates": ["digits-v6"]},
    ),
    "success registers the next version of the model": Row(
        lambda: observed(job(RUNNING, model={"name": "digits"}), ended(), versions=[version(1), version(4)]),
        {"state": "SUCCEEDED", "creates": ["digits-v5"]},
        "Succeeded: model version digits-v5 is registered. Serve it with a ModelDeployment of model digits.",
    ),
    "the first version of a model has number 1": Row(
        lambda: observed(job(RUNNING, model={"name": "digits"}), ended()),
        {"state": "SUCCEEDED", "creates": ["digits-v1"]},
    ),
    "a version that this job registered before a crash is reused": Row(
        lambda: observed(
            job(RUNNING, model={"name": "digits"}), ended(), versions=[version(1, job_uid="job-uid"), version(2)]
        ),
        {"state": "SUCCEEDED", "creates": []},
        "Succeeded: model version digits-v1 is registered.",
    ),
    "deploy makes a ModelDeployment for the model": Row(
        lambda: observed(job(RUNNING, model={"name": "digits", "deploy": True}), ended()),
        {"state": "SUCCEEDED", "creates": ["digits-v1", "digits"]},
        "If it takes pictures, ask it with: fovea predict --model digits IMAGE",
    ),
    "deploy leaves a ModelDeployment that exists alone": Row(
        lambda: observed(
            job(RUNNING, model={"name": "digits", "deploy": True}), ended(), model_deployments=[model_deployment()]
        ),
        {"state": "SUCCEEDED", "creates": ["digits-v1"]},
        "If it takes pictures, ask it with: fovea predict --model digits IMAGE",
    ),
    "a ModelDeployment of that name that serves another model is named": Row(
        lambda: observed(
            job(RUNNING, model={"name": "digits", "deploy": True}),
            ended(),
            model_deployments=[model_deployment(model="faces")],
        ),
        {"state": "SUCCEEDED", "creates": ["digits-v1"]},
        "model version digits-v1 is registered. It is not served: ModelDeployment digits already serves model "
        "faces. Serve it with a ModelDeployment of model digits under another name.",
    ),
    "a model that is to be registered and was not written fails the job": Row(
        lambda: observed(job(RUNNING, model={"name": "digits"}), ended(sync=published(model=None))),
        {
            "state": "FAILED",
            "creates": [],
            "conditions": {"Admitted": "True Accepted", "Running": "False ModelMissing", "Failed": "True ModelMissing"},
        },
        "left no SavedModel in $FOVEA_MODEL_DIR",
    ),
    "a job whose registration is refused has not ended": Row(
        lambda: observed(
            job(RUNNING, model={"name": "digits"}), ended(), refused="exceeded quota: count/modelversions"
        ),
        {
            "state": "RUNNING",
            "conditions": {"Admitted": "True Accepted", "Running": "False RegistrationRefused"},
            "wakes": None,
        },
        "refuses to register its model: exceeded quota: count/modelversions. Fovea tries again; free the quota or correct the "
        "policy, or cancel the job: what it published stays.",
    ),
    "a job whose registration is refused can be cancelled, and what it published is reported": Row(
        lambda: observed(job(RUNNING, model={"name": "digits"}, cancel=True), ended(), refused="exceeded quota"),
        {
            "state": "CANCELLED",
            "creates": [],
            "conditions": {"Admitted": "True Accepted", "Running": "False Cancelled", "Failed": "True Cancelled"},
        },
        "its output is published, but its model is not registered, since the API server refuses that: exceeded quota.",
    ),
    "success under policy All deletes the pod": Row(
        lambda: observed(job(RUNNING, runPolicy={"cleanPodPolicy": "All"}), ended()),
        {"state": "SUCCEEDED", "deletes": ["digits-chief-0-0"]},
    ),
    "a cancel that comes after success is too late": Row(
        lambda: observed(job(RUNNING, cancel=True), ended()), {"state": "SUCCEEDED"}
    ),
    "a program that answers a cancel with 0 has not succeeded": Row(
        lambda: observed(job(RUNNING | {"state": "CANCELLING"}, cancel=True), ended()), {"state": "CANCELLED"}
    ),
}


@pytest.mark.parametrize("sentence", TABLE)
def test_decision(sentence: str) -> None:
    TABLE[sentence].check()
