"""Whatever is observed: decisions never raise and keep their promises. Hypothesis prints the seed of a failure."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from fovea_api.contract import labels
from fovea_api.v1alpha1 import JobState, TrainingJob
from fovea_api.v1alpha1.conditions import JobReason
from fovea_api.v1alpha1.training_job_status import TrainingJobStatus
from fovea_operator.desired.members import members_of
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.shared.decision import TRAINING_JOB, WORKLOAD, Decision, Write
from fovea_operator.reconcile.shared.observed import JobObserved, ServingObserved
from fovea_operator.reconcile.shared.pods import alive, attempt_of, ended
from fovea_operator.reconcile.training.decide import decide_job
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.alias_generators import to_snake
from support import kubelet_deadlines
from support.any_observation import observations
from support.any_serving import serving_observations
from support.observations import SETTINGS, after, at
from support.serving_observations import written

PROFILE = settings(max_examples=80)


def keyed(marks: Mapping[str, str]) -> str:
    """The member that labels are of."""
    return f"{marks.get(labels.ROLE, '')}-{marks.get(labels.INDEX, '')}"


def created(decision: Decision, kind: str) -> list[dict[str, Any]]:
    made = (child for child in decision.children if child.write is not Write.PATCH)
    return [child.manifest for child in made if child.manifest["kind"] == kind]


@given(observations(), st.integers(0, 1500))
@PROFILE
def test_a_job_s_decision_keeps_its_promises_whatever_is_observed(seen: JobObserved, now: int) -> None:
    before = deepcopy(seen)
    decision = decide_job(seen, at(now), SETTINGS)
    assert seen == before, "a decision changes nothing that it was shown"
    assert decide_job(seen, at(now), SETTINGS) == decision, "the same observation, the same decision"
    json.dumps({**(decision.status or {}), **decision.riders}, allow_nan=False)

    require_a_status_that_only_goes_forward(seen, decision)
    require_no_second_pod(seen, decision)
    require_one_version(seen, decision)
    require_that_attempts_are_recorded_before_their_pods_go(seen, decision)
    require_quota(seen, decision, now)
    require_deadlines_at_kubelets(seen, decision, now)


def require_deadlines_at_kubelets(seen: JobObserved, decision: Decision, now: int) -> None:
    """Only a job with a limit tells it to kubelets, each of them once, and never a later time than before."""
    by_name = {pod.name: pod for pod in seen.pods}
    told = [child.manifest for child in decision.children if child.write is Write.PATCH]
    assert not told or seen.job.spec.run_policy.max_running_seconds is not None
    for patch in told:
        pod, seconds = by_name[patch["metadata"]["name"]], patch["spec"]["activeDeadlineSeconds"]
        assert (pod.uid, ended(pod), pod.deleting) == (patch["metadata"]["uid"], False, False)
        assert pod.active_since is not None
        assert seconds >= 1
    after_it = tuple(kubelet_deadlines.told(pod, decision.children) for pod in seen.pods)
    again = decide_job(replace(seen, pods=after_it), at(now), SETTINGS)
    assert not [child for child in again.children if child.write is Write.PATCH], "no write is repeated"


def require_quota(seen: JobObserved, decision: Decision, now: int) -> None:
    """A job with a queue has pods while it holds quota, and gives the quota back when it has none."""
    scheduling, workload = seen.job.spec.scheduling, seen.workload
    if scheduling is not None and scheduling.queue is not None and created(decision, "Pod"):
        assert workload is not None
        assert not workload.deleting
        holds = [workload.condition(kind) is not None for kind in ("QuotaReserved", "Admitted", "Evicted", "Finished")]
        assert holds == [True, True, False, False]
    known = {member.key for member in members_of(seen.job)}
    held = alive((pod for pod in seen.pods if keyed(pod.labels) in known and attempt_of(pod) is not None), at(now))
    for child in decision.children:
        if child.write is Write.STATUS and (was_over(seen) or "admission" in child.manifest["status"]):
            assert not held, "quota is free when none of the job's pods holds a node"
    if seen.job.status.state is not None and any(each.gvk == WORKLOAD for each in decision.deletions):
        assert not held, "a job leaves its queue when none of its pods holds a node"


def was_over(seen: JobObserved) -> bool:
    state = seen.job.status.state
    return state is not None and state.ended


def recorded(seen: JobObserved, decision: Decision) -> tuple[dict[str, int], dict[str, int]]:
    """Attempts by the status before and by the one after."""
    before = seen.job.status.attempts or {}
    return before, (decision.status or {}).get("attempts") or before


def require_a_status_that_only_goes_forward(seen: JobObserved, decision: Decision) -> None:
    status, over = seen.job.status, was_over(seen)
    if over:
        assert all(child.write is Write.STATUS for child in decision.children), "an ended job never gets a pod again"
        said = (decision.status or status.dump()) | {"observedGeneration": None, "conditions": None}
        assert said == status.dump() | {"observedGeneration": None, "conditions": None}, (
            "an ended job's status is final"
        )
    state = (decision.status or {}).get("state")
    ends = state is not None and JobState(state).ended
    if ends:
        assert not created(decision, "Pod")
    told = [event.ended_as for event in decision.events if event.ended_as]
    assert told == ([state] if ends and not over else []), (
        "one Event says how a job ended, whatever its reason, and none says it of a job that goes on"
    )
    spent = status.cost.dump() if status.cost else {"total": 0, "ended": 0}
    assert all(decision.riders.get("cost", spent)[part] >= amount for part, amount in spent.items()), "spent is spent"
    before, after_it = recorded(seen, decision)
    assert after_it.get("chief-0", -1) >= before.get("chief-0", -1), "attempts never decrease"
    if "chief-0" in before:
        known = {member.key for member in members_of(seen.job)}
        assert all(after_it.get(key, 0) >= number for key, number in before.items() if key in known)


def require_no_second_pod(seen: JobObserved, decision: Decision) -> None:
    made = created(decision, "Pod")
    before, _ = recorded(seen, decision)
    known = {member.key for member in members_of(seen.job)}
    assert len(made) == len({keyed(pod["metadata"]["labels"]) for pod in made}), "one pod of a member at a time"
    for pod_manifest in made:
        marks = pod_manifest["metadata"]["labels"]
        number, key = int(marks[labels.ATTEMPT]), keyed(marks)
        assert key in known
        of_member = [pod for pod in seen.pods if keyed(pod.labels) == key]
        same = [pod for pod in of_member if attempt_of(pod) is not None and attempt_of(pod) >= number]
        assert not same, "no pod for an attempt that has one, nor for one that is over"
        taken = {pod.name for pod in seen.predecessors}
        assert pod_manifest["metadata"]["name"] not in taken, "no pod under the name of a deleted job's"
        if "chief-0" in before:
            assert number >= before.get(key, 0)


def require_one_version(seen: JobObserved, decision: Decision) -> None:
    assert len(created(decision, "ModelVersion")) <= 1
    if any(versions.of_job("job-uid") for versions in seen.versions.values()):
        assert not created(decision, "ModelVersion"), "a job registers one version"
    for manifest in created(decision, "ModelVersion"):
        assert decision.status is not None
        assert decision.status["modelVersion"] == manifest["metadata"]["name"]


def require_that_attempts_are_recorded_before_their_pods_go(seen: JobObserved, decision: Decision) -> None:
    by_name = {pod.name: pod for pod in seen.pods}
    known = {member.key for member in members_of(seen.job)}
    _, after_it = recorded(seen, decision)
    for deletion in decision.deletions:
        pod = by_name.get(deletion.name)
        if pod is None:
            assert deletion.gvk in (TRAINING_JOB, WORKLOAD)
            continue
        number = attempt_of(pod)
        key = keyed(pod.labels)
        if ended(pod) and number is not None and not was_over(seen) and key in known:
            absent = 0 if "chief-0" in after_it else -1
            assert number <= after_it.get(key, absent), "an attempt is recorded before its pod goes"


@given(observations(), st.integers(0, 1500))
@PROFILE
def test_statuses_settle_when_nothing_else_changes(seen: JobObserved, now: int) -> None:
    """No status write leads to another one for ever: an operator that wakes itself by its own writes never sleeps."""
    for _ in range(6):
        decision = decide_job(seen, at(now), SETTINGS)
        written = after(seen.job, decision)
        if written.status == seen.job.status:
            return
        seen = replace(seen, job=written)
    raise AssertionError(f"still writing: {decision.status}")


@given(observations(), st.integers(0, 1500), st.sampled_from(["True", "False"]))
@PROFILE
def test_no_decision_hangs_on_the_words_of_a_status(seen: JobObserved, now: int, running: str) -> None:
    """Reasons and messages are for people and their programs: what the operator must remember has a field of its own."""
    neutral = decide_job(replace(seen, job=saying(seen.job, "Other", running)), at(now), SETTINGS)
    for reason in JobReason:
        decision = decide_job(replace(seen, job=saying(seen.job, reason, running)), at(now), SETTINGS)
        assert (decision.children, decision.deletions) == (neutral.children, neutral.deletions)
        assert decision.requeue_at == neutral.requeue_at
        assert without_conditions(decision) == without_conditions(neutral)


NEWER = {"gang": {"ready": 3, "hostNames": ["a", "b"]}, "evaluatorStep": 7, "roles2": [{"name": "worker"}]}
"""What a later version of Fovea might write."""


@given(observations(), st.integers(0, 1500))
@PROFILE
def test_a_job_s_status_keeps_what_a_newer_operator_has_written(seen: JobObserved, now: int) -> None:
    """While an operator is upgraded either version may lead: none takes from the other what it does not know itself."""
    plain = decide_job(seen, at(now), SETTINGS)
    newer = replace(seen, job=after(seen.job, Decision(status=seen.job.status.dump() | NEWER)))
    decision = decide_job(newer, at(now), SETTINGS)
    assert decision == replace(plain, status=plain.status and plain.status | NEWER)


@given(serving_observations(), st.integers(0, 1500))
@PROFILE
def test_a_model_deployment_s_status_keeps_what_a_newer_operator_has_written(seen: ServingObserved, now: int) -> None:
    plain = decide_model_deployment(seen, at(now), SETTINGS)
    status = seen.model_deployment.status.dump() | NEWER
    newer = replace(seen, model_deployment=written(seen.model_deployment, Decision(status=status)))
    decision = decide_model_deployment(newer, at(now), SETTINGS)
    assert decision == replace(plain, status=plain.status and plain.status | NEWER)


@given(observations(), st.integers(0, 1500), st.data())
@PROFILE
def test_a_status_of_an_older_operator_that_lacks_fields_costs_no_second_pod(
    seen: JobObserved, now: int, data: st.DataObject
) -> None:
    status = seen.job.status.dump()
    missing = data.draw(st.sets(st.sampled_from(sorted(TrainingJobStatus.model_fields))))
    older = {key: value for key, value in status.items() if to_snake(key) not in missing}
    decision = decide_job(replace(seen, job=after(seen.job, Decision(status=older))), at(now), SETTINGS)
    for manifest in created(decision, "Pod"):
        marks = manifest["metadata"]["labels"]
        of_member = [pod for pod in seen.pods if keyed(pod.labels) == keyed(marks)]
        alive = {number for pod in of_member if (number := attempt_of(pod)) is not None and not ended(pod)}
        assert int(marks[labels.ATTEMPT]) > max(alive, default=-1)


def without_conditions(decision: Decision) -> dict[str, Any]:
    return {field: value for field, value in (decision.status or {}).items() if field != "conditions"}


def saying(of: TrainingJob, words: str, running: str) -> TrainingJob:
    """The job whose conditions say this, as reason and as message."""
    status = of.status.dump()
    held = [each for each in status.get("conditions") or () if each["type"] != "Running"]
    held.append({"type": "Running", "status": running, "lastTransitionTime": "2026-11-21T10:00:10Z"})
    said = [condition | {"reason": words, "message": words} for condition in held]
    return after(of, Decision(status=status | {"conditions": said}))


def will_be_looked_at(decision: Decision, now: int) -> bool:
    """Whether the key comes back at once: what is made or deleted is news of itself."""
    asked = decision.requeue_at is not None and decision.requeue_at <= at(now)
    return bool(decision.children or decision.deletions or asked)


def without_riders(status: Mapping[str, Any]) -> dict[str, Any]:
    """A status without what is no reason to write it."""
    kept = {field: value for field, value in status.items() if field not in ("members", "cost")}
    if "progress" in kept:
        pace = ("stepsPerSecond", "remainingSeconds")
        kept["progress"] = {field: value for field, value in kept["progress"].items() if field not in pace}
    return kept


def asks_for_more(first: Decision, second: Decision) -> bool:
    """Whether the second decision, on the first one's status, does what the first one did not ask to be woken for."""
    wakes, then = first.requeue_at, second.requeue_at
    said = without_riders(first.status or {}) | {"startTime": None}  # an estimate, where the pod is not there
    says = without_riders(second.status or first.status or {}) | {"startTime": None}
    later = then == wakes or (wakes is not None and (then is None or wakes <= then))
    return bool(second.children or said != says or not later)


@given(observations(), st.integers(0, 1500))
@PROFILE
def test_a_job_is_not_looked_at_after_its_own_status_write_unless_the_decision_asks_for_it(
    seen: JobObserved, now: int
) -> None:
    first = decide_job(seen, at(now), SETTINGS)
    if first.status is None or will_be_looked_at(first, now):
        return
    second = decide_job(replace(seen, job=after(seen.job, first)), at(now), SETTINGS)
    assert not asks_for_more(first, second)
    kept_for_its_log = {pod.name for pod in seen.pods if ended(pod)}
    assert {deletion.name for deletion in second.deletions} <= kept_for_its_log, "what runs is not left running"


@given(serving_observations(), st.integers(0, 1500))
@PROFILE
def test_a_deployment_is_not_looked_at_after_its_own_status_write_unless_the_decision_asks_for_it(
    seen: ServingObserved, now: int
) -> None:
    first = decide_model_deployment(seen, at(now), SETTINGS)
    if will_be_looked_at(first, now):
        return
    second = decide_model_deployment(
        replace(seen, model_deployment=written(seen.model_deployment, first)), at(now), SETTINGS
    )
    assert not asks_for_more(first, second)
    assert not second.deletions
