"""Pods of the members of a distributed job."""

from dataclasses import replace

from fovea_api.contract import labels, names
from fovea_operator.desired.members import Member
from fovea_operator.reconcile.shared.observed import PodRecord


def of(member: Member, pod: PodRecord) -> PodRecord:
    """The same pod as another member's."""
    attempt = int(pod.labels[labels.ATTEMPT])
    name = names.training_pod("digits", member.role, member.index, attempt)
    marks = labels.of_training_pod("digits", member.role, member.index, attempt)
    return replace(pod, name=name, uid=f"{name}-uid", labels=marks)
