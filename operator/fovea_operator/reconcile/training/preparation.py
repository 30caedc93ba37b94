"""What a job's pods need before they are made: the answer of a queue, and of a scheduler of gangs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fovea_operator.reconcile.shared.decision import Child

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Additions:
    """What planned pods get; what a pod has already stays."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the pod's spec, such as nodeSelector or schedulerName. Mappings are merged, lists are joined."""


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
    additions: Mapping[str, tuple[Additions, ...]] = field(default_factory=dict)
    """By role."""
    wait: Wait | None = None


def with_additions(pod: Manifest, more: Additions) -> dict[str, Any]:
    """The manifest of a pod with what is added to it."""
    metadata, spec = dict(pod["metadata"]), dict(pod["spec"])
    for name, added in (("labels", more.labels), ("annotations", more.annotations)):
        if added:
            metadata[name] = {**added, **(metadata.get(name) or {})}
    for name, value in more.spec.items():
        held = spec.get(name)
        if isinstance(value, Mapping):
            spec[name] = {**value, **(held or {})}
        elif isinstance(value, list | tuple):
            spec[name] = [*(held or ()), *(one for one in value if one not in (held or ()))]
        elif held is None:
            spec[name] = value
    return {**pod, "metadata": metadata, "spec": spec}
