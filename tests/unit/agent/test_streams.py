"""Shards that the sidecar fetches while the program runs: which, in what order, and what makes room for them."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fovea_agent.errors import Misconfigured, Replaced, VolumeProblem
from fovea_agent.inputs import Inputs
from fovea_agent.settings import WorkVolume
from fovea_agent.streams import Streams, choose
from fovea_api.contract import environment, exit_codes, listing, storage, streams
from fovea_api.contract.plan import INPUT_PUBLICATION, Input, TrainingPlan
from hypothesis import given
from hypothesis import strategies as st
from support.memory_store import MemoryStore
from support.polling import until

JOB = storage.job("vision", "digits", "uid")
DATA = "vision/datasets/pets"
NAMES = [f"train-{number}.tfrecord" for number in range(5)]
SHARDS = {name: b"%d" % number * 10 for number, name in enumerate(NAMES)}
BESIDE = {"classes.txt": b"cat\ndog\n", "train-0.tfrecord.index": b"index", "train-0.tfrecord.labels": b"labels"}
ITEM = Input("train", f"s3://fovea/{DATA}", room=25)


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    wanted=st.lists(st.integers(0, 5), max_size=8, unique=True),
    here=st.lists(st.integers(0, 5), max_size=6, unique=True),
    room=st.integers(1, 20),
)
def test_shards_that_are_wanted_come_one_after_the_other_and_the_room_is_kept(
    sizes: list[int], wanted: list[int], here: list[int], room: int
) -> None:
    known = {str(number): size for number, size in enumerate(sizes)}
    names = [str(number) for number in wanted if str(number) in known]
    disk = [str(number) for number in here if str(number) in known]
    while sum(known[name] for name in disk) > room:
        disk.pop()
    first = [name for number, name in enumerate(names) if sum(known[each] for each in names[: number + 1]) <= room]
    for _ in range(20):
        name, removed = choose(names, known, disk, (), room)
        assert not set(removed) & set(first)
        disk = [each for each in disk if each not in removed]
        if not name:
            assert not removed
            break
        disk.append(name)
        taken = sum(known[each] for each in disk)
        assert taken <= room or disk == [name] == names[:1]
    else:
        pytest.fail("it never ends")
    assert set(names[:1]) <= set(disk)
    assert set(first) <= set(disk)


def test_what_is_on_its_way_takes_room_and_is_waited_for_where_it_is_not_wanted_any_more() -> None:
    sizes = {"a": 6, "b": 6, "c": 3}
    assert choose(["a", "b"], sizes, [], {"a"}, 10) == ("", [])  # b does not fit beside a
    assert choose(["b"], sizes, ["c"], {"a"}, 10) == ("", ["c"])
    assert choose(["b"], sizes, ["a"], (), 10) == ("b", ["a"])
    assert choose(["a"], {"a": 60}, [], (), 10) == ("a", [])


class Pod:
    """A pod with one streamed input: the program is the test."""

    def __init__(self, root: Path, store: MemoryStore, item: Input = ITEM) -> None:
        self.work, self.store, self.item = WorkVolume(root / "work", root / "agent"), store, item
        self.work.prepare()
        self.inputs = self.work.directory(environment.INPUT_DIR)
        self.place = streams.folder(self.inputs, item.name)
        plan = TrainingPlan(namespace="vision", job="digits", uid="uid", attempt=0, inputs=(item,))
        self.streams = Streams(plan, store, self.work)

    def fetch(self) -> None:
        Inputs(self.store, JOB, self.inputs, self.work.staging, 1, self.work.streams).fetch(self.item)

    def want(self, *names: str) -> None:
        streams.write(self.place / streams.WANTED_FILE, streams.wanted_to_json(names))

    def here(self) -> dict[str, bytes]:
        folder = self.inputs / self.item.name
        return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def state(self) -> streams.State:
        file = self.place / streams.STATE_FILE
        return streams.State.from_json(file.read_text()) if file.exists() else streams.State()


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.content = {f"{DATA}/{name}": data for name, data in (SHARDS | BESIDE).items()}
    return store


@pytest.fixture
def pod(tmp_path: Path, store: MemoryStore) -> Iterator[Pod]:
    pod = Pod(tmp_path, store)
    yield pod
    pod.streams.stop()


def test_what_is_no_shard_is_there_before_the_program_and_the_input_is_the_one_that_is_fetched_whole(
    pod: Pod, store: MemoryStore, tmp_path: Path
) -> None:
    pod.fetch()
    assert pod.here() == BESIDE
    listed = streams.Shards.from_json((pod.place / streams.SHARDS_FILE).read_text())
    assert listed == streams.Shards(dict.fromkeys(NAMES, 10), 25)
    whole = Pod(tmp_path / "whole", store, Input("train", ITEM.uri))
    whole.fetch()
    assert whole.here() == SHARDS | BESIDE
    assert listing.read(pod.inputs, "train") == listing.read(whole.inputs, "train")
    again = Pod(tmp_path / "again", store)  # a later attempt, by the listing that is published
    again.fetch()
    assert (again.here(), listing.read(again.inputs, "train")) == (BESIDE, listing.read(whole.inputs, "train"))


def test_shards_come_in_the_order_in_which_they_are_wanted_and_go_for_others(pod: Pod) -> None:
    pod.fetch()
    pod.streams.start()
    until(lambda: pod.state().beat > 0, what="a beat")
    assert pod.here() == BESIDE
    pod.want(NAMES[3], NAMES[1], NAMES[0])
    until(lambda: pod.here() == BESIDE | {name: SHARDS[name] for name in (NAMES[3], NAMES[1])}, what="two fit")
    pod.want(NAMES[1], NAMES[0], "../elsewhere", "unknown.tfrecord")
    until(lambda: pod.here() == BESIDE | {name: SHARDS[name] for name in (NAMES[1], NAMES[0])}, what="one made room")
    (pod.inputs / "train" / NAMES[1]).unlink()  # by the program
    until(lambda: NAMES[1] in pod.here(), what="it comes again")
    assert pod.streams.failure is None


def test_a_sidecar_that_is_started_again_knows_what_is_there(pod: Pod, store: MemoryStore, tmp_path: Path) -> None:
    pod.fetch()
    pod.streams.start()
    pod.want(NAMES[0], NAMES[1])
    until(lambda: {NAMES[0], NAMES[1]} <= pod.here().keys(), what="both are there")
    pod.streams.stop()
    del store.content[f"{DATA}/{NAMES[0]}"]  # it is not fetched once more
    again = Pod(tmp_path, store)
    again.streams.start()
    again.want(NAMES[1], NAMES[2])
    until(lambda: NAMES[2] in again.here(), what="the next one is there")
    assert NAMES[0] not in again.here()
    again.streams.stop()


def test_a_shard_that_has_changed_ends_the_stream_with_the_reason_of_a_replaced_input(
    pod: Pod, store: MemoryStore
) -> None:
    pod.fetch()
    pod.streams.start()
    store.content[f"{DATA}/{NAMES[2]}"] = b"x" * 10
    pod.want(NAMES[2])
    until(lambda: pod.state().failed, what="it is said")
    assert isinstance(pod.streams.failure, Replaced)
    assert pod.streams.failure.message.startswith("input 'train' is no longer what this job began with")
    assert (pod.state().failed, pod.state().exit_code) == (pod.streams.failure.message, exit_codes.DATA_CORRUPT)
    assert NAMES[2] not in pod.here()


def test_a_link_in_the_place_of_a_folder_is_not_followed(pod: Pod, tmp_path: Path) -> None:
    pod.fetch()
    (tmp_path / "outside").mkdir()
    (pod.inputs / "train").rename(pod.inputs / "moved")
    (pod.inputs / "train").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="train"):
        pod.streams.start()
    (pod.inputs / "train").unlink()
    (pod.inputs / "moved").rename(pod.inputs / "train")
    pod.streams.start()
    (pod.inputs / "train").rename(pod.inputs / "moved")
    (pod.inputs / "train").symlink_to(tmp_path / "outside")
    pod.want(NAMES[0])
    until(lambda: pod.streams.failure, what="it is noticed")
    assert isinstance(pod.streams.failure, VolumeProblem)
    assert not list((tmp_path / "outside").iterdir())


def test_a_list_that_is_none_is_named(pod: Pod) -> None:
    pod.fetch()
    pod.streams.start()
    (pod.place / streams.WANTED_FILE).write_text("[")
    until(lambda: pod.streams.failure, what="it is noticed")
    assert isinstance(pod.streams.failure, Misconfigured)
    assert "the program wrote wanted.json, but the list of wanted shards is malformed" in pod.streams.failure.message


def test_a_pipe_in_the_place_of_the_list_holds_up_nothing(pod: Pod) -> None:
    pod.fetch()
    pod.streams.start()
    os.mkfifo(pod.place / streams.WANTED_FILE)
    until(lambda: pod.streams.failure, what="it is noticed")
    assert isinstance(pod.streams.failure, VolumeProblem)


NO_SHARDS = {
    "a folder without shards": ({f"{DATA}/a.png": b"a"}, ITEM),
    "a single object": (
        {f"{DATA}/train-0.tfrecord": b"a"},
        Input("train", f"s3://fovea/{DATA}/train-0.tfrecord", room=1),
    ),
}


@pytest.mark.parametrize(("content", "item"), NO_SHARDS.values(), ids=NO_SHARDS.keys())
def test_data_without_shards_is_refused_with_the_next_step(
    tmp_path: Path, content: dict[str, bytes], item: Input
) -> None:
    store = MemoryStore()
    store.content = content
    with pytest.raises(
        Misconfigured, match=r"has the mode Stream, but .* has no shard .* fovea data convert"
    ) as refused:
        Pod(tmp_path, store, item).fetch()
    assert refused.value.message.endswith("or take the input out of spec.inputModes")


def test_what_a_job_or_model_left_is_refused(tmp_path: Path, store: MemoryStore) -> None:
    pod = Pod(tmp_path, store, Input("train", "s3://fovea/vision/jobs/a/output/0", INPUT_PUBLICATION, room=1))
    with pytest.raises(Misconfigured, match="input 'train' cannot be streamed"):
        pod.fetch()


def test_threads_end_with_the_program(pod: Pod) -> None:
    pod.fetch()
    before = threading.active_count()
    pod.streams.start()
    assert threading.active_count() > before
    pod.streams.stop()
    until(lambda: threading.active_count() == before, what="they have ended")
