"""How a training pod ended: by its containers' exit codes and the agents' termination messages.

Success is believed only with the digest of the published output.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime

from fovea_api.contract import environment, exit_codes, names, storage
from fovea_api.contract.report import REASON_ALREADY_COMPLETE, REASON_PUBLISHED, Published, Termination
from fovea_api.v1alpha1 import TrainingJob
from fovea_api.v1alpha1.conditions import JobReason
from fovea_api.v1alpha1.training_job_status import PublicationStatus

from fovea_operator.reconcile.shared import containers
from fovea_operator.reconcile.shared.from_outside import FORGOTTEN
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from fovea_operator.reconcile.shared.pods import (
    MemberPods,
    at_deadline,
    ended,
    others_due,
    trainer_ended,
)
from fovea_operator.reconcile.training import disruption, stage
from fovea_operator.reconcile.training.view import View

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_WORD = re.compile(r"[A-Z][A-Za-z0-9]{0,99}")
"""A reason: it becomes a condition's."""

_SPOILT = ("StartError", "ContainerCannotRun")
"""The container runtime could not start the program: its code (127 or 128) is the runtime's own."""

_KILLED = (137, 143)
"""Exit codes after SIGKILL and SIGTERM."""

_BY_ITS_NODE = "its node sent it SIGTERM"
_AGENT_REASONS = {
    exit_codes.DATA_CORRUPT: JobReason.DATA_CORRUPT,
    exit_codes.INPUT_MISSING: JobReason.INPUT_MISSING,
    exit_codes.RESTART: JobReason.STORE_UNREACHABLE,
    exit_codes.KEY_REFUSED: JobReason.KEY_REFUSED,
}


@dataclass(frozen=True)
class Success:
    """The output is published; `termination` says where."""

    output: Published
    termination: Termination
    already: bool
    """Whether an earlier attempt did it, and this one found it."""


@dataclass(frozen=True)
class Failure:
    """The attempt failed."""

    reason: str
    message: str
    retryable: bool
    exit_code: int | None = None
    at: datetime | None = None
    disruption: bool = False
    """Whether the attempt was ended from outside, by nothing of its own: that is no retry."""


@dataclass(frozen=True)
class Done:
    """The program of a member that publishes nothing has ended with 0."""


Outcome = Success | Done | Failure
"""How an attempt of a member ended."""


def of(pod: PodRecord, *, publishes: bool = True) -> Outcome | None:
    """How the pod ended; None while it has not. `publishes`: whether success needs the digest of a published output."""
    if not ended(pod):
        return _of_live(pod)
    fetch = pod.container(names.FETCH_CONTAINER)
    trainer = pod.container(names.TRAINER_CONTAINER)
    sync = pod.container(names.SYNC_CONTAINER)
    if fetch.exit_code not in (None, exit_codes.OK):
        return _of_fetch(pod, names.FETCH_CONTAINER, fetch)
    if trainer.exit_code == exit_codes.OK:
        return _of_sync(pod, sync) if publishes else Done()
    if trainer.exit_code is None:
        return _without_program(pod, sync)
    said = Termination.from_json(sync.termination_message)
    if said is not None and sync.exit_code == trainer.exit_code and _is_of_input(trainer.exit_code):
        return _of_agent(pod, names.SYNC_CONTAINER, sync, said)
    return _of_trainer(pod, trainer)


def of_member(view: View, each: MemberPods) -> Outcome | None:
    """How the pod of a member's current attempt ended; None while it has not, or is not there."""
    found = _by_pod(view, each, each.pod) if each.pod is not None else None
    if isinstance(found, Success) or each is not view.chief:
        return found
    return _by_status(view) or found


def ended_programs(view: View) -> dict[str, int]:
    """Exit codes of programs that had ended, by member key: those that the status has, and those of members that are done.

    A member that is done needs no pod: what becomes of it later is no failure.
    """
    found = dict(view.status.ended_programs or {})
    for each in view.pods:
        if each.pod is not None and not disruption.disturbed(each.pod) and isinstance(of_member(view, each), Done):
            found[each.member.key] = exit_codes.OK
    return found


def had_ended(view: View, each: MemberPods) -> bool:
    """Whether the status says that the program had ended: the end of its pod afterwards shows nothing about it."""
    return each.had_ended or (each is view.chief and view.succeeded)


def _by_pod(view: View, each: MemberPods, pod: PodRecord) -> Outcome | None:
    if not each.member.publishes:
        pod = _without_others(pod, view.now)
    elif found := _by_last_words(view, each, pod):
        return found
    sync = pod.container(names.SYNC_CONTAINER)
    if not had_ended(view, each) or disruption.told_before(pod, Termination.from_json(sync.termination_message)):
        return of(pod, publishes=each.member.publishes)
    # A deletion that came after the program's end says nothing of the program.
    return of(replace(pod, deleting=False, disrupted="", reason=""), publishes=each.member.publishes)


def _without_others(pod: PodRecord, now: datetime) -> PodRecord:
    """A pod that publishes nothing has ended with its program, though containers of others live on in it."""
    time = others_due(pod)
    return replace(pod, phase="Failed") if time is not None and now >= time else pod


def _by_status(view: View) -> Success | None:
    """The success that the status remembers while the model cannot be registered, whatever became of the pod."""
    status = view.status
    if not view.succeeded or status.output is None:
        return None
    said = Termination(
        REASON_PUBLISHED,
        "",
        output=_published(status.output),
        model=_published(status.model) if status.model else None,
        metrics=dict(status.metrics or {}),
        metrics_left_out=status.metrics_left_out or 0,
        main_metric=status.main_metric or "",
        model_problem=status.model_problem or "",
    )
    already = not status.output.uri.endswith(storage.output("", view.chief.attempt))
    return Success(_published(status.output), said, already)


def _published(recorded: PublicationStatus) -> Published:
    return Published(recorded.uri, recorded.digest, recorded.bytes, recorded.files)


def _by_last_words(view: View, each: MemberPods, pod: PodRecord) -> Outcome | None:
    """How a pod ends that containers of others keep alive, by its sidecar's last report; None where an attempt may follow it."""
    said, time = view.observed.progress, others_due(pod)
    held_up = had_ended(view, each) or (
        time is not None and view.now >= time and not view.suspending and not disruption.disturbed(pod)
    )
    if ended(pod) or not held_up or trainer_ended(pod) is None or said is None or not said.last_words:
        return None
    sync = ContainerRecord(exit_code=exit_codes.OK, termination_message=str(said.last_words))
    containers = {**pod.containers, names.SYNC_CONTAINER: sync}
    why = _BY_ITS_NODE if disruption.told_before(pod, Termination.from_json(str(said.last_words))) else ""
    held = replace(pod, phase="Failed", deleting=False, disrupted=why, reason="", containers=containers)
    found = of(held, publishes=each.member.publishes)
    return None if isinstance(found, Failure) and found.retryable else found


def never(pod: PodRecord, job: TrainingJob) -> Failure | None:
    """Why the program of a pod can never start; None while it can."""
    problem = None if pod.deleting else stage.problem_of(pod, job)
    return Failure(problem.reason, problem.message, retryable=False) if problem and problem.final else None


def lost(pod: PodRecord | None) -> Failure:
    """The pod is gone, or its node is."""
    if pod is None:
        return Failure(
            JobReason.POD_LOST,
            "the pod is gone, and no report says how it ended (deleted by hand, or its node was lost)",
            retryable=True,
            disruption=True,
        )
    return Failure(
        JobReason.POD_LOST,
        f"pod {pod.name} did not end in its grace period: node {pod.node or '(none)'} does not answer",
        retryable=True,
        disruption=True,
    )


def disrupted(pod: PodRecord) -> Failure:
    """It was ended from outside."""
    return Failure(
        JobReason.DISRUPTED, disruption.disturbance(pod), retryable=True, disruption=not disruption.is_to_blame(pod)
    )


def interrupted(pod: PodRecord, said: Termination) -> Failure:
    """Its program got SIGTERM and ended with 0, without a sign that it was done."""
    ended_by = (
        f"its node sent pod {pod.name} SIGTERM" if disruption.told_before(pod, said) else f"pod {pod.name} was deleted"
    )
    if at_deadline(pod):
        return replace(_at_deadline(pod), exit_code=exit_codes.OK, at=trainer_ended(pod))
    why = f"{disruption.disturbance(pod) if disruption.disturbed(pod) else ended_by}; its"
    return Failure(
        JobReason.DISRUPTED,
        f"{why} program ended with 0 and left no {environment.SUCCESS_MARKER} in its output, so it may not have finished",
        retryable=True,
        exit_code=exit_codes.OK,
        at=trainer_ended(pod),
        disruption=not disruption.is_to_blame(pod),
    )


def _at_deadline(pod: PodRecord) -> Failure:
    """Its kubelet stopped it, not for runPolicy.maxRunningSeconds: somebody else set that time, and the next attempt gets it as well."""
    return Failure(
        JobReason.DEADLINE_EXCEEDED,
        f"the kubelet stopped pod {pod.name} at its spec.activeDeadlineSeconds, which Fovea did not set: find out who does "
        "(an admission webhook or a policy of the namespace), and let jobs run longer",
        retryable=True,
    )


def _of_live(pod: PodRecord) -> Success | Failure | None:
    """How a pod without `fetch` ends whose sidecar ended before the program started; None where that is not so.

    The kubelet starts a sidecar again, whatever its exit code, so that the pod would never end by itself.
    """
    trainer = pod.container(names.TRAINER_CONTAINER)
    started = trainer.running_since or trainer.exit_code is not None or trainer.last_exit_code is not None
    sync = pod.container(names.SYNC_CONTAINER)
    # The kubelet says that a sidecar runs when its hook has ended: this run of it has fetched.
    if pod.deleting or started or sync.running_since or names.FETCH_CONTAINER in pod.containers:
        return None
    last = _judged_run(sync)
    if last.exit_code in (None, exit_codes.OK) or _was_killed(last):
        return None
    return _of_fetch(pod, names.SYNC_CONTAINER, last)


def _was_killed(sync: ContainerRecord) -> bool:
    """Whether a run of the sidecar was ended from outside, as by a restart of its node: the next run of it says more."""
    if sync.terminated_reason == "OOMKilled" or Termination.from_json(sync.termination_message) is not None:
        return False
    return sync.exit_code in _KILLED or sync.terminated_reason in FORGOTTEN


def _judged_run(sync: ContainerRecord) -> ContainerRecord:
    """The sidecar as it ended last: it is running again, or waits to be started again."""
    if sync.exit_code is not None or sync.last_exit_code is None:
        return sync
    return replace(
        sync,
        exit_code=sync.last_exit_code,
        terminated_reason=sync.last_reason,
        termination_message=sync.last_message,
    )


def _of_fetch(pod: PodRecord, name: str, fetch: ContainerRecord) -> Success | Failure:
    """How container `name` ended, which fetches."""
    said = Termination.from_json(fetch.termination_message)
    if (
        fetch.exit_code == exit_codes.ALREADY_COMPLETE
        and said is not None
        and said.reason == REASON_ALREADY_COMPLETE
        and _believable(said)
        and said.output is not None
    ):
        return Success(said.output, said, already=True)
    return _of_agent(pod, name, fetch, said)


def _of_sync(pod: PodRecord, sync: ContainerRecord) -> Success | Failure:
    was_down = sync.exit_code is None and sync.last_exit_code is not None
    sync = _judged_run(sync)
    said = Termination.from_json(sync.termination_message)
    if said is not None and said.reason == REASON_PUBLISHED and said.output is not None and _believable(said):
        return Success(said.output, said, already=False)
    if sync.exit_code not in (None, exit_codes.OK):
        failure = _of_agent(pod, names.SYNC_CONTAINER, sync, said)
        # That run ended in the middle of the training: it gives no verdict on a publication that was never tried.
        return replace(failure, retryable=True, at=trainer_ended(pod)) if was_down else failure
    return Failure(
        JobReason.OUTPUT_MISSING,
        f"the program of pod {pod.name} ended with 0, but the agent reported no digest of its output",
        retryable=True,
        exit_code=sync.exit_code,
        at=sync.finished,
    )


def _believable(said: Termination) -> bool:
    """Whether what was published is named in a way that can be recorded: an address and a digest of content."""
    step = said.checkpoint_step
    return (step is None or _is_count(step)) and all(
        isinstance(published.uri, str)
        and published.uri.startswith(f"{storage.SCHEME}://")
        and isinstance(published.digest, str)
        and _DIGEST.fullmatch(published.digest) is not None
        and _is_count(published.size)
        and _is_count(published.files)
        for published in (said.output, said.model)
        if published is not None
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _of_agent(pod: PodRecord, name: str, record: ContainerRecord, said: Termination | None) -> Failure:
    code = record.exit_code if record.exit_code is not None else exit_codes.INTERNAL
    # Fenced: a newer attempt has started, so this one's failure says nothing about the job.
    retryable = exit_codes.outcome(code) is not exit_codes.Outcome.PERMANENT or code == exit_codes.FENCED
    reason = said.reason if said and _WORD.fullmatch(said.reason) else _AGENT_REASONS.get(code, JobReason.AGENT_FAILED)
    message = said.message if said and said.message else f"container {name} of pod {pod.name} ended with {code}"
    if record.terminated_reason == "OOMKilled":
        reason, message = JobReason.OUT_OF_MEMORY, f"container {name} of pod {pod.name} ran out of memory"
    is_disruption = disruption.disturbed(pod) and not disruption.is_to_blame(pod)
    return Failure(reason, message, retryable or disruption.disturbed(pod), code, record.finished, is_disruption)


def _is_of_input(code: int) -> bool:
    """Whether a program that ends with the code of its sidecar ends for its reason: a shard of an input that will not come."""
    return code in _AGENT_REASONS and exit_codes.outcome(code) is exit_codes.Outcome.PERMANENT


def _of_trainer(pod: PodRecord, trainer: ContainerRecord) -> Failure:
    code = trainer.exit_code if trainer.exit_code is not None else exit_codes.INTERNAL
    at = trainer.finished
    if disruption.disturbed(pod):
        return replace(disrupted(pod), exit_code=code, at=at)
    if at_deadline(pod):
        return replace(_at_deadline(pod), exit_code=code, at=at)
    if trainer.terminated_reason in _SPOILT:
        said = containers.last_words(trainer.termination_message)
        again = containers.can_ever_start(said)
        return Failure(JobReason.PROGRAM_FAILED, f"the program cannot be started: {said}", again, code, at)
    if trainer.terminated_reason == "OOMKilled":
        return Failure(
            JobReason.OUT_OF_MEMORY,
            "the program used more memory than its machine type allows",
            retryable=True,
            exit_code=code,
            at=at,
        )
    text = containers.last_words(trainer.termination_message)
    message = f"the program ended with exit code {code}" + (f": {text}" if text else "")
    retryable = exit_codes.outcome(code) is exit_codes.Outcome.RETRYABLE
    return Failure(JobReason.PROGRAM_FAILED, message, retryable, code, at)


def _without_program(pod: PodRecord, sync: ContainerRecord) -> Success | Failure:
    """The pod ended and its program never did: evicted, refused by its kubelet, or the sidecar could not start."""
    sync = _judged_run(sync)
    if sync.exit_code not in (None, exit_codes.OK) and Termination.from_json(sync.termination_message) is not None:
        return _of_fetch(pod, names.SYNC_CONTAINER, sync)
    if disruption.disturbed(pod):
        return disrupted(pod)
    if at_deadline(pod):
        return _at_deadline(pod)
    why = pod.message or pod.reason or _foreign_end(pod) or "it does not say why"
    return Failure(
        pod.reason or JobReason.POD_LOST, f"pod {pod.name} ended before its program did: {why}", retryable=True
    )


def _foreign_end(pod: PodRecord) -> str:
    """Which init container of others ended the pod; empty when none did."""
    for name, record in pod.containers.items():
        if (
            name not in names.OWN_CONTAINERS
            and name not in pod.foreign
            and record.exit_code not in (None, exit_codes.OK)
        ):
            said = containers.last_words(record.termination_message)
            return f"init container {name}, which Fovea did not add, ended with {record.exit_code}" + (
                f": {said}" if said else ""
            )
    return ""
