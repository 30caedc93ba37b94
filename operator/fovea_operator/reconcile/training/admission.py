"""Between "the job may have pods" and its pods: what else has to be there, and what its pods get for it.

A scheduler for gangs wants an object of its own and a mark on each pod; a queue wants an object and says when its quota
is free. Each of them is one function of the view and of the pods that are planned. There is none yet: every job is
admitted at once, and its pods are made as they are planned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fovea_operator.reconcile.shared.decision import Child
from fovea_operator.reconcile.training.view import View

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Additions:
    """What every planned pod gets; what the pod has already stays."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the pod's spec, such as nodeSelector or schedulerName; mappings are merged."""


@dataclass(frozen=True)
class Wait:
    """Why there are no pods yet."""

    reason: str
    message: str


@dataclass(frozen=True)
class Preparation:
    """What comes before the pods."""

    children: tuple[Child, ...] = ()
    """Written before the pods, also while the job waits."""
    additions: Additions = field(default_factory=Additions)
    wait: Wait | None = None


def prepare(_view: View, _pods: Sequence[Manifest]) -> Preparation:
    """What the planned pods of a job need before they are made."""
    return Preparation()


def with_additions(pod: Manifest, more: Additions) -> dict[str, Any]:
    """The manifest of a pod with what admission adds to it."""
    metadata, spec = dict(pod["metadata"]), dict(pod["spec"])
    for name, added in (("labels", more.labels), ("annotations", more.annotations)):
        if added:
            metadata[name] = {**added, **(metadata.get(name) or {})}
    for name, value in more.spec.items():
        held = spec.get(name)
        if isinstance(value, Mapping):
            spec[name] = {**value, **(held or {})}
        elif held is None:
            spec[name] = value
    return {**pod, "metadata": metadata, "spec": spec}
