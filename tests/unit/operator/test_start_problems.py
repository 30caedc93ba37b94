"""Containers that do not start: what can never start fails the job at once, everything else waits or is tried again."""

from dataclasses import replace
from typing import Any

import pytest
from fovea_api.contract import names
from fovea_operator.reconcile.shared.observed import ContainerRecord
from support.decision_table import RUNNING, decide, summary
from support.observations import after, at, ended, fetched, job, observed, pod

OWN = {"container": {"image": "Team/Trainer:latest"}}
AS_ROOT = (
    'container has runAsNonRoot and image will run as root (pod: "digits-chief-0-0_vision(u)", container: trainer)'
)
AS_A_NAME = "container has runAsNonRoot and image has non-numeric user (jovyan), cannot verify user is non-root"
MALFORMED = 'Failed to apply default image tag "Team/Trainer:latest": repository name must be lowercase'
RUNC = "failed to create containerd task: OCI runtime create failed: runc create failed: unable to start container process: "

WAITING: list[tuple[str, str, bool, str]] = [
    # reason, message, whether a container of the user's own can never start, what is said
    ("ErrImagePull", "not found", False, "cannot be pulled: not found; correct spec.trainer.container"),
    ("ImagePullBackOff", "Back-off pulling image", False, "cannot be pulled: Back-off pulling image"),
    ("ErrImageNeverPull", "not present with pull policy of Never", False, "cannot be pulled"),
    ("RegistryUnavailable", "", False, "cannot be pulled: RegistryUnavailable"),
    ("ImageInspectError", "failed to inspect", False, "cannot be pulled"),
    ("SignatureValidationFailed", "", False, "cannot be pulled"),
    ("InvalidImageName", MALFORMED, True, "has an invalid name: Failed to apply default image tag"),
    ("CreateContainerConfigError", 'secret "tokens" not found', False, 'cannot be made: secret "tokens" not found'),
    ("CreateContainerConfigError", "couldn't find key a in ConfigMap vision/b", False, "or make what is missing"),
    ("CreateContainerConfigError", 'secret "non-root-runAsNonRoot" not found', False, "or make what is missing"),
    ("CreateContainerConfigError", "container's runAsUser breaks non-root policy", True, "runAsUser"),
    ("CreateContainerConfigError", AS_ROOT, True, "set spec.trainer.container.runAsUser"),
    ("CreateContainerConfigError", AS_A_NAME, True, "set spec.trainer.container.runAsUser"),
    ("CreateContainerError", "context deadline exceeded", False, "cannot be made: context deadline exceeded"),
    ("CreateContainerError", "failed to generate spec: no command specified", True, "spec.trainer.container.command"),
    ("RunContainerError", "failed to start", False, "cannot be made: failed to start"),
    ("PostStartHookError", "", False, "cannot be made"),
]


def waiting(container: str, reason: str, message: str) -> Any:
    containers = {names.FETCH_CONTAINER: fetched(), container: ContainerRecord(reason, message)}
    return pod(node="node-1", containers=containers)


@pytest.mark.parametrize(("reason", "message", "final", "said"), WAITING)
def test_a_container_of_the_users_own_fails_the_job_only_if_it_can_never_start(
    reason: str, message: str, final: bool, said: str
) -> None:
    decision = decide(observed(job(trainer=OWN), waiting(names.TRAINER_CONTAINER, reason, message)))
    found = summary(decision)
    assert found["state"] == ("FAILED" if final else "PREPARING")
    assert found["deletes"] == (["digits-chief-0-0"] if final else [])
    assert decision.status is not None
    assert said in decision.status["message"]
    if final:
        assert decision.status["message"].endswith("Then submit a new job.")


@pytest.mark.parametrize(("reason", "message", "final", "said"), WAITING)
@pytest.mark.parametrize(
    "container", [names.TRAINER_CONTAINER, names.FETCH_CONTAINER, names.SYNC_CONTAINER, "istio-init"]
)
def test_what_is_not_the_users_waits_and_says_who_can_help(
    container: str, reason: str, message: str, final: bool, said: str
) -> None:
    decision = decide(observed(job(), waiting(container, reason, message)))
    assert summary(decision)["state"] == "PREPARING"
    assert decision.status is not None
    assert "platform team" in decision.status["message"]
    assert ("Fovea did not add istio-init to the pod" in decision.status["message"]) == (container == "istio-init")


def test_a_job_whose_pod_is_being_ended_is_not_failed_by_its_image() -> None:
    ending = observed(
        job(RUNNING, trainer=OWN, suspend=True), waiting(names.TRAINER_CONTAINER, "InvalidImageName", MALFORMED)
    )
    of = after(ending.job, decide(ending))
    assert of.status.state == "FAILED", "asked before anything is deleted, it can never start"


@pytest.mark.parametrize(
    ("said", "final"),
    [
        (RUNC + 'exec: "trian": executable file not found in $PATH: unknown', True),
        (RUNC + 'error during container init: exec: "/app/run.sh": permission denied', True),
        (RUNC + 'exec: "/app/run.sh": stat /app/run.sh: no such file or directory', True),
        (RUNC + 'exec: "/app/webhook-nvidia.sh": no such file or directory', True),
        (RUNC + 'chdir to cwd ("/work") set in config.json failed: no such file or directory', True),
        (RUNC + "Are you trying to mount a directory onto a file (or vice-versa)?", True),
        (RUNC + "error running prestart hook #0: nvidia-container-cli: initialization error: driver not loaded", False),
        (RUNC + 'error running hook: exec: "nvidia-container-runtime-hook": executable file not found in $PATH', False),
        (RUNC + "error mounting /var/lib/kubelet/pods/x to rootfs at /data: no such file or directory", False),
        ("failed to create containerd task: no space left on device", False),
        ("container init was OOM-killed (memory limit too low?)", False),
        ("", False),
    ],
)
def test_a_program_that_the_runtime_cannot_start_fails_the_job_only_if_the_program_is_why(
    said: str, final: bool
) -> None:
    found = summary(decide(observed(job(RUNNING, trainer=OWN), ended(code=128, reason="StartError", said=said))))
    assert found["state"] == ("FAILED" if final else "QUEUED")


def test_a_program_that_did_not_start_since_its_pod_was_evicted_is_tried_again() -> None:
    said = RUNC + 'exec: "python": executable file not found in $PATH'
    ways: list[dict[str, Any]] = [
        {"reason": "Evicted"},
        {"deleting": True, "deletion_deadline": at(90)},
        {"disrupted": "preempted"},
    ]
    for how in ways:
        evicted = replace(ended(code=128, reason="StartError", said=said), **how)
        found = summary(decide(observed(job(RUNNING), evicted)))
        assert (found["state"], found["retries"] or found["disruptions"]) == ("QUEUED", 1)
