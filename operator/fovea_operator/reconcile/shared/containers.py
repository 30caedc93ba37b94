"""Why a container does not start, by the words of the kubelet and the runtime: whether it ever can, and what helps.

| said | of | answer |
|---|---|---|
| all of PULL but InvalidImageName | any | waits: an image may be pushed, a registry come back, a Secret be made |
| InvalidImageName | the user's container | final: the name stands in a spec that cannot change |
| CreateContainerConfigError: runAsNonRoot | the user's container | final: neither the image's user nor runAsUser can change |
| CreateContainerError: no command specified | the user's container | final: neither the image nor the command can change |
| CreateContainerConfigError and -Error else, RunContainerError, hooks | any | waits: a Secret, ConfigMap or key may be made, a runtime recover |
| StartError: exec, working directory, a mount of the wrong kind | the user's container | final: the program is not in the image, or cannot be run |
| StartError else | any | the attempt failed and is tried again: the node's runtime, devices or memory |

What is not the user's (an agent, a recipe's image, what others added) is never final: settings and policies change.
"""

import re
from dataclasses import dataclass

from fovea_api.contract import names
from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.reconcile.shared.observed import ContainerRecord

PULL = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "RegistryUnavailable",
        "ImageInspectError",
        "SignatureValidationFailed",
        "InvalidImageName",
    }
)
CONFIG = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
        "PreStartHookError",
        "PostStartHookError",
    }
)
_INVALID_NAME = "InvalidImageName"
_ROOT = re.compile(r"has runAsNonRoot and |breaks non-root policy")
_NO_COMMAND = re.compile(r"no command specified", re.IGNORECASE)
_NOT_RUNNABLE = re.compile(r'exec: "|executable file|chdir to cwd|mount a directory onto a file', re.IGNORECASE)
_OF_THE_NODE = re.compile(r"running ([a-z]+ )?hook|nvidia-container", re.IGNORECASE)
_OF_PLATFORM = "this is for the platform team: the image of Fovea's trainers"


@dataclass(frozen=True)
class Problem:
    """Reason and sentence; `final` when the container can never start."""

    reason: JobReason
    message: str
    final: bool = False


def of_waiting(name: str, record: ContainerRecord, *, users: bool) -> Problem | None:
    """Why a container waits, if it is for something that is wrong. `users`: the job has a container of the user's own."""
    if record.waiting_reason not in PULL | CONFIG:
        return None
    said = last_words(record.waiting_message or record.waiting_reason).rstrip(".")
    mine = users and name == names.TRAINER_CONTAINER
    if record.waiting_reason == _INVALID_NAME:
        message = f"The image of container {name} has an invalid name: {said}; {_correct(name, 'image', users=users)}."
        return Problem(JobReason.IMAGE_PULL_FAILED, message, final=mine)
    if record.waiting_reason in PULL:
        message = f"The image of container {name} cannot be pulled: {said}; {_who(name, users=users)}."
        return Problem(JobReason.IMAGE_PULL_FAILED, message)
    if mine and _ROOT.search(said):
        message = (
            f"Container {name} may not run as root: {said}; set spec.trainer.container.runAsUser to the number of a user "
            "other than 0 (for example 1000), or write such a number as USER into the image."
        )
        return Problem(JobReason.CONTAINER_CONFIG_ERROR, message, final=True)
    if mine and _NO_COMMAND.search(said):
        message = (
            f"The image of container {name} has no program of its own: {said}; set spec.trainer.container.command."
        )
        return Problem(JobReason.CONTAINER_CONFIG_ERROR, message, final=True)
    message = f"Container {name} cannot be made: {said}; {_who(name, users=users)}, or make what is missing."
    return Problem(JobReason.CONTAINER_CONFIG_ERROR, message)


def can_ever_start(said: str) -> bool:
    """Whether a program that the runtime could not start (StartError) may start in another pod."""
    return bool(_OF_THE_NODE.search(said)) or not _NOT_RUNNABLE.search(said)


def _who(name: str, *, users: bool) -> str:
    if name == names.TRAINER_CONTAINER and users:
        return "correct spec.trainer.container and submit a new job"
    return _correct(name, "", users=users)


def _correct(name: str, field: str, *, users: bool) -> str:
    if name == names.TRAINER_CONTAINER:
        if users:
            return f"correct spec.trainer.container.{field}"
        return _OF_PLATFORM
    if name == names.PREDICT_CONTAINER:
        return _OF_PLATFORM
    if name not in names.OWN_CONTAINERS:
        return f"Fovea did not add {name} to the pod: ask the platform team which policy or injector did"
    return "this is for the platform team: the image and settings of Fovea's agent"


_LINES = 3
_LIMIT = 500
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|.)")
"""Of a terminal: colours and cursor, titles and links, and the rest."""


def last_words(message: str) -> str:
    """The last lines that say something, in one line, shortened from the front."""
    lines = [plain for line in _ESCAPES.sub("", message).splitlines() if (plain := _plain(line))]
    said = " / ".join(lines[-_LINES:])
    return said if len(said) <= _LIMIT else f"…{said[-_LIMIT:]}"


def _plain(line: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in line).split())
