"""Jobs of several pods: which attempt each member is at, and what the phases do with all of them."""

from dataclasses import replace
from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.desired.members import Member
from fovea_operator.reconcile.shared.decision import Decision, Write
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from fovea_operator.reconcile.shared.pods import PodSet, Recorded
from fovea_operator.reconcile.training import outcome
from fovea_operator.reconcile.training.decide import decide_job
from fovea_operator.reconcile.training.view import View
from support.decision_table import RUNNING, SEEN, summary
from support.golden import Golden
from support.members import of
from support.observations import SETTINGS, after, at, ended, observed, preparing, running
from support.observations import job as single_job

CHIEF, WORKERS = Member(), (Member("worker", 0), Member("worker", 1))
MEMBERS = (CHIEF, *WORKERS)
NOTHING = Recorded({}, between_attempts=False, ended={})


def job(status: dict[str, Any] | None = None, **spec: Any) -> TrainingJob:
    return single_job(status, distribution="MultiWorkerMirrored", roles={"worker": {"count": 2}}, **spec)


def decide(of_job: TrainingJob, *pods: PodRecord, now: float = 60, **seen: Any) -> Decision:
    return decide_job(observed(of_job, *pods, **seen), at(now), SETTINGS)


def all_run() -> tuple[PodRecord, ...]:
    return tuple(of(member, running()) for member in MEMBERS)


def test_pods_are_sorted_to_their_members_by_attempt() -> None:
    chief, late = running(1), of(WORKERS[1], running(2))
    odd = replace(running(0), name="odd", labels={**running(0).labels, labels.ROLE: "ghost"})
    pods = PodSet.of(MEMBERS, [ended(0), chief, late, odd], Recorded({"chief-0": 1, "worker-1": 1}, False, {}))
    assert [each.attempt for each in pods] == [1, 0, 2]
    assert [each.pod for each in pods] == [chief, None, late]
    assert [each.seen for each in pods] == [True, True, False], "a newer attempt than the status's is not seen yet"
    assert pods.first.earlier == (ended(0),)
    assert pods.strays == (odd,)


def test_a_status_of_many_members_names_those_that_were_tried_again() -> None:
    members = [CHIEF, *(Member("worker", index) for index in range(64))]
    pods = PodSet.of(members, [], NOTHING)
    assert pods.attempts() == {"chief-0": 0}
    assert pods.attempts({"worker-63": 2}) == {"chief-0": 0, "worker-63": 2}
    again = PodSet.of(members, [], Recorded({"chief-0": 0, "worker-63": 2}, False, {}))
    assert [each.member.key for each in again if each.attempt] == ["worker-63"]
    assert all(each.seen for each in again), "members that are left out are at attempt 0"


def test_all_pods_are_made_at_once_with_the_service_by_which_they_find_each_other() -> None:
    decision = decide(job())
    assert summary(decision)["creates"] == [
        "digits-pods",
        "digits-pods",
        "digits-chief-0-0",
        "digits-worker-0-0",
        "digits-worker-1-0",
    ]
    _, service, *pods = (child.manifest for child in decision.children)
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= pods[1]["metadata"]["labels"].items()
    assert {pod["spec"]["subdomain"] for pod in pods} == {service["metadata"]["name"]}
    assert [pod["spec"]["hostname"] for pod in pods] == ["digits-chief-0", "digits-worker-0", "digits-worker-1"]


def test_before_any_pod_a_network_policy_lets_the_pods_of_the_job_reach_each_other_and_nobody_else(
    golden: Golden,
) -> None:
    policy, _, *pods = decide(job()).children
    assert policy.write is Write.CREATE, "known, it costs nothing"
    golden.check("operator/network-policy-of-a-job.yaml", policy.manifest)
    selector = policy.manifest["spec"]["podSelector"]["matchLabels"]
    for pod in pods:
        assert selector.items() <= pod.manifest["metadata"]["labels"].items()


def test_a_job_of_one_pod_opens_no_port_and_gets_no_network_policy() -> None:
    assert [child.manifest["kind"] for child in decide_job(observed(single_job()), at(60), SETTINGS).children] == [
        "Pod"
    ]


def test_a_platform_team_may_do_without_network_policies() -> None:
    without = replace(SETTINGS, training_network_policies=False)
    kinds = [child.manifest["kind"] for child in decide_job(observed(job()), at(60), without).children]
    assert kinds == ["Service", "Pod", "Pod", "Pod"]


def test_only_the_pods_that_are_missing_are_made() -> None:
    made = decide(job(), running(), of(WORKERS[1], preparing())).children
    assert [child.manifest["metadata"]["name"] for child in made] == ["digits-pods", "digits-pods", "digits-worker-0-0"]


@pytest.mark.parametrize(
    ("stages", "state"),
    [
        ((running, running, running), "RUNNING"),
        ((running, preparing, running), "RUNNING"),
        ((preparing, running, running), "PREPARING"),
    ],
)
def test_a_job_runs_when_its_chief_does(stages: tuple[Any, ...], state: str) -> None:
    pods = [of(member, stage(created=0)) for member, stage in zip(MEMBERS, stages, strict=True)]
    found = decide(job(), *pods)
    assert (found.status or {})["state"] == state
    assert (found.status or {})["roles"].keys() == {"chief", "worker"}


def test_the_chiefs_success_ends_the_job_and_stops_the_others() -> None:
    found = summary(decide(job(SEEN), ended(), *all_run()[1:], now=80))
    assert found["state"] == "SUCCEEDED"
    assert found["deletes"] == ["digits-worker-0-0", "digits-worker-1-0"]


def test_a_worker_that_ends_with_0_is_done_and_publishes_nothing() -> None:
    done = of(WORKERS[0], ended(sync=None))
    seen = observed(job(SEEN), running(), done, all_run()[2])
    view = View.of(seen, at(80), SETTINGS)
    assert outcome.of_member(view, view.pods.members[1]) == outcome.Done()
    assert summary(decide_job(seen, at(80), SETTINGS))["state"] == "RUNNING"


def test_a_worker_that_is_done_is_remembered_and_its_pod_may_go_while_the_others_run() -> None:
    done = of(WORKERS[0], ended(sync=None))
    found = decide(job(RUNNING), running(), done, all_run()[2], now=80)
    assert (found.status or {})["endedPrograms"] == {"worker-0": 0}
    later = after(job(RUNNING), found)
    gone = decide(later, running(), all_run()[2], now=90)
    assert (summary(gone)["creates"], summary(gone)["disruptions"]) == ([], None)
    assert summary(gone)["state"] in (None, "RUNNING")
    view = View.of(observed(later, running(), all_run()[2]), at(90), SETTINGS)
    assert view.pods.missing == (), "it is not looked for"
    both = decide(later, running(), of(WORKERS[1], ended(sync=None)), now=95)
    assert (both.status or {})["endedPrograms"] == {"worker-0": 0, "worker-1": 0}


def test_a_worker_that_is_done_begins_again_with_the_next_attempt_of_all() -> None:
    status = RUNNING | {"endedPrograms": {"worker-0": 0}}
    found = decide(job(status), running(), of(WORKERS[1], ended(code=137)), now=80)
    assert summary(found)["attempts"] == {"chief-0": 1, "worker-0": 1, "worker-1": 1}
    assert "endedPrograms" not in (found.status or {})


@pytest.mark.parametrize("told", [{"deleting": True}, {"disrupted": "drained"}, {"reason": "Terminated"}])
def test_a_worker_that_ends_with_0_since_it_was_told_to_end_is_not_remembered_as_done(told: dict[str, Any]) -> None:
    told_to_end = of(WORKERS[0], replace(ended(sync=None), **told))
    assert "endedPrograms" not in (decide(job(RUNNING), running(), told_to_end, all_run()[2], now=80).status or {})


def test_the_chiefs_end_leaves_what_is_remembered_of_workers() -> None:
    mesh = {**ended().containers, "istio-proxy": ContainerRecord(running_since=at(10))}
    held_up = replace(running(), containers=mesh, foreign=("istio-proxy",))
    found = decide(job(RUNNING | {"endedPrograms": {"worker-0": 0}}), held_up, all_run()[2], now=200)
    assert (found.status or {})["endedPrograms"] == {"chief-0": 0, "worker-0": 0}


def test_a_worker_that_fails_begins_the_next_attempt_of_all() -> None:
    failed = of(WORKERS[1], ended(code=137))
    found = decide(job(RUNNING), running(), all_run()[1], failed, now=80)
    assert summary(found)["attempts"] == {"chief-0": 1, "worker-0": 1, "worker-1": 1}
    assert (summary(found)["state"], summary(found)["retries"]) == ("QUEUED", 1)
    assert summary(found)["deletes"] == ["digits-chief-0-0", "digits-worker-0-0"], (
        "what runs stops, the failed one stays"
    )


def test_the_next_attempt_waits_until_the_pods_of_the_one_before_have_ended() -> None:
    status = RUNNING | {"state": "QUEUED", "attempts": {"chief-0": 1, "worker-0": 1, "worker-1": 1}}
    between = job(status | {"nextAttemptTime": "2026-11-21T10:01:00Z"})
    failed = of(WORKERS[1], ended(code=137))
    saves = replace(running(), deleting=True, deletion_deadline=at(700), told_to_end=at(80))
    done = of(WORKERS[0], ended(code=143))
    waits = decide(between, saves, done, failed, now=100)
    assert summary(waits)["creates"] == []
    assert summary(waits)["wakes"] == 730
    assert "Waiting for pod digits-chief-0-0 of the previous attempt to end" in (waits.status or {})["message"]
    assert (waits.status or {})["nextAttemptTime"], "the status does not claim that the next pods were seen"
    for over in (ended(code=143, deleting=True), replace(saves, deletion_deadline=at(60))):
        made = decide(between, over, done, failed, now=100)
        assert summary(made)["creates"] == [
            *("digits-pods", "digits-pods"),
            *("digits-chief-0-1", "digits-worker-0-1", "digits-worker-1-1"),
        ]


def test_a_worker_whose_pod_vanished_is_a_disruption_once_it_was_seen() -> None:
    assert summary(decide(job(RUNNING), running(), all_run()[1]))["disruptions"] == 1
    assert summary(decide(job(), running(), all_run()[1]))["creates"][-1] == "digits-worker-1-0"


def test_a_suspension_waits_for_every_member() -> None:
    asked = job(RUNNING, suspend=True)
    first = decide(asked, *all_run())
    assert summary(first)["deletes"] == ["digits-chief-0-0", "digits-worker-0-0", "digits-worker-1-0"]
    assert (first.status or {})["suspending"] is True
    left = [of(member, running(deleting=True, deletion_deadline=at(600))) for member in MEMBERS[1:]]
    stopping = job(RUNNING | {"suspending": True}, suspend=True)
    gone = ended(code=143, deleting=True)
    assert "Suspended" not in summary(decide(stopping, gone, *left))["conditions"]
    over = [of(member, ended(code=143, deleting=True)) for member in MEMBERS[1:]]
    status = decide(stopping, gone, *over).status or {}
    assert status["attempts"] == {"chief-0": 1, "worker-0": 1, "worker-1": 1}
    assert "suspending" not in status
