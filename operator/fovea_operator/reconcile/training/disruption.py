"""Whether a training pod was ended from outside, and by what: then its exit codes say nothing about the program."""

from datetime import timedelta

from fovea_api.contract import names
from fovea_api.contract.report import Termination

from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.from_outside import BY_NODE, EVICTED, FORGOTTEN
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.shared.pods import at_deadline, ended, refused_by_node, refused_words, trainer_ended

_HOOK = timedelta(seconds=5)
"""Within that after SIGTERM the sidecar's preStop hook has run. The operator deletes a pod later than that after its program's end."""


def disturbed(pod: PodRecord) -> bool:
    """Whether the pod was ended from outside: then its exit codes say nothing about the program."""
    return (
        pod.deleting
        or bool(pod.disrupted)
        or pod.reason in BY_NODE
        or refused_by_node(pod)
        or _forgotten(pod) is not None
    )


def _forgotten(pod: PodRecord) -> str | None:
    """A container of ours of which its node does not know how it ended: the node or its container runtime has restarted."""
    ours = (names.TRAINER_CONTAINER, names.FETCH_CONTAINER, names.SYNC_CONTAINER)
    records = ((name, pod.container(name)) for name in ours)
    return next((name for name, record in records if record.terminated_reason in FORGOTTEN), None)


def is_to_blame(pod: PodRecord) -> bool:
    """Whether a pod was evicted for what it used itself: beyond its own limit of local storage, a kubelet evicts it and no
    disruption is reported. The next attempt would go the same way.
    """
    return pod.reason == EVICTED and not pod.disrupted and not pod.deleting


def told_before(pod: PodRecord, said: Termination | None) -> bool:
    """Whether the pod began to end before its program had ended, as its sidecar reports.

    A node that shuts down or evicts softly says so only when all containers have ended. Both times are the node's. Of a pod
    that has ended by itself the time says nothing: its sidecar is ended as well.
    """
    if at_deadline(pod):
        return True
    began, finished = times.parse(said.end_began) if said else None, trainer_ended(pod)
    if began is None or finished is None or (ended(pod) and not disturbed(pod)):
        return False
    return began < finished + _HOOK


def disturbance(pod: PodRecord) -> str:
    """What ended it: a sentence without its full stop."""
    if not (pod.disrupted or pod.deleting or pod.reason in BY_NODE):
        if refused_by_node(pod):
            return refused_words(pod)
        if name := _forgotten(pod):
            return (
                f"node {pod.node or '(none)'} does not know how container {name} of pod {pod.name} ended, as after a "
                "restart of the node"
            )
    why = pod.disrupted or pod.message or ("it was deleted" if pod.deleting else pod.reason)
    return f"pod {pod.name} was ended from outside: {why}"
