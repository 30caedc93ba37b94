"""What attempts begin with when the newest checkpoint may be torn."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fovea_agent.begun import RAN_LONG
from fovea_agent.errors import Corrupt, Misconfigured
from fovea_agent.proof import is_unproven
from fovea_api.contract import environment, storage
from fovea_api.contract.plan import TrainingPlan
from support.sidecar import PLAN, Pod
from support.torn_checkpoints import fetch, progress, torn, torn_after_a_whole_one, whole

TORN = ["500/", "500.pt", "checkpoint-500/", "step_500.pt"]


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path / "attempt-1", replace(PLAN, checkpoint_keep=1))


@pytest.mark.parametrize("name", TORN)
def test_two_attempts_that_began_with_one_and_made_no_step_are_followed_by_one_that_passes_over_it(
    pod: Pod, name: str
) -> None:
    third = torn_after_a_whole_one(pod, name, attempts=2)
    third.end()
    fourth = third.next_attempt()
    said = fetch(fourth)
    assert said.checkpoint_step == 400
    assert "resumed from this job's checkpoint 400 (passed over 500: " in said.message
    fourth.sync.look()
    assert fourth.published() == {400: b"w400", 500: b"tor"}, "it may yet be the only one that can be read"
    assert fourth.sync.checkpoints.newest == 400
    fourth.checkpoint(500, data=b"whole")
    fourth.end()
    assert fourth.published() == {500: b"whole"}
    assert fetch(fourth.next_attempt()).checkpoint_step == 500


def test_a_step_that_was_passed_over_is_replaced_before_the_one_in_its_place_is_known_to_be_whole(pod: Pod) -> None:
    third = torn_after_a_whole_one(pod, attempts=2)
    third.end()
    fourth = third.next_attempt()
    fetch(fourth)
    fourth.named("500.pt", b"again")
    fourth.end()
    assert fourth.published() == {400: b"w400", 500: b"again"}
    assert fetch(fourth.next_attempt()).checkpoint_step == 500, "nothing speaks against that content"


def test_an_attempt_that_ran_for_minutes_has_read_what_it_began_with(pod: Pod) -> None:
    second = torn_after_a_whole_one(pod)
    for attempt in (second, second.next_attempt()):
        fetch(attempt)
        attempt.sync.look()
        begun = attempt.sync.checkpoints._begun
        assert begun is not None
        begun._since -= RAN_LONG
        attempt.end()
    assert fetch(second.next_attempt().next_attempt()).checkpoint_step == 500


def says_an_earlier_step(pod: Pod) -> None:
    progress(pod, 1)


def makes_an_earlier_checkpoint(pod: Pod) -> None:
    pod.checkpoint(10)


@pytest.mark.parametrize("earlier", [says_an_earlier_step, makes_an_earlier_checkpoint], ids=lambda step: step.__name__)
def test_an_attempt_that_began_with_one_and_is_at_an_earlier_step_could_not_read_it(
    pod: Pod, earlier: Callable[[Pod], None]
) -> None:
    second = torn_after_a_whole_one(pod)
    second.sync.look()
    earlier(second)
    second.sync.look()
    assert second.published() == {400: b"w400", 500: b"tor"}
    progress(second, 501)
    second.sync.look()
    second.end()
    assert second.published() == {400: b"w400", 500: b"tor"}, "it has come past that step by itself"
    assert fetch(second.next_attempt()).checkpoint_step == 400


def test_what_speaks_against_one_is_kept_when_the_sidecar_never_hears_of_the_end(pod: Pod) -> None:
    second = torn_after_a_whole_one(pod)
    second.sync.look()
    progress(second, 1)
    second.sync.look()
    assert fetch(second.next_attempt()).checkpoint_step == 400


@pytest.mark.parametrize("beside", [True, False], ids=["beside a whole one", "alone"])
def test_one_that_the_program_says_is_damaged_is_passed_over_though_it_counted_as_whole(pod: Pod, beside: bool) -> None:
    pod.sync.plan = pod.sync.checkpoints.plan = replace(pod.sync.plan, checkpoint_keep=3)
    pod.checkpoint(*((400, 500) if beside else (500,)))
    pod.end()
    second = pod.next_attempt()
    assert fetch(second).checkpoint_step == 500
    folder = second.work.directory(environment.CHECKPOINT_DIR)
    (folder / "500").rename(folder / f"{environment.DAMAGED_PREFIX}500-1")
    second.end()
    assert is_unproven(pod.store, storage.checkpoint(pod.sync.job, 500)), "it pushes none out"
    third = second.next_attempt()
    assert fetch(third).checkpoint_step == (400 if beside else None)
    assert 500 in third.published_steps()
    third.checkpoint(500, data=b"whole")
    third.end()
    assert third.published()[500] == b"whole"


def rot(pod: Pod, step: int) -> None:
    pod.store.content[storage.manifest(storage.checkpoint(pod.sync.job, step))] = b"{rot"


@pytest.mark.parametrize("continues", [False, True], ids=["this job", "checkpoint.from"])
def test_what_is_doubted_is_better_than_none_where_the_older_one_cannot_be_read(pod: Pod, continues: bool) -> None:
    third = torn_after_a_whole_one(pod, attempts=2)
    third.end()
    rot(pod, 400)
    fourth = third.next_attempt()
    if continues:
        source = str(storage.Location("fovea", pod.sync.job))
        plan = TrainingPlan("vision", "other", "uid-2", 1, checkpoint_from=source)
        fourth = Pod(pod.folder.with_name("other"), plan, pod.store)
    said = fetch(fourth)
    assert said.checkpoint_step == 500
    assert "passed over 400: " in said.message
    assert "doubted: s3://fovea/vision/jobs/digits/uid/checkpoints/500: 2 attempts began with it" in said.message
    rot(pod, 500)
    with pytest.raises(Corrupt, match=r"checkpoints/500/manifest.json .*checkpoints/400/manifest.json|400/.*500/"):
        fetch(fourth.next_attempt())


def made_progress(pod: Pod) -> None:
    progress(pod, 501)


def made_a_checkpoint(pod: Pod) -> None:
    pod.checkpoint(600)


@pytest.mark.parametrize("step", [made_progress, made_a_checkpoint], ids=lambda step: step.__name__)
def test_an_attempt_that_made_a_step_shows_that_it_was_whole(pod: Pod, step: Callable[[Pod], None]) -> None:
    second = torn_after_a_whole_one(pod)
    step(second)
    second.sync.checkpoints.find_published()
    second.sync.checkpoints.publish()
    assert 400 not in second.published_steps(), "it counts now"
    second.end()
    assert fetch(second.next_attempt()).checkpoint_step == max(second.published_steps()) >= 500


def test_a_program_that_says_no_more_than_where_it_begins_has_made_no_step(pod: Pod) -> None:
    third = torn_after_a_whole_one(pod, attempts=2)
    progress(third, 500)
    third.end()
    assert fetch(third.next_attempt()).checkpoint_step == 400


def test_a_whole_one_is_never_passed_over(pod: Pod) -> None:
    pod.checkpoint(400, 500)
    pod.end()
    for _ in range(3):
        pod = pod.next_attempt()
        assert fetch(pod).checkpoint_step == 500
        pod.end()


def test_with_nothing_before_it_the_job_starts_from_the_beginning_after_three_attempts_and_loses_nothing(
    pod: Pod,
) -> None:
    fourth = torn(pod, attempts=3)
    fourth.end()
    fifth = fourth.next_attempt()
    said = fetch(fifth)
    assert said.checkpoint_step is None
    assert "started from the beginning (passed over 500: " in said.message
    fifth.sync.look()
    assert fifth.published() == {500: b"tor"}
    fifth.checkpoint(100)
    fifth.end()
    assert fifth.published() == {100: b"w100", 500: b"tor"}
    sixth = fifth.next_attempt()
    assert fetch(sixth).checkpoint_step == 100
    sixth.checkpoint(600)
    sixth.end()
    assert sixth.published() == {600: b"w600"}


@pytest.mark.parametrize("beside", [True, False], ids=["beside a whole one", "alone"])
def test_a_job_that_continues_another_one_passes_over_what_that_doubted_where_there_is_another(
    pod: Pod, tmp_path: Path, beside: bool
) -> None:
    if beside:
        whole(pod, "500.pt")
    pod.named("500.pt", b"tor")
    pod.end()
    source = str(storage.Location("fovea", pod.sync.job))
    plan = TrainingPlan("vision", "other", "uid-2", 1, checkpoint_from=source)
    first = Pod(tmp_path / "other" / "attempt-1", plan, pod.store)
    for _ in range(2):
        assert fetch(first).checkpoint_step == 500
        first.end()
        first = first.next_attempt()
    assert fetch(first).checkpoint_step == (400 if beside else 500)
    assert 500 in pod.published_steps(), "it is the other job's to replace"


def test_a_store_that_does_not_take_the_doubt_fails_nothing(pod: Pod) -> None:
    second = torn_after_a_whole_one(pod)

    def refuse(what: str) -> None:
        if "/doubts/" in what:
            raise Misconfigured("what?")

    second.store.before = refuse
    second.end()
    assert second.termination.output is not None
