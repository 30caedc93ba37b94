"""A pod that the API server refuses: whether it can ever be created, what the cause is, and what removes the cause.

Quota and policies may change, and so may what a MachineType or Fovea's settings bring into the pod. What the user's own
container brings stays as it is: if the API server finds that invalid, no waiting helps.
"""

import re
from dataclasses import dataclass

from fovea_operator.reconcile.shared import platform
from fovea_operator.reconcile.training.view import View

_INVALID = re.compile(r'Pod "[^"]*" is invalid: (?P<causes>.*)', re.DOTALL)
"""Only the API server's own validation says so; a policy's refusal, which may come as 422 too, says "is forbidden"."""
_FIELD = re.compile(r"\b(?:spec|metadata)\.[^\s:,]+(?=: )")
_OF_CONTAINER = re.compile(r"spec\.(containers\[0\](?!\.resources)|volumes\[\d+\](?!.*sizeLimit)|imagePullSecrets)")
_TOO_LARGE = re.compile(r"request is too large|entity too large", re.IGNORECASE)
_OF_POD = re.compile(r"spec\.affinity|metadata\.(labels|annotations)")
"""What spec.pod brings; the MachineType may bring the same."""


@dataclass(frozen=True)
class Refusal:
    """The message; `final` when a pod of this spec can never be."""

    message: str
    final: bool = False


def of_pod(view: View, machine_type: str) -> Refusal:
    """What the API server's words mean for a job whose pod they are about."""
    said = view.observed.refused.rstrip(".")
    invalid = _INVALID.match(said)
    if view.spec.trainer.container is not None and not view.begun and _TOO_LARGE.search(said):
        return Refusal(
            f"Failed: the pod is too large for the API server ({said}). Shorten env and args of spec.trainer.container, for "
            "example by putting them into a file of the input or a ConfigMap, and submit a new job.",
            final=True,
        )
    cause = platform.cause_of_refusal(said, machine_type)
    if invalid is None:
        remedy = cause or "Free the quota or correct the policy, or cancel the job."
        return Refusal(f"The API server refuses the pod: {said}. Fovea tries again. {remedy}")
    # A job that had a pod before has a valid container: then something else has changed.
    fields = () if view.begun else _FIELD.findall(invalid["causes"])
    for own, pattern in (
        ("spec.trainer.container" if view.spec.trainer.container else "", _OF_CONTAINER),
        ("spec.pod" if _brings_alone(view, machine_type) else "", _OF_POD),
    ):
        if own and any(pattern.match(field) for field in fields):
            return Refusal(
                f"Failed: no pod can be made of {own}. The API server says: {said}. Correct it and submit a new job.",
                final=True,
            )
    if cause:
        return Refusal(f"The API server refuses the pod: {said}. Fovea tries again. {cause}")
    return Refusal(
        f"The API server refuses the pod: {said}. What is invalid may come from MachineType {machine_type} or from Fovea's "
        "own settings: ask the platform team to correct it, or cancel the job. Fovea tries again."
    )


def _brings_alone(view: View, machine_type: str) -> bool:
    """Whether labels, annotations and affinity of the pod are the job's own, and not the machine type's as well."""
    found = view.observed.machine_types.get(machine_type)
    spec = found.spec if found else None
    shared = spec is None or spec.affinity or spec.pod_labels or spec.pod_annotations
    return view.spec.pod is not None and not shared
