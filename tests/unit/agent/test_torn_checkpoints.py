"""A checkpoint that was written in its place may be torn by what ended its program: it costs no whole one."""

import itertools
import json
import os
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import pytest
from fovea_agent import checkpoint_publishing
from fovea_agent.begun import RAN_LONG
from fovea_agent.checkpoint_publishing import Look, State
from fovea_agent.checkpoints import Survey, survey, to_prune, to_publish, was_renamed
from fovea_agent.errors import Corrupt, Misconfigured
from fovea_agent.fetch import Fetch
from fovea_agent.folder import Folder
from fovea_agent.listing import Stat
from fovea_agent.proof import is_unproven
from fovea_agent.restore import read_manifest, restore
from fovea_api.contract import environment, storage
from fovea_api.contract.plan import TrainingPlan
from fovea_api.contract.report import Termination
from hypothesis import given
from hypothesis import strategies as st
from support.sidecar import PLAN, Pod

STEPS = st.sets(st.integers(0, 20))
TORN = ["500/", "500.pt", "checkpoint-500/", "step_500.pt"]


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path / "attempt-1", replace(PLAN, checkpoint_keep=1))


def fetch(pod: Pod) -> Termination:
    return Fetch(pod.sync.plan, pod.store, pod.work).run()[0]


def progress(pod: Pod, step: int) -> None:
    (pod.work.root / pod.work.progress).write_text(json.dumps({"step": step, "steps": 1000}) + "\n")


def whole(pod: Pod, name: str) -> None:
    """Step 400 under a name like this one, in the store and known to be whole."""
    pod.named(name.replace("500", "400"), b"w400")
    for _ in range(2):
        pod.sync.checkpoints.publish()


def torn(pod: Pod, name: str = "500.pt", attempts: int = 1) -> Pod:
    """Killed while it wrote step 500; returns the pod of the last of the next attempts, all of which began with that."""
    pod.named(name, b"tor")
    for _ in range(attempts):
        pod.end()
        pod = pod.next_attempt()
        assert fetch(pod).checkpoint_step == 500
    return pod


def torn_after_a_whole_one(pod: Pod, name: str = "500.pt", attempts: int = 1) -> Pod:
    whole(pod, name)
    return torn(pod, name, attempts)


# -- what the store keeps -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TORN)
def test_one_that_may_be_torn_pushes_no_whole_one_out_of_the_store(pod: Pod, name: str) -> None:
    torn_after_a_whole_one(pod, name)
    assert pod.published() == {400: b"w400", 500: b"tor"}


def test_after_an_outage_one_that_may_be_torn_takes_no_whole_ones_place(pod: Pod) -> None:
    pod.named("400.pt", b"whole")
    pod.named("500.pt", b"tor")
    pod.end()
    assert pod.published() == {400: b"whole", 500: b"tor"}


def test_the_program_went_on_so_the_one_before_is_whole(pod: Pod) -> None:
    for step in (300, 400, 500):
        pod.named(f"{step}.pt", b"w%d" % step)
    pod.end()
    assert pod.published() == {400: b"w400", 500: b"w500"}


@pytest.mark.parametrize("name", TORN)
def test_a_program_that_finished_was_not_killed_while_it_wrote(pod: Pod, name: str) -> None:
    whole(pod, name)
    pod.named(name, b"whole")
    pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
    pod.end()
    assert pod.published() == {500: b"whole"}


def test_one_that_stays_the_same_for_long_is_whole_and_the_one_before_goes(pod: Pod) -> None:
    now = 0.0
    pod.sync.checkpoints._still._clock = lambda: now
    pod.sync.checkpoints.settle = 5
    pod.checkpoint(400)
    pod.named("500.pt")
    seen = []
    for now in (0, 4, 5, 59, 60):  # noqa: B007 - the clock reads it
        pod.sync.checkpoints.publish()
        seen.append(pod.published_steps())
    assert seen == [{400}, {400}, {400, 500}, {400, 500}, {500}]


def test_a_folder_named_by_its_step_that_is_written_in_its_place_is_not_published_by_halves(pod: Pod) -> None:
    for size in range(1, 4):
        pod.named("500/", b"w" * size)
        pod.sync.checkpoints.publish()
        assert pod.published() == {}
    pod.sync.checkpoints.publish()
    assert pod.published() == {500: b"www"}


def test_one_that_appears_by_rename_is_whole_at_once_under_any_name(pod: Pod) -> None:
    folder = pod.work.directory(environment.CHECKPOINT_DIR)
    for step in (300, 400):
        pod.checkpoint(step)
        (folder / str(step)).rename(folder / f"checkpoint-{step}")
        pod.sync.checkpoints.publish()
        assert pod.published() == {step: b"w%d" % step}


def test_a_sidecar_that_was_restarted_takes_what_was_written_meanwhile(pod: Pod) -> None:
    pod.named("500.pt", b"half")
    pod.sync.checkpoints.settle = 3600
    pod.sync.checkpoints.publish(ended=True)  # as if it had stayed the same for a while
    pod.named("500.pt", b"the whole")
    again = Pod(pod.folder, pod.sync.plan, pod.store)
    again.end()
    assert again.published() == {500: b"the whole"}


@pytest.mark.parametrize(
    ("folder", "file", "renamed"),
    [
        pytest.param((20, 10), 10, True, id="a rename changes the folder's ctime alone"),
        pytest.param((10, 10), 10, False, id="a file was made in it last"),
        pytest.param((10, 10), 20, False, id="a file in it was written to last"),
        pytest.param((20, 10), 21, False, id="a file in it was written to after the rename"),
    ],
)
def test_whether_a_folder_was_renamed_when_all_in_it_was_written(
    tmp_path: Path, folder: tuple[int, int], file: int, renamed: bool
) -> None:
    status = os.stat_result([0] * 10, {"st_ctime_ns": folder[0], "st_mtime_ns": folder[1]})
    assert was_renamed(status, {"weights": Stat(1, 1, 1, file, file)}) is renamed


def mode_of_the_folder(folder: Path) -> None:
    """As a program does that sets modes while it writes: once the clock has ticked, this looks like a rename."""
    for mode in itertools.cycle((0o2775, 0o2777)):
        folder.chmod(mode)
        if was_renamed(folder.lstat(), Folder(folder, "").listing().stats):
            return


def test_a_folder_whose_mode_is_set_while_it_is_written_is_published_again_and_pushes_no_whole_one_out(
    pod: Pod,
) -> None:
    whole(pod, "500/")
    now = 0.0
    pod.sync.checkpoints._still._clock = lambda: now
    pod.sync.checkpoints.settle = 5
    pod.named("500/", b"ha")
    mode_of_the_folder(pod.work.directory(environment.CHECKPOINT_DIR) / "500")
    for now in (1, 4):  # noqa: B007 - the clock reads it
        pod.sync.checkpoints.publish()
        assert pod.published() == {400: b"w400", 500: b"ha"}
    pod.named("500/", b"half of it")
    for now in (6, 11.5):  # noqa: B007
        pod.sync.checkpoints.publish()
    assert pod.published() == {400: b"w400", 500: b"half of it"}
    for now in (12, 70):  # noqa: B007
        pod.sync.checkpoints.publish()
    assert pod.published() == {500: b"half of it"}


def test_one_that_appears_by_rename_makes_the_older_ones_go_once_a_second_look_found_it_the_same(pod: Pod) -> None:
    whole(pod, "500/")
    now = 0.0
    pod.sync.checkpoints._still._clock = lambda: now
    pod.sync.checkpoints.settle = 5
    pod.checkpoint(500)
    seen = []
    for now in (0, 4, 5):  # noqa: B007 - the clock reads it
        pod.sync.checkpoints.publish()
        seen.append(pod.published_steps())
    assert seen == [{400, 500}, {400, 500}, {500}]
    assert pod.sync.checkpoints._still.taken(500) is None, "it is looked at no more"


SECOND = 10**9


@pytest.mark.parametrize(
    ("modified", "changed", "proves"),
    [
        pytest.param(16, 16, True, id="it was written to when the first one had stayed the same"),
        pytest.param(15, 15, False, id="it was written to while the first one may have been, too"),
        pytest.param(4, 16, False, id="a hard link, a mode or a name was made"),
        pytest.param(99, 4, False, id="it was given a time in the future"),
    ],
)
def test_another_checkpoint_shows_that_one_is_whole_only_if_it_was_written_to_later(
    modified: int, changed: int, proves: bool
) -> None:
    ours, other = ({"w": Stat(1, 1, 1, m * SECOND, c * SECOND)} for m, c in ((10, 10), (modified, changed)))
    look = Look(Survey({}, {}), {500: State(ours, renamed=False), 510: State(other, renamed=False)})
    assert look.went_on_after(500, ours, settle=5) is proves


@given(local=STEPS, settled=STEPS, unproven=STEPS, keep=st.integers(1, 5))
def test_whatever_may_be_torn_as_many_whole_ones_are_published_and_kept_as_without_it(
    local: set[int], settled: set[int], unproven: set[int], keep: int
) -> None:
    sent = to_publish(local, settled, keep, unproven)
    stored = settled | set(sent)
    left = stored - set(to_prune(stored - unproven, stored, keep))
    whole = sorted((local | settled) - unproven)[-keep:]
    assert sorted(left - unproven) == whole
    assert not set(sent) - left, "nothing is sent to be pruned at once"


# -- what the next attempts begin with ------------------------------------------------------------------------------


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


# -- what is written to after it was published ----------------------------------------------------------------------


def published_twice_looked(pod: Pod, name: str, data: bytes) -> None:
    pod.named(name, data)
    for _ in range(2):
        pod.sync.checkpoints.publish()


def always_whole(pod: Pod, seen: list[bytes]) -> Callable[[str], None]:
    """Before every write: the step can be restored."""

    def look(_: str) -> None:
        prefix = storage.checkpoint(pod.sync.job, 500)
        (entry,) = read_manifest(pod.store, prefix).entries
        target = pod.folder / "seen" / str(len(seen))
        restore(pod.store, prefix, read_manifest(pod.store, prefix), target, pod.folder / "staging")
        seen.append((target / entry.path).read_bytes())

    return look


def chmod(file: Path) -> None:
    file.chmod(0o640)


def hard_link(file: Path) -> None:
    (file.parent / "best.link").hardlink_to(file)


def touch(file: Path) -> None:
    file.touch()


@pytest.mark.parametrize("change", [chmod, hard_link, touch], ids=lambda change: change.__name__)
def test_a_change_of_its_status_alone_writes_nothing(pod: Pod, change: Callable[[Path], None]) -> None:
    published_twice_looked(pod, "500.pt", b"weights")
    pod.store.writes.clear()
    change(pod.work.directory(environment.CHECKPOINT_DIR) / "500.pt")
    for _ in range(3):
        pod.sync.checkpoints.publish()
    assert pod.store.writes == []
    assert pod.published() == {500: b"weights"}


def test_what_is_written_to_is_published_again_and_can_be_restored_at_every_moment(pod: Pod) -> None:
    published_twice_looked(pod, "500.pt", b"half")
    seen: list[bytes] = []
    pod.store.before = always_whole(pod, seen)
    published_twice_looked(pod, "500.pt", b"the whole")
    assert pod.published() == {500: b"the whole"}
    assert set(seen[:-1]) <= {b"half"}, "the manifest is swapped after the payload is there"


def test_what_is_rewritten_while_the_program_is_killed_takes_no_whole_ones_place(pod: Pod) -> None:
    published_twice_looked(pod, "500.pt", b"the whole")
    pod.named("500.pt", b"tor")
    pod.end()
    assert pod.published() == {500: b"the whole"}


def test_one_that_another_attempt_published_meanwhile_stays(pod: Pod) -> None:
    published_twice_looked(pod, "500.pt", b"half")
    prefix = storage.checkpoint(pod.sync.job, 500)
    other = replace(read_manifest(pod.store, prefix), attempt=2)
    pod.store.content[storage.manifest(prefix)] = other.to_json()
    published_twice_looked(pod, "500.pt", b"the whole")
    assert pod.published() == {500: b"half"}


# -- looks ----------------------------------------------------------------------------------------------------------


def test_however_many_files_are_sent_ahead_one_round_looks_a_few_times_at_the_checkpoints(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Path] = []

    def look(folder: Path, apart: Collection[int]) -> Survey:
        looks.append(folder)
        return survey(folder, apart)

    monkeypatch.setattr(checkpoint_publishing, "survey", look)
    pod.sync.checkpoints.poll = 3600
    pod.write(environment.MODEL_DIR, {"saved_model.pb": b"graph"} | {f"variables/{n}": b"v" for n in range(50)})
    for _ in range(3):
        pod.sync.look()
    assert any("/model/" in what for what in pod.store.writes)
    assert len(looks) <= 6, "one a round to publish, one a round to send ahead"
