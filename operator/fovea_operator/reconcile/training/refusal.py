"""What is refused of a job: a spec that can never work, by Fovea; a pod, by the API server. And what removes the cause.

Quota and policies may change, and so may what a MachineType or Fovea's settings bring into the pod. What the user's own
container brings stays as it is: if the API server finds that invalid, no waiting helps.
"""

import re
from collections.abc import Mapping

from fovea_api import catalogue
from fovea_api.contract import names
from fovea_api.v1alpha1 import JobState, MachineType
from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.reconcile.shared import platform
from fovea_operator.reconcile.training.answer import ACCEPTED, Admitted, Answer, Ends, GoesOn, Waiting
from fovea_operator.reconcile.training.view import View

_RELEASE = re.compile(r"v?(?P<release>[0-9]+\.[0-9]+\.[0-9]+)(-[a-z].*)?")
_INVALID = re.compile(r'Pod "[^"]*" is invalid: (?P<causes>.*)', re.DOTALL)
"""Only the API server's own validation says so; a policy's refusal, which may come as 422 too, says "is forbidden"."""
_FIELD = re.compile(r"\b(?:spec|metadata)\.[^\s:,]+(?=: )")
_OF_CONTAINER = re.compile(r"spec\.(containers\[0\](?!\.resources)|volumes\[\d+\](?!.*sizeLimit)|imagePullSecrets)")
_TOO_LARGE = re.compile(r"request is too large|entity too large", re.IGNORECASE)
_OF_POD = re.compile(r"spec\.affinity|metadata\.(labels|annotations)")
"""What spec.pod brings; the MachineType may bring the same."""


def of_spec(view: View) -> Answer | None:
    """The end of a job whose spec can never work."""
    if view.begun:
        return None  # what once was accepted is not taken back by an upgrade of the catalogue or a shorter list
    message = platform.not_allowed(view.spec.pod, view.settings)
    if message:
        message = f"Failed: {message} Then submit a new job."
    elif (problems := _argument_problems(view)) and _arguments_bind(view):
        message = "; ".join(problems)
    return _invalid(message) if message else None


def admitted(view: View) -> Admitted:
    """The condition Admitted of a job that has pods."""
    problems = _argument_problems(view)
    if not problems:
        return ACCEPTED
    message = (
        f"The flag catalogue and the trainer image have different versions, so this is only a warning: {'; '.join(problems)}. "
        "The program decides."
    )
    return Admitted(True, JobReason.ARGUMENTS_UNCHECKED, message)


def _argument_problems(view: View) -> list[str]:
    """What is wrong with the recipe's name and arguments, one sentence each; nothing for a container."""
    recipe = view.spec.trainer.recipe
    return catalogue.check(recipe, view.spec.args or {}) if recipe else []


def _arguments_bind(view: View) -> bool:
    """Whether the catalogue speaks for the trainer image: not when the image's tag is another release.

    Any other tag (a digest, a build's hash) says nothing; then the image is taken to be of this operator's build.
    """
    machine, settings = view.machine_type(view.chief.member.role), view.settings
    image = (settings.trainer_gpu_image if machine and machine.spec.gpus else "") or settings.trainer_image
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    match = _RELEASE.fullmatch(tag)
    return match is None or match["release"] == catalogue.load().version


def of_pods(view: View, machine_types: Mapping[str, MachineType]) -> Answer:
    """What a job answers whose pods the API server refuses: it ends when no pod of its spec can ever be, or waits."""
    said = view.observed.refused.rstrip(".")
    machine_type = machine_types[_refused_role(view, said)]
    name = machine_type.metadata.name
    if own := _final(view, machine_type, said):
        return _invalid(own)
    again = f"The API server refuses the pod: {said}. Fovea tries again."
    if cause := platform.cause_of_refusal(said, name):
        message = f"{again} {cause}"
    elif _INVALID.match(said) is None:
        message = f"{again} Free the quota or correct the policy, or cancel the job."
    else:
        message = (
            f"The API server refuses the pod: {said}. What is invalid may come from MachineType {name} or from Fovea's own "
            "settings: ask the platform team to correct it, or cancel the job. Fovea tries again."
        )
    waiting = Waiting(message, view.queued_since)
    return GoesOn(JobState.QUEUED, JobReason.POD_REFUSED, message, ACCEPTED, waiting=waiting)


def _refused_role(view: View, said: str) -> str:
    """The role of the pod that the API server's words name; the chief's where they name none."""
    job = view.job.metadata.name
    for each in view.pods.missing:
        member = each.member
        if names.training_pod(job, member.role, member.index, each.attempt) in said:
            return member.role
    return view.chief.member.role


def _final(view: View, machine_type: MachineType, said: str) -> str:
    """Why the API server takes no pod of this spec, ever; empty while it may."""
    if view.begun:
        return ""  # A job that had a pod before has a valid container: then something else has changed.
    container = view.spec.trainer.container
    if container is not None and _TOO_LARGE.search(said):
        return (
            f"Failed: the pod is too large for the API server ({said}). Shorten env and args of spec.trainer.container, for "
            "example by putting them into a file of the input or a ConfigMap, and submit a new job."
        )
    invalid = _INVALID.match(said)
    fields = _FIELD.findall(invalid["causes"]) if invalid else ()
    for own, pattern in (
        ("spec.trainer.container" if container else "", _OF_CONTAINER),
        ("spec.pod" if _brings_alone(view, machine_type) else "", _OF_POD),
    ):
        if own and any(pattern.match(field) for field in fields):
            return f"Failed: no pod can be made of {own}. The API server says: {said}. Correct it and submit a new job."
    return ""


def _brings_alone(view: View, machine_type: MachineType) -> bool:
    """Whether labels, annotations and affinity of the pod are the job's own, and not the machine type's as well."""
    spec = machine_type.spec
    return view.spec.pod is not None and not (spec.affinity or spec.pod_labels or spec.pod_annotations)


def _invalid(message: str) -> Ends:
    return Ends(JobState.FAILED, JobReason.INVALID_SPEC, message, invalid=True)
