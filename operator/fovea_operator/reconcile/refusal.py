"""A pod that the API server refuses: whether it can ever be, and what to say of it.

Quota and policies may change, and so may what a MachineType or Fovea's settings bring into the pod. What the user's own
container brings stays as it is: if the API server finds that invalid, no waiting helps.
"""

import re
from dataclasses import dataclass

from fovea_operator.reconcile.view import View

_INVALID = re.compile(r'Pod "[^"]*" is invalid: (?P<causes>.*)', re.DOTALL)
"""Only the API server's own validation says so; a policy's refusal, which may come as 422 too, says "is forbidden"."""
_FIELD = re.compile(r"\b(?:spec|metadata)\.[^\s:,]+(?=: )")
_OF_CONTAINER = re.compile(r"spec\.(containers\[0\](?!\.resources)|volumes\[\d+\](?!.*sizeLimit)|imagePullSecrets)")


@dataclass(frozen=True)
class Refusal:
    """What is said; `final` when a pod of this spec can never be."""

    message: str
    final: bool = False


def of_pod(view: View, machine_type: str) -> Refusal:
    """What the API server's words mean for a job whose pod they are about."""
    said = view.observed.refused.rstrip(".")
    invalid = _INVALID.match(said)
    if invalid is None:
        return Refusal(
            f"The API server refuses the pod: {said}. It is tried again; free the quota or correct the policy, or cancel "
            "the job."
        )
    # A job that had a pod before has a valid container: then something else has changed.
    own = view.spec.trainer.container is not None and not view.begun
    if own and any(_OF_CONTAINER.match(field) for field in _FIELD.findall(invalid["causes"])):
        return Refusal(
            f"Failed: no pod can be made of spec.trainer.container. The API server says: {said}. Correct it and submit a "
            "new job.",
            final=True,
        )
    return Refusal(
        f"The API server refuses the pod: {said}. What is invalid may come from MachineType {machine_type} or from Fovea's "
        "own settings: ask the platform team to correct it, or cancel the job. It is tried again."
    )
