"""What a storm must leave: all jobs ended as they had to, no attempt lost or run twice, nothing running that nobody needs."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fovea_api.contract import labels

from burst.outcomes import WRONG, Outcomes

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
Object = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """Names of the jobs and pods that are not as they have to be, and by how many seconds deadlines were passed."""

    states: Mapping[str, int]
    retries: int
    not_ended: tuple[str, ...]
    over_the_limit: tuple[str, ...]
    wrongly_ended: tuple[str, ...]
    left_running: tuple[str, ...]
    lost_attempts: tuple[str, ...]
    made_twice: tuple[str, ...]
    late_seconds: tuple[float, ...]

    @property
    def faults(self) -> dict[str, tuple[str, ...]]:
        """What is wrong, by sort; empty when nothing is."""
        sorts = ("not_ended", "over_the_limit", "wrongly_ended", "left_running", "lost_attempts", "made_twice")
        return {sort: found for sort in sorts if (found := getattr(self, sort))}


def judge(jobs: Sequence[Object], pods: Sequence[Object], created: Iterable[str], outcomes: Outcomes) -> Verdict:
    """`created`: names of pods as the audit log has them, each creation that was accepted."""
    made = Counter(created)
    by_name = {job["metadata"]["name"]: job.get("status") or {} for job in jobs}
    highest: dict[str, dict[str, int]] = {}
    for pod in made:
        name, role, index, attempt = pod.rsplit("-", 3)
        member = f"{role}-{index}"
        held = highest.setdefault(name, {})
        held[member] = max(held.get(member, 0), int(attempt))
    return Verdict(
        states=Counter(status.get("state", "-") for status in by_name.values()),
        retries=sum(status.get("retries", 0) for status in by_name.values()),
        not_ended=tuple(name for name, status in by_name.items() if status.get("state") not in ENDED),
        over_the_limit=tuple(
            job["metadata"]["name"]
            for job in jobs
            if (job.get("status") or {}).get("retries", 0) > job["spec"]["runPolicy"]["backoffLimit"]
        ),
        wrongly_ended=tuple(job["metadata"]["name"] for job in jobs if _is_wrong(job, made, outcomes)),
        left_running=tuple(pod["metadata"]["name"] for pod in pods if _is_left(pod, by_name)),
        lost_attempts=tuple(
            f"{name} {member}"
            for name, members in highest.items()
            for member, attempt in members.items()
            if attempt > by_name.get(name, {}).get("attempts", {}).get(member, 0)
        ),
        made_twice=tuple(pod for pod, times in made.items() if times > 1),
        late_seconds=tuple(late for job in jobs if (late := _late(job)) is not None),
    )


def _is_wrong(job: Object, made: Iterable[str], outcomes: Outcomes) -> bool:
    """Whether a job ended in another way than its pods did."""
    status, policy = job.get("status") or {}, job["spec"]["runPolicy"]
    state, name = status.get("state"), job["metadata"]["name"]
    if policy.get("maxRunningSeconds"):
        return state == "SUCCEEDED"
    wrong = any(outcomes.code(pod) == WRONG for pod in made if pod.rsplit("-", 3)[0] == name)
    if state == "FAILED":
        return not wrong and status.get("retries", 0) < policy["backoffLimit"]
    chief = f"{name}-chief-0-{status.get('attempts', {}).get('chief-0', 0)}"
    return state == "SUCCEEDED" and outcomes.code(chief) != 0


def _is_left(pod: Object, by_name: Mapping[str, Object]) -> bool:
    """Whether a pod runs on though its job has ended, or is not there."""
    state = by_name.get(pod["metadata"]["labels"].get(labels.JOB, ""), {}).get("state", "gone")
    goes_on = pod["status"].get("phase") in ("Pending", "Running") and not pod["metadata"].get("deletionTimestamp")
    return goes_on and (state in ENDED or state == "gone")


def _late(job: Object) -> float | None:
    """Seconds from a job's deadline to its end; None for a job without one."""
    limit, status = job["spec"]["runPolicy"].get("maxRunningSeconds"), job.get("status") or {}
    if not limit or "startTime" not in status or "endTime" not in status:
        return None
    began, ended = (datetime.fromisoformat(status[field]) for field in ("startTime", "endTime"))
    return (ended - began).total_seconds() - limit
