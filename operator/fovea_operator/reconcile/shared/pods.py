"""The pods of a job as a set of members, each with its current attempt; what a pod's record says of its end; and its deletion.

A member is a place in the job (role and index). Every attempt of it has a pod of its own, so that a pod stuck on a lost
node never blocks its successor.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from fovea_api.contract import labels, names

from fovea_operator.desired.members import Member
from fovea_operator.reconcile.shared.decision import POD, Deletion
from fovea_operator.reconcile.shared.observed import PodRecord

ENDED_PHASES = ("Succeeded", "Failed")
SLACK = timedelta(seconds=30)
"""A pod that is still there so long after its grace period is on a node that is lost."""

DEADLINE_EXCEEDED = "DeadlineExceeded"
"""status.reason of a pod whose spec.activeDeadlineSeconds are over."""
_OF_ITS_OWN = ("Evicted", DEADLINE_EXCEEDED)
"""status.reason of a pod that was ended for what it used itself: the next one would go the same way."""

Place = tuple[str, int]
"""Key of a member, and an attempt: where a pod of a job belongs."""

OTHERS_PATIENCE = timedelta(seconds=10)
"""Many containers of others end by themselves soon after the program."""


@dataclass(frozen=True)
class Recorded:
    """What a status remembers of a set of pods."""

    attempts: Mapping[str, int]
    """Current attempt by member key. Of the first member it stands there from its first pod on; others are left out at 0."""
    between_attempts: bool
    """Whether the pods of the current attempts are still to be made."""
    ended: Mapping[str, int]
    """Exit codes, by member key, of programs that had ended before their pods were deleted."""
    begins: Mapping[str, datetime] = field(default_factory=dict)
    """Members, by key, whose current attempt is still to be made while others go on, and when it may begin."""
    vanished: frozenset[Place] = frozenset()
    """Attempts whose pod was there and went before a status said so. This is known from memory, not from the status."""


@dataclass(frozen=True)
class MemberPods:
    """One member of the set, with its pods."""

    member: Member
    attempt: int
    """The current attempt: the status's, or a newer one that has a pod already. Counts from 0."""
    recorded: int
    """The current attempt by the status; -1 when it names none."""
    pod: PodRecord | None
    """Pod of the current attempt."""
    earlier: tuple[PodRecord, ...]
    """Pods of other attempts."""
    seen: bool
    """Whether the current attempt had a pod."""
    had_ended: bool
    """Whether the status says that the program had ended before the pod was deleted: the deletion says nothing of it then."""
    begins: datetime | None = None
    """When its current attempt may begin, which is still to be made while other members go on."""
    done: bool = False
    """Whether it publishes nothing, and the status says that its program ended with 0: its pod may be gone."""


@dataclass(frozen=True)
class PodSet:
    """All members of a job, the first one before all others."""

    members: tuple[MemberPods, ...]
    strays: tuple[PodRecord, ...] = ()
    """Pods of the job that belong to none of its members."""

    @classmethod
    def of(cls, members: Sequence[Member], pods: Iterable[PodRecord], recorded: Recorded) -> "PodSet":
        """Sort the pods to the members."""
        by_member: dict[str, dict[int, PodRecord]] = {member.key: {} for member in members}
        strays = []
        for pod in pods:
            held, attempt = by_member.get(_key(pod)), attempt_of(pod)
            if held is None or attempt is None:
                strays.append(pod)
            else:
                held[attempt] = pod
        begun = members[0].key in recorded.attempts
        return cls(tuple(_member(each, by_member[each.key], recorded, begun=begun) for each in members), tuple(strays))

    def __iter__(self) -> Iterator[MemberPods]:
        return iter(self.members)

    @property
    def first(self) -> MemberPods:
        """The member by which the job is known: the chief, where there is one."""
        return self.members[0]

    @cached_property
    def needed(self) -> tuple[MemberPods, ...]:
        """Those that train: all but the evaluator, without which the job goes on."""
        return tuple(each for each in self if not each.member.follows)

    @cached_property
    def evaluator(self) -> MemberPods | None:
        """The one that measures what the others train, where there is one."""
        return next((each for each in self if each.member.follows), None)

    @cached_property
    def current(self) -> tuple[PodRecord, ...]:
        """Pods of the current attempts."""
        return tuple(each.pod for each in self if each.pod is not None)

    @property
    def go_on(self) -> bool:
        """Whether a pod of a current attempt that trains has not ended."""
        return any(each.pod is not None and not ended(each.pod) for each in self.needed)

    @cached_property
    def missing(self) -> tuple[MemberPods, ...]:
        """Members whose current attempt has no pod and needs one. An evaluator whose pod is gone needs another attempt, or none."""
        lost = tuple(each for each in self if each.member.follows and each.seen)
        return tuple(each for each in self if each.pod is None and not each.done and each not in lost)

    def due(self, now: datetime) -> tuple[MemberPods, ...]:
        """Members whose pod is to be made now."""
        return tuple(each for each in self.missing if each.begins is None or each.begins <= now)

    def later(self, now: datetime) -> dict[str, datetime]:
        """Members, by key, whose pod is to be made while the others go on, but not yet."""
        return {each.member.key: each.begins for each in self.missing if each.begins is not None and each.begins > now}

    def alive(self, now: datetime) -> tuple[PodRecord, ...]:
        """Pods of current attempts in which something may still run."""
        return alive(self.current, now)

    def outlived(self, now: datetime) -> tuple[PodRecord, ...]:
        """Pods of earlier attempts in which something may still run: they hold nodes, and quota with them."""
        return alive((pod for each in self for pod in each.earlier), now)

    def attempts(self, of: Mapping[str, int] | None = None) -> dict[str, int]:
        """Current attempts as a status records them; `of`: others for some members, by key."""
        numbers = {each.member.key: each.attempt for each in self} | dict(of or {})
        first = self.first.member.key
        return {key: number for key, number in numbers.items() if number or key == first}

    def next_attempts(self, of: Iterable[MemberPods] | None = None) -> dict[str, int]:
        """What a status records when these members, or all, begin their next attempt."""
        return self.attempts({each.member.key: each.attempt + 1 for each in (self if of is None else of)})


def _member(member: Member, pods: Mapping[int, PodRecord], recorded: Recorded, *, begun: bool) -> MemberPods:
    known = recorded.attempts.get(member.key, 0) if begun else -1
    attempt = max(known, 0, *pods)
    begins = recorded.begins.get(member.key) if known == attempt else None
    between = recorded.between_attempts or begins is not None
    return MemberPods(
        member=member,
        attempt=attempt,
        recorded=known,
        pod=pods.get(attempt),
        earlier=tuple(pod for number, pod in pods.items() if number != attempt),
        seen=(known == attempt and not between) or (member.key, attempt) in recorded.vanished,
        had_ended=member.key in recorded.ended,
        begins=begins,
        done=known == attempt and _is_done(member, recorded.ended.get(member.key)),
    )


def _is_done(member: Member, code: int | None) -> bool:
    """Whether a member whose program ended so needs no further pod. Of the evaluator any code says so: it is left out."""
    return code is not None and not member.publishes and (code == 0 or member.follows)


def _key(pod: PodRecord) -> str:
    return f"{pod.labels.get(labels.ROLE, '')}-{pod.labels.get(labels.INDEX, '')}"


def place_of(pod: PodRecord) -> Place | None:
    """Where a pod belongs; None when its labels do not say."""
    attempt = attempt_of(pod)
    return None if attempt is None else (_key(pod), attempt)


def attempt_of(pod: PodRecord) -> int | None:
    """The attempt that a pod is of; None when its label does not say."""
    text = pod.labels.get(labels.ATTEMPT, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def alive(pods: Iterable[PodRecord], now: datetime) -> tuple[PodRecord, ...]:
    """Those in which something may still run."""
    return tuple(pod for pod in pods if not ended(pod) and not lost(pod, now))


def ended(pod: PodRecord) -> bool:
    """Whether all its containers have ended for good."""
    return pod.phase in ENDED_PHASES


def lost(pod: PodRecord, now: datetime) -> bool:
    """Whether it should have gone long ago: nothing on its node answers any more."""
    return not ended(pod) and pod.deletion_deadline is not None and now >= pod.deletion_deadline + SLACK


def lost_at(pods: Iterable[PodRecord]) -> datetime | None:
    """When the first of those that are being deleted counts as lost."""
    deadlines = (pod.deletion_deadline for pod in pods)
    return min((deadline + SLACK for deadline in deadlines if deadline is not None), default=None)


def refused_by_node(pod: PodRecord) -> bool:
    """Whether the kubelet did not admit the pod: a device or a resource was not there when it looked.

    A pod that ran is refused like that, too, when its node has restarted. What its containers did is not known then.
    """
    program = pod.container(names.TRAINER_CONTAINER)
    ended_itself = program.exit_code is not None or any(record.exit_code for record in pod.containers.values())
    return pod.phase == "Failed" and bool(pod.reason) and pod.reason not in _OF_ITS_OWN and not ended_itself


def refused_words(pod: PodRecord) -> str:
    """What is said of it: a sentence without its full stop, where the kubelet's words end without one."""
    said = f": {pod.message}" if pod.message else ""
    return f"node {pod.node or '(none)'} refused pod {pod.name} ({pod.reason}){said}"


def trainer_started(pod: PodRecord) -> datetime | None:
    """When its program started."""
    record = pod.containers.get(names.TRAINER_CONTAINER)
    return (record.running_since or record.started) if record else None


def trainer_ended(pod: PodRecord) -> datetime | None:
    """When its program ended."""
    record = pod.containers.get(names.TRAINER_CONTAINER)
    return record.finished if record else None


def at_deadline(pod: PodRecord) -> bool:
    """Whether its kubelet stopped it at spec.activeDeadlineSeconds, and its program with it.

    The kubelet says the same of a pod whose program had ended before, and whose sidecar was still publishing at that time. That
    program ended by itself: its time is of the same clock, and the kubelet is never early.
    """
    if pod.reason != DEADLINE_EXCEEDED or not ended(pod):
        return False
    finished = trainer_ended(pod)
    return finished is None or pod.active_deadline is None or finished >= pod.active_deadline


def others_alive(pod: PodRecord) -> tuple[str, ...]:
    """Names of the containers that something else added and that have not ended."""
    return tuple(name for name in pod.foreign if pod.container(name).exit_code is None)


def others_due(pod: PodRecord) -> datetime | None:
    """When those are held to keep the pod alive, since its program has ended; None: they do not."""
    finished = trainer_ended(pod)
    alive = finished and not ended(pod) and not pod.deleting and others_alive(pod)
    return finished + OTHERS_PATIENCE if finished and alive else None


def deletion(pod: PodRecord, grace_seconds: int | None = None) -> Deletion:
    """One pod's deletion."""
    return Deletion(POD, pod.namespace, pod.name, pod.uid, grace_seconds)


def stop(pods: Iterable[PodRecord], now: datetime, grace_seconds: int) -> tuple[Deletion, ...]:
    """Delete what runs. One that is ending already is hurried when its grace period is longer than this."""
    return tuple(
        deletion(pod, grace_seconds)
        for pod in pods
        if not ended(pod) and (not pod.deleting or _has_longer(pod, now, grace_seconds))
    )


def remove(pods: Iterable[PodRecord], now: datetime, grace_seconds: int) -> tuple[Deletion, ...]:
    """Delete all of them, those that run with this grace period."""
    known = tuple(pods)
    return stop(known, now, grace_seconds) + tuple(deletion(pod) for pod in known if is_left(pod))


def is_left(pod: PodRecord) -> bool:
    """Whether an ended pod is there, and would stay."""
    return ended(pod) and not pod.deleting and not pod.gone


def _has_longer(pod: PodRecord, now: datetime, grace_seconds: int) -> bool:
    if pod.deletion_deadline is None:
        return False
    # A margin, so that our own deletion is not repeated when the clocks differ a little.
    return (pod.deletion_deadline - now).total_seconds() > grace_seconds + 5
