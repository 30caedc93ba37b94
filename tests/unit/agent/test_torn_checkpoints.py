"""A checkpoint that was written in its place may be torn by what ended its program: it costs no whole one."""

import itertools
import os
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import pytest
from fovea_agent import checkpoint_publishing
from fovea_agent.checkpoint_publishing import Look, State
from fovea_agent.checkpoints import Survey, survey, to_prune, to_publish, was_renamed
from fovea_agent.errors import Postponed
from fovea_agent.folder import Folder
from fovea_agent.listing import Stat
from fovea_agent.proof import is_unproven
from fovea_agent.restore import read_manifest, restore
from fovea_api.contract import environment, storage
from hypothesis import given
from hypothesis import strategies as st
from support.sidecar import PLAN, Pod
from support.torn_checkpoints import torn_after_a_whole_one, whole

STEPS = st.sets(st.integers(0, 20))
TORN = ["500/", "500.pt", "checkpoint-500/", "step_500.pt"]


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path / "attempt-1", replace(PLAN, checkpoint_keep=1))


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


@pytest.mark.parametrize("again", [False, True], ids=["the same attempt", "the next attempt"])
def test_a_mark_left_by_a_publication_that_was_broken_off_goes_with_the_one_that_succeeds(
    pod: Pod, again: bool
) -> None:
    def something_else_comes_first() -> None:
        raise Postponed

    pod.checkpoint(400)
    pod.sync.checkpoints.publish()
    pod.checkpoint(500)
    with pytest.raises(Postponed):
        pod.sync.checkpoints.publish(pause=something_else_comes_first)
    prefix = storage.checkpoint(pod.sync.job, 500)
    assert is_unproven(pod.store, prefix), "it was marked before it was sent"
    if again:
        pod = pod.next_attempt()
        pod.checkpoint(500)
    pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
    pod.end()
    assert not is_unproven(pod.store, prefix)
    assert pod.published_steps() == {500}


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
