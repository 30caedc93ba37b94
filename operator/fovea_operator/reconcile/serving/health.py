"""Why a version's pods do not answer, as the agent, the scheduler, the kubelet and the Deployment report it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from fovea_api.contract import exit_codes, names
from fovea_api.contract.report import Termination
from fovea_api.v1alpha1.conditions import ServingReason
from fovea_api.v1alpha1.model_deployment_status import Place

from fovea_operator.reconcile.serving.view import ServingView
from fovea_operator.reconcile.shared import containers, platform, times
from fovea_operator.reconcile.shared.containers import CONFIG, PULL
from fovea_operator.reconcile.shared.from_outside import FORGOTTEN
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from fovea_operator.reconcile.shared.pods import ended, refused_by_node, refused_words

_FETCH_REASONS = {
    exit_codes.DATA_CORRUPT: ServingReason.MODEL_CORRUPT,
    exit_codes.INPUT_MISSING: ServingReason.MODEL_MISSING,
    exit_codes.KEY_REFUSED: ServingReason.KEY_REFUSED,
    exit_codes.RESTART: ServingReason.STORE_UNREACHABLE,
}

FINAL = frozenset({ServingReason.MODEL_CORRUPT, ServingReason.MODEL_MISSING})
"""Reasons for which a version can never be served as it is."""


@dataclass(frozen=True)
class Problem:
    """Reason and sentence; `final`: the version can never be served as it is."""

    reason: ServingReason
    message: str
    final: bool = False


def problem(view: ServingView, place: Place) -> Problem | None:
    """The gravest problem of a version, or None while nothing is known to be wrong."""
    found = of_pods(view.pods(place), _of_pod)
    workload = view.workloads.get(place.deployment)
    if workload is not None and workload.replica_failure:
        said = workload.replica_failure
        cause = platform.cause_of_refusal(said, view.machine_type.metadata.name if view.machine_type else "(none)")
        found.append(Problem(ServingReason.POD_REFUSED, f"pods are refused: {said}" + (f". {cause}" if cause else "")))
    return min(found, key=lambda problem: not problem.final, default=None)


def of_pods(pods: Iterable[PodRecord], of: Callable[[PodRecord], Iterator[Problem]]) -> list[Problem]:
    """What is wrong with the pods of a Deployment now; `of`: with one that has not ended."""
    known = sorted(pods, key=lambda pod: pod.created)
    found = [problem for pod in known if not ended(pod) for problem in of(pod)]
    # A ReplicaSet keeps pods that were evicted or refused, and makes others: only the newest one shows what is wrong now.
    if known and ended(known[-1]):
        found.append(_of_ended(known[-1]))
    return found


def of_pod(pod: PodRecord, container: str, what: str) -> Iterator[Problem]:
    """Why a container that serves does not answer; `what`: the words for it."""
    yield from _of_start(pod, container)
    if not pod.ready and (crashed := _of_server(pod, container, what)):
        yield crashed
    if pod.unschedulable and not pod.node:
        yield Problem(ServingReason.UNSCHEDULABLE, f"no node takes pod {pod.name}: {pod.unschedulable.rstrip('.')}")


def server_ended(view: ServingView, place: Place) -> Problem | None:
    """A model server of the version that has ended by itself since the version is where it is."""
    since = times.parse(place.since)
    for pod in sorted(view.pods(place), key=lambda pod: pod.created):
        ends = _ends(pod.container(names.MODEL_SERVER_CONTAINER))
        # A pod that was evicted ends as a whole: that says nothing about the version.
        is_taken_away = ended(pod) or bool(pod.disrupted)
        if since is not None and not is_taken_away and any(end.time is not None and end.time > since for end in ends):
            return _of_server(pod, names.MODEL_SERVER_CONTAINER, "model server")
    return None


@dataclass(frozen=True)
class _End:
    """How a run of a container ended."""

    code: int
    reason: str
    said: str
    time: datetime | None


def _ends(record: ContainerRecord) -> list[_End]:
    """Of the runs that are seen, the newest first. One that ended with its node says nothing: the code is not the program's."""
    runs = (
        (record.exit_code, record.terminated_reason, record.termination_message, record.finished),
        (record.last_exit_code, record.last_reason, record.last_message, record.last_finished),
    )
    return [
        _End(code, reason, said, time)
        for code, reason, said, time in runs
        if code is not None and reason not in FORGOTTEN
    ]


def _of_pod(pod: PodRecord) -> Iterator[Problem]:
    if not pod.ready:
        yield from _of_fetch(pod.container(names.FETCH_MODEL_CONTAINER))
    yield from _of_start(pod, names.FETCH_MODEL_CONTAINER)
    yield from of_pod(pod, names.MODEL_SERVER_CONTAINER, "model server")


def _of_start(pod: PodRecord, name: str) -> Iterator[Problem]:
    record = pod.container(name)
    said = (record.waiting_message or record.waiting_reason).rstrip(".")
    if record.waiting_reason in PULL:
        yield Problem(ServingReason.IMAGE_PULL_FAILED, f"the image of {name} cannot be pulled: {said}")
    if record.waiting_reason in CONFIG:
        yield Problem(ServingReason.SERVER_FAILED, f"container {name} cannot be made: {said}")


def _of_ended(pod: PodRecord) -> Problem:
    if refused_by_node(pod):
        return Problem(ServingReason.UNSCHEDULABLE, refused_words(pod).rstrip("."))
    said = ": ".join(word for word in (pod.reason, pod.message) if word) or "it does not say why"
    return Problem(ServingReason.SERVER_FAILED, f"pod {pod.name} was ended from outside: {said.rstrip('.')}")


def _of_fetch(fetch: ContainerRecord) -> Iterator[Problem]:
    """It is started again and again, so its last run counts too, until one has ended well or, as a sidecar, the pod is ready."""
    ends = _ends(fetch)
    code = ends[0].code if ends else exit_codes.OK
    if code == exit_codes.OK:
        return
    said = next((said for end in ends if (said := Termination.from_json(end.said))), None)
    message = said.message if said else f"container {names.FETCH_MODEL_CONTAINER} ended with {code}"
    reason = _FETCH_REASONS.get(code, ServingReason.SERVER_FAILED)
    yield Problem(reason, message.rstrip("."), final=reason in FINAL)


def _of_server(pod: PodRecord, container: str, what: str) -> Problem | None:
    """How the newest run of a server ended; `what`: the words for it."""
    ends = _ends(pod.container(container))
    if not ends:
        return None
    code, reason = ends[0].code, ends[0].reason
    said = containers.last_words(next((end.said for end in ends if end.said), ""))
    message = f"the {what} of pod {pod.name} ended with {code}{f' ({reason})' if reason else ''}"
    return Problem(ServingReason.SERVER_FAILED, f"{message}: {said}" if said else message)
