"""Containers that something else adds to a pod: they keep no job from ending, and they are named."""

from dataclasses import replace
from typing import Any

import pytest
from fovea_api.contract.report import ProgressAnswer, ProgressReport, Termination
from fovea_operator.desired.members import Member
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from fovea_operator.reconcile.training import stopping
from fovea_operator.reconcile.training.decide import decide_job
from support.decision_table import RUNNING, decide, summary
from support.members import of
from support.observations import SETTINGS, after, at, ended, job, observed, pod, published, running

MESH = "istio-proxy"
PUBLISHING = ProgressReport(publishing=True)
OVER = ProgressReport(publishing=True, last_words=published().termination_message)
FAILED = ProgressReport(publishing=True, last_words=Termination("GracePeriodExceeded", "the time is over").to_json())
ALIVE = ContainerRecord(running_since=at(9))
CRASHED = ContainerRecord(exit_code=1, terminated_reason="Error", finished=at(12))


def with_mesh(of: PodRecord, mesh: ContainerRecord = ALIVE, **fields: Any) -> PodRecord:
    return replace(of, containers={**of.containers, MESH: mesh}, foreign=(MESH,), **fields)


def lives_on(code: int = 0, **fields: Any) -> PodRecord:
    """The program has ended after 70 s, the mesh's container has not, so the sidecar waits as well."""
    of = ended(code=code, phase="Running", sync=ContainerRecord(running_since=at(9)))
    return with_mesh(of, **fields)


def gone(code: int = 0, **fields: Any) -> PodRecord:
    """The pod has ended after its deletion."""
    fields = {"deleting": True, "deletion_deadline": at(700)} | fields
    return with_mesh(ended(code=code, **fields), ContainerRecord(exit_code=137, finished=at(90)))


def life(
    *chapters: tuple[float, PodRecord] | tuple[float, PodRecord, ProgressReport], **spec: Any
) -> list[dict[str, Any]]:
    """Decide on a pod after the other, each on the status before, and on what its sidecar has reported."""
    of, found = job(RUNNING, **spec), []
    for now, seen, *reported in chapters:
        decision = decide(observed(of, seen, progress=reported[0] if reported else None), now)
        of = after(of, decision)
        found.append(summary(decision) | {"message": (decision.status or {}).get("message", "")})
    return found


def test_a_program_that_ended_while_a_container_of_a_mesh_lives_on_has_its_pod_ended_and_succeeds() -> None:
    first, early, waiting, done = life(
        (72, lives_on()),
        (75, lives_on(), OVER),
        (80, lives_on(), PUBLISHING),
        (90, lives_on(), OVER),
        model={"name": "digits"},
    )
    assert (first["state"], first["deletes"]) == ("RUNNING", [])
    assert first["wakes"] == 80
    assert (waiting["state"], waiting["deletes"]) == ("RUNNING", [])
    assert waiting["conditions"]["Running"] == "True EndingPod"
    assert "Fovea did not add container istio-proxy to pod digits-chief-0-0" in waiting["message"]
    assert (early["state"], early["deletes"]) == ("RUNNING", []), "the container may end by itself, and its pod with it"
    assert (done["state"], done["creates"], done["deletes"]) == ("SUCCEEDED", ["digits-v1"], ["digits-chief-0-0"])


def test_a_failure_that_is_tried_again_waits_for_the_end_of_the_pod() -> None:
    told, done = life(
        (90, lives_on(), FAILED), (95, gone(sync=ContainerRecord(exit_code=75, termination_message=FAILED.last_words)))
    )
    assert (told["state"], told["deletes"]) == ("RUNNING", ["digits-chief-0-0"])
    assert done["state"] == "QUEUED"


SERVERS = {"distribution": "ParameterServer", "roles": {"worker": {"count": 1}, "ps": {"count": 1}}}


@pytest.mark.parametrize(("code", "retries", "ended_programs"), [(137, 1, None), (0, None, {"worker-0": 0})])
def test_a_worker_beside_a_mesh_ends_with_its_program(
    code: int, retries: int | None, ended_programs: dict[str, int] | None
) -> None:
    worker = of(Member("worker", 0), lives_on(code))
    others = (running(), of(Member("ps", 0), running()))
    early = decide(observed(job(RUNNING, **SERVERS), *others, worker), 79)
    assert early.requeue_at == at(80)
    assert not early.deletions
    decision = decide(observed(job(RUNNING, **SERVERS), *others, worker), 80)
    assert decision.status is not None
    assert (decision.status.get("retries"), decision.status.get("endedPrograms")) == (retries, ended_programs)
    again = decide(observed(after(job(RUNNING, **SERVERS), decision), *others, worker), 81)
    assert "digits-worker-0-0" in {each.name for each in (*decision.deletions, *again.deletions)}


def test_a_failure_for_good_is_one_when_the_sidecar_has_said_its_last_words() -> None:
    [done] = life((90, lives_on(1), OVER))
    assert (done["state"], done["deletes"]) == ("FAILED", ["digits-chief-0-0"])


@pytest.mark.parametrize(
    "words", ["", "not JSON", "{}", '{"reason": "Published", "message": "m", "output": {"uri": 1}}']
)
def test_last_words_without_a_digest_are_no_success(words: str) -> None:
    seen = observed(job(RUNNING), lives_on(), progress=ProgressReport(publishing=True, last_words=words))
    assert summary(decide(seen, 90))["state"] == "RUNNING"


def test_last_words_of_a_pod_that_others_deleted_wait_for_its_end() -> None:
    seen = observed(job(RUNNING), lives_on(deleting=True, deletion_deadline=at(690)), progress=OVER)
    decision = decide(seen, 95)
    assert summary(decision)["state"] == "RUNNING"
    assert "its program has ended, and what it wrote is being published" in (decision.status or {})["message"]


def test_last_words_that_come_after_the_deletion_of_a_sidecar_that_had_not_heard_count() -> None:
    found = life((140, lives_on()), (200, lives_on(deleting=True, deletion_deadline=at(740)), OVER))
    assert [each["state"] for each in found] == ["RUNNING", "SUCCEEDED"]


def test_a_cancel_that_has_begun_is_not_taken_back_by_last_words() -> None:
    found = life((90, lives_on(), PUBLISHING), (95, lives_on(), OVER), cancel=True)
    assert [each["state"] for each in found] == ["CANCELLING", "CANCELLING"]


def test_the_sidecar_hears_in_the_answers_to_its_reports_that_the_program_has_ended() -> None:
    assert stopping.answer(with_mesh(running())) == ProgressAnswer()
    assert stopping.answer(lives_on()) == ProgressAnswer(program_ended=True)


def test_the_pod_is_not_deleted_before_its_sidecar_has_published_all_or_has_had_its_time() -> None:
    *waiting, late = life(
        (80, lives_on(), PUBLISHING),
        (600, lives_on(), PUBLISHING),
        (729, lives_on(), PUBLISHING),
        (730, lives_on(), PUBLISHING),
    )
    assert [each["deletes"] for each in waiting] == [[], [], []]
    assert {each["wakes"] for each in waiting} == {70 + 600 + 60}
    assert late["deletes"] == ["digits-chief-0-0"]


def test_a_job_with_its_own_time_to_publish_has_its_pod_deleted_when_that_is_over() -> None:
    first, late = life((80, lives_on(), PUBLISHING), (250, lives_on(), PUBLISHING), runPolicy={"publishSeconds": 120})
    assert first["wakes"] == 70 + 120 + 60
    assert (first["deletes"], late["deletes"]) == ([], ["digits-chief-0-0"])


def test_a_pod_in_which_all_is_published_ends_soon_whatever_its_containers_do_at_sigterm() -> None:
    [deletion] = decide(observed(job(RUNNING), lives_on(), progress=FAILED), 90).deletions
    assert deletion.grace_seconds == SETTINGS.cancel_grace_seconds


def test_a_sidecar_that_hears_nothing_is_told_by_the_deletion_and_publishes_in_the_pods_own_grace_period() -> None:
    waiting = decide(observed(job(RUNNING), lives_on(), progress=ProgressReport(step=7)), 139)
    assert (waiting.deletions, waiting.requeue_at) == ((), at(140))
    [deletion] = decide(observed(job(RUNNING), lives_on(), progress=ProgressReport(step=7)), 140).deletions
    assert deletion.grace_seconds is None


def test_a_sidecar_that_reports_to_nobody_is_not_waited_for() -> None:
    settings = replace(SETTINGS, report_url="")
    [deletion] = decide_job(observed(job(RUNNING), lives_on()), at(80), settings).deletions
    assert deletion.grace_seconds is None


def test_a_container_that_ends_soon_after_the_program_does_not_end_the_pod() -> None:
    done = with_mesh(ended(), ContainerRecord(exit_code=0, finished=at(75)))
    found = life((72, lives_on()), (78, done))
    assert [each["deletes"] for each in found] == [[], []]
    assert found[-1]["state"] == "SUCCEEDED"


@pytest.mark.parametrize(("code", "state", "reason"), [(1, "FAILED", "ProgramFailed"), (75, "QUEUED", "ProgramFailed")])
def test_the_exit_code_of_a_program_that_ended_before_its_pod_was_told_to_counts(
    code: int, state: str, reason: str
) -> None:
    found = life((140, lives_on(code)), (145, gone(code)))
    assert found[-1]["state"] == state
    of = after(job(RUNNING), decide(observed(job(RUNNING), lives_on(code)), 140))
    decision = decide(observed(of, gone(code)), 95)
    assert decision.status is not None
    assert decision.status["lastFailure"]["reason"] == reason


def test_a_publication_that_failed_is_tried_again() -> None:
    said = Termination("GracePeriodExceeded", "the time is over").to_json()
    failed = gone(sync=ContainerRecord(exit_code=75, termination_message=said, finished=at(94)))
    assert life((140, lives_on()), (145, failed))[-1]["state"] == "QUEUED"


def test_a_pod_that_vanished_after_it_was_told_to_end_is_a_lost_one() -> None:
    of = after(job(RUNNING), decide(observed(job(RUNNING), lives_on()), 140))
    found = summary(decide(observed(of), 95))
    assert (found["state"], found["disruptions"]) == ("QUEUED", 1)


def test_a_suspension_does_not_make_a_program_that_has_ended_run_again() -> None:
    of = after(job(RUNNING), decide(observed(job(RUNNING), lives_on()), 140))
    asked = of.model_copy(update={"spec": of.spec.model_copy(update={"suspend": True})})
    ending = decide(observed(asked, lives_on(deleting=True, deletion_deadline=at(690))), 92)
    assert summary(ending)["conditions"]["Running"] == "True EndingPod"
    assert summary(decide(observed(after(asked, ending), gone()), 95))["state"] == "SUCCEEDED"


def test_a_cancel_ends_the_pod_sooner() -> None:
    of = after(job(RUNNING), decide(observed(job(RUNNING), lives_on()), 140))
    asked = of.model_copy(update={"spec": of.spec.model_copy(update={"cancel": True})})
    found = summary(decide(observed(asked, lives_on(deleting=True, deletion_deadline=at(690))), 92))
    assert (found["state"], found["deletes"]) == ("CANCELLING", ["digits-chief-0-0"])


def test_exit_code_0_of_a_pod_that_others_told_to_end_is_believed_no_more_than_before() -> None:
    assert life((60, with_mesh(running())), (95, gone()))[-1]["state"] == "QUEUED"


@pytest.mark.parametrize("mesh", [ALIVE, CRASHED, ContainerRecord(waiting_reason="ImagePullBackOff")])
def test_a_container_of_others_in_trouble_does_not_disturb_a_program_that_runs(mesh: ContainerRecord) -> None:
    assert life((60, with_mesh(running(), mesh)))[0]["conditions"]["Running"] == "True Started"


def test_a_crashed_container_of_others_does_not_fail_a_job_whose_program_succeeded() -> None:
    done = with_mesh(ended(phase="Failed"), CRASHED)
    assert life((80, done))[0]["state"] == "SUCCEEDED"


def test_a_container_of_others_that_never_starts_does_not_keep_the_pod_alive() -> None:
    stuck = with_mesh(lives_on(), ContainerRecord(waiting_reason="ImagePullBackOff"))
    assert life((140, stuck))[0]["deletes"] == ["digits-chief-0-0"]


def test_a_native_sidecar_of_others_is_ended_by_the_kubelet() -> None:
    of = ended(phase="Running", sync=ContainerRecord(running_since=at(9)))
    native = replace(of, containers={**of.containers, MESH: ALIVE})
    assert life((140, native))[0]["deletes"] == []


def test_an_init_container_of_others_that_ends_the_pod_is_named_and_the_attempt_tried_again() -> None:
    record = ContainerRecord(exit_code=2, termination_message="iptables: permission denied", finished=at(5))
    decision = decide(observed(job(RUNNING), pod(phase="Failed", node="n", containers={"istio-init": record})))
    assert decision.status is not None
    assert "init container istio-init, which Fovea did not add, ended with 2: iptables" in decision.status["message"]
    assert summary(decision)["retries"] == 1


def test_an_init_container_of_others_that_takes_long_is_named() -> None:
    decision = decide(observed(job(RUNNING), pod(node="n", containers={"istio-init": ALIVE})))
    assert decision.status is not None
    assert (
        "waits for containers that Fovea did not add and that run before its own: istio-init"
        in decision.status["message"]
    )


def test_two_containers_of_others_are_both_named() -> None:
    two = replace(lives_on(), foreign=(MESH, "vault-agent"))
    assert "istio-proxy, vault-agent" in life((140, two))[0]["message"]


def test_with_its_marker_a_program_has_succeeded_whoever_told_the_pod_to_end() -> None:
    found = life((60, with_mesh(running())), (95, gone(sync=published(complete=True))))
    assert found[-1]["state"] == "SUCCEEDED"


def interrupted(began: float, *, complete: bool = False) -> ProgressReport:
    """The last words of a sidecar whose own end began some seconds after the job's creation."""
    said = published(complete=complete, end_began=times.text(at(began)))
    return ProgressReport(publishing=True, last_words=said.termination_message)


@pytest.mark.parametrize("began", [65, 70, 72])
def test_a_program_that_the_node_told_to_end_has_not_succeeded_by_last_words(began: float) -> None:
    """A node that shuts down ends the containers of a pod without a deletion, and says so when all have ended."""
    of = after(job(RUNNING), decide(observed(job(RUNNING), lives_on()), 80))
    for seen in (job(RUNNING), of):
        decision = decide(observed(seen, lives_on(), progress=interrupted(began)), 90)
        found = summary(decision)
        assert (found["state"], found["disruptions"]) == ("QUEUED", 1)
        assert decision.status is not None
        assert (
            "its node sent pod digits-chief-0-0 SIGTERM; its program ended with 0 and left no _SUCCESS"
            in decision.status["message"]
        )


def test_nor_has_it_when_the_pod_has_ended_and_says_so() -> None:
    of = after(job(RUNNING), decide(observed(job(RUNNING), lives_on()), 80))
    words = interrupted(70).last_words
    done = gone(sync=ContainerRecord(exit_code=0, termination_message=words, finished=at(95)))
    shut_down = replace(
        done, deleting=False, deletion_deadline=None, disrupted="the node shuts down", reason="Terminated"
    )
    assert summary(decide(observed(of, shut_down), 100))["state"] == "QUEUED"


def test_with_its_marker_a_program_that_the_node_told_to_end_has_succeeded() -> None:
    assert life((80, lives_on()), (90, lives_on(), interrupted(70, complete=True)))[-1]["state"] == "SUCCEEDED"


def test_a_pod_that_began_to_end_by_the_operators_own_deletion_costs_no_success() -> None:
    found = life((140, lives_on()), (200, lives_on(deleting=True, deletion_deadline=at(740)), interrupted(140)))
    assert found[-1]["state"] == "SUCCEEDED"


def test_a_sidecar_that_the_kubelet_ended_after_its_program_costs_no_success() -> None:
    """Its preStop hook runs then, too: the pod was not ended from outside."""
    words = interrupted(71).last_words
    done = with_mesh(ended(sync=ContainerRecord(exit_code=0, termination_message=words)), ContainerRecord(exit_code=0))
    assert life((80, done))[0]["state"] == "SUCCEEDED"


@pytest.mark.parametrize("said", ["", "soon", "9999-99-99T00:00:00Z"])
def test_a_time_that_is_none_says_nothing(said: str) -> None:
    words = published(end_began=said).termination_message
    report = ProgressReport(publishing=True, last_words=words)
    assert life((90, lives_on(), report))[0]["state"] == "SUCCEEDED"


def test_the_exit_code_of_a_program_that_the_node_told_to_end_says_nothing_of_it() -> None:
    told, done = life(
        (90, lives_on(1), interrupted(70)),
        (95, replace(lives_on(1), phase="Failed", disrupted="the node shuts down", containers=shut_down_containers())),
    )
    assert told["state"] == "RUNNING"
    assert (done["state"], done["disruptions"]) == ("QUEUED", 1)


def shut_down_containers() -> dict[str, ContainerRecord]:
    sync = ContainerRecord(exit_code=0, termination_message=interrupted(70).last_words, finished=at(94))
    return {**gone(1, sync=sync).containers}
