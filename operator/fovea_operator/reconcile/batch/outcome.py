"""How a worker of a BatchPrediction ended: by its containers' exit codes and its agents' termination messages.

Success is believed only with the digest of the published output. It may come from any worker: the one that found all shards answered.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from fovea_api.contract import exit_codes, names, storage
from fovea_api.contract.report import REASON_PUBLISHED, Published, Termination
from fovea_api.v1alpha1.conditions import PredictionReason

from fovea_operator.reconcile.shared import containers
from fovea_operator.reconcile.shared.from_outside import BY_NODE, EVICTED, FORGOTTEN
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from fovea_operator.reconcile.shared.pods import ended, refused_by_node, refused_words

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_WORD = re.compile(r"[A-Z][A-Za-z0-9]{0,99}")
"""A reason: it becomes a condition's."""
_SPOILT = ("StartError", "ContainerCannotRun")
"""The container runtime could not start the program: its code (127 or 128) is the runtime's own."""
_OURS = (names.FETCH_MODEL_CONTAINER, names.BATCH_CONTAINER, names.PREDICT_CONTAINER)


@dataclass(frozen=True)
class Success:
    """The output of the whole prediction is published; `termination` says where, and of how many records."""

    output: Published
    termination: Termination


@dataclass(frozen=True)
class Done:
    """The worker has answered all that was its own."""


@dataclass(frozen=True)
class Failure:
    """The worker failed."""

    reason: str
    message: str
    retryable: bool
    exit_code: int | None = None
    disruption: bool = False
    """Whether it was ended from outside, by nothing of its own: that is no retry."""


Outcome = Success | Done | Failure


@lru_cache(maxsize=4096)
def said_in(message: str) -> Termination | None:
    """A termination message, read; None where it is not one of ours. Of a thousand workers each is read at every decision."""
    return Termination.from_json(message) if message else None


def of(pod: PodRecord) -> Outcome | None:
    """How the worker ended; None while it has not."""
    batch = pod.container(names.BATCH_CONTAINER)
    if found := _success(batch):
        return found
    if not ended(pod):
        return _of_live(pod, batch)
    if pod.phase == "Succeeded":
        return Done()
    if _disturbed(pod):
        return Failure(PredictionReason.DISRUPTED, _disturbance(pod), retryable=True, disruption=not _is_to_blame(pod))
    fetch, program = pod.container(names.FETCH_MODEL_CONTAINER), pod.container(names.PREDICT_CONTAINER)
    if fetch.exit_code not in (None, exit_codes.OK):
        return _of_agent(pod, names.FETCH_MODEL_CONTAINER, fetch)
    said = said_in(batch.termination_message)
    # The program ends with the code of the agent that cannot go on, which alone knows why.
    if said and batch.exit_code not in (None, exit_codes.OK) and program.exit_code in (None, batch.exit_code):
        return _of_agent(pod, names.BATCH_CONTAINER, batch)
    if program.exit_code is None:
        why = pod.message or pod.reason or "it does not say why"
        return Failure(PredictionReason.POD_LOST, f"pod {pod.name} ended before its program did: {why}", retryable=True)
    return _of_program(program, program.exit_code)


def never(pod: PodRecord) -> containers.Problem | None:
    """What keeps the first of the worker's containers from starting, by the kubelet's word; None: nothing does."""
    found = (containers.of_waiting(name, record, users=False) for name, record in pod.containers.items())
    return next((problem for problem in found if problem), None)


def _success(batch: ContainerRecord) -> Success | None:
    for message in (batch.termination_message, batch.last_message):
        said = said_in(message)
        if (
            said is not None
            and said.reason == REASON_PUBLISHED
            and said.output is not None
            and _believable(said.output)
        ):
            return Success(said.output, said)
    return None


def _believable(published: Published) -> bool:
    """Whether it is named in a way that can be recorded: an address and a digest of content."""
    return (
        isinstance(published.uri, str)
        and published.uri.startswith(f"{storage.SCHEME}://")
        and isinstance(published.digest, str)
        and _DIGEST.fullmatch(published.digest) is not None
        and _is_count(published.size)
        and _is_count(published.files)
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _of_live(pod: PodRecord, batch: ContainerRecord) -> Failure | None:
    """The sidecar ended for good and left no word for the program: the kubelet starts it again and again, and the pod never ends."""
    if pod.deleting or batch.running_since is not None:
        return None
    code = batch.exit_code if batch.exit_code is not None else batch.last_exit_code
    said = said_in(batch.termination_message or batch.last_message)
    if code is None or said is None or exit_codes.outcome(code) is not exit_codes.Outcome.PERMANENT:
        return None
    reason = said.reason if _WORD.fullmatch(said.reason) else PredictionReason.AGENT_FAILED
    return Failure(reason, said.message, code == exit_codes.FENCED, code)


def _of_agent(pod: PodRecord, name: str, record: ContainerRecord) -> Failure:
    code = record.exit_code if record.exit_code is not None else exit_codes.INTERNAL
    if record.terminated_reason == "OOMKilled":
        return Failure(
            PredictionReason.OUT_OF_MEMORY,
            f"container {name} of pod {pod.name} ran out of memory",
            retryable=True,
            exit_code=code,
        )
    said = said_in(record.termination_message)
    reason = said.reason if said and _WORD.fullmatch(said.reason) else PredictionReason.AGENT_FAILED
    message = said.message if said and said.message else f"container {name} of pod {pod.name} ended with {code}"
    retryable = exit_codes.outcome(code) is not exit_codes.Outcome.PERMANENT or code == exit_codes.FENCED
    return Failure(reason, message, retryable, code)


def _of_program(program: ContainerRecord, code: int) -> Failure:
    text = containers.last_words(program.termination_message)
    if program.terminated_reason in _SPOILT:
        again = containers.can_ever_start(text)
        return Failure(PredictionReason.PROGRAM_FAILED, f"the program cannot be started: {text}", again, code)
    if program.terminated_reason == "OOMKilled":
        return Failure(
            PredictionReason.OUT_OF_MEMORY,
            "the program used more memory than its machine type allows",
            retryable=True,
            exit_code=code,
        )
    message = f"the program ended with exit code {code}" + (f": {text}" if text else "")
    retryable = exit_codes.outcome(code) is exit_codes.Outcome.RETRYABLE
    return Failure(PredictionReason.PROGRAM_FAILED, message, retryable, code)


def _disturbed(pod: PodRecord) -> bool:
    """Whether the pod was ended from outside: then its exit codes say nothing of the program."""
    return (
        pod.deleting
        or bool(pod.disrupted)
        or pod.reason in BY_NODE
        or refused_by_node(pod)
        or any(pod.container(name).terminated_reason in FORGOTTEN for name in _OURS)
    )


def _is_to_blame(pod: PodRecord) -> bool:
    """Whether a pod was evicted for what it used itself: the next one would go the same way."""
    return pod.reason == EVICTED and not pod.disrupted and not pod.deleting


def _disturbance(pod: PodRecord) -> str:
    if refused_by_node(pod) and not (pod.disrupted or pod.deleting):
        return refused_words(pod)
    why = pod.disrupted or pod.message or ("it was deleted" if pod.deleting else pod.reason) or "its node has restarted"
    return f"pod {pod.name} was ended from outside: {why}"
