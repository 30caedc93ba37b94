"""Shards that arrive while the program trains on them: the order, what is wanted, waiting, and the recipe."""

import itertools
import shutil
import signal

import numpy as np
import pytest
from fovea.sdk import convert
from fovea_api.contract import environment, exit_codes, streams
from fovea_trainers import make_dataset
from fovea_trainers.data import order, stream, windows
from fovea_trainers.errors import InputFailed, InputSilent
from fovea_trainers.runtime.strategy import Shard
from hypothesis import given, settings
from hypothesis import strategies as st
from support import training
from support.played_stream import PlayedStream

SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any)
FLAGS = (
    *("--image-size=16", "--batch-size=4", "--no-early-stopping", "--epochs=2", "--shuffle-shards=2"),
    "--no-exif-orientation",
)


def of(sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


@settings(deadline=None, max_examples=60)
@given(sizes=SIZES, window=st.integers(1, 14), seed=st.integers(0, 9), epoch=st.integers(0, 3))
def test_an_epoch_has_each_example_once_and_never_more_shards_open_than_the_window(sizes, window, seed, epoch):
    shards = of(sizes)
    found = windows.windowed(shards, window, seed=seed, epoch=epoch)
    assert sorted(found.order) == list(range(len(shards)))
    assert np.array_equal(windows.windowed(shards, window, seed=seed, epoch=epoch).order, found.order)
    for index in range(len(shards)):
        open_now = found.needed(index, index + 1)
        assert shards[found.order[index]] in open_now
        assert len(open_now) <= window
        assert set(open_now) <= set(found.since(index))
    for start, stop in itertools.combinations(range(len(shards) + 1), 2):
        assert set(found.needed(start, stop)) >= set(shards[found.order[start:stop]])
    assert list(found.since(0)) == list(found.shards)
    assert sorted(windows.opened(shards, seed=seed, epoch=epoch)) == sorted(found.shards)


def test_an_epoch_goes_over_the_shards_in_another_order_and_mixes_those_that_are_open():
    shards = of([50] * 20)
    first, second = (windows.windowed(shards, 4, seed=1, epoch=epoch) for epoch in range(2))
    assert list(first.shards) != list(second.shards)
    assert list(first.order) != list(windows.windowed(shards, 4, seed=2, epoch=0).order)
    amid = shards[first.order[400:450]]
    assert len(np.unique(amid)) >= 4
    assert max(np.bincount(amid)) < 35
    assert len(first.needed(0, 8)) <= 2  # the first batch needs few shards


@settings(deadline=None, max_examples=30)
@given(sizes=SIZES, size=st.integers(1, 9), first=st.integers(0, 5), count=st.integers(1, 3))
def test_batches_from_any_place_are_those_of_the_whole_epoch_and_workers_share_them(sizes, size, first, count):
    found = windows.windowed(of(sizes), 3, seed=1, epoch=2).order
    whole = order.cut(found, size)
    assert [list(batch) for batch in order.divided(whole, first, Shard())] == [list(batch) for batch in whole[first:]]
    shares = [order.divided(whole, first, Shard(index, count)) for index in range(count)]
    for parts, batch in zip(zip(*shares, strict=True), whole[first:], strict=True):
        assert sorted(np.concatenate(parts)) == sorted(batch)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """80 training pictures in eight shards or more, and 12 for validation."""
    root = tmp_path_factory.mktemp("pets")
    for part, count in (("train", 80), ("val", 12)):
        make_dataset.make("pets", root / "files" / part, count=count, seed=1)
    convert.images(root / "files", root / "shards", shard_bytes=50_000)
    assert len(list((root / "shards").glob("train-*.tfrecord"))) >= 8
    return root


@pytest.fixture
def pets(tmp_path, made):
    """A copy of them, beside which runs have their folders."""
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


EACH_STEP = "--checkpoint-every-steps=1"


def trained(root):
    """A step is done, in a run that saves each step: progress is written once a second, and within one a run may need more shards."""
    return bool(training.checkpoints(root))


def run(root, played, *flags):
    more = {environment.INPUT_DIR: str(played.inputs)}
    return training.run(root, "image-classifier", *FLAGS, *flags, **more)


def room_of(played, count):
    return sum(sorted(played.sizes.values())[-count:])


def test_training_begins_with_the_first_shards_and_the_disk_never_holds_more_than_its_room(pets, capfd):
    probe = PlayedStream(pets / "shards", pets / "probe")
    room = room_of(probe, 4)
    assert room < sum(probe.sizes.values()) / 2
    played = PlayedStream(pets / "shards", pets / "inputs", room=room)
    seen = []
    with played.serving(until=lambda: bool(seen) or (trained(pets / "run") and not seen.append(played.here()))):
        assert run(pets / "run", played, EACH_STEP) == exit_codes.OK
    assert len(seen[0]) <= 3  # after the first step, no more had arrived
    assert played.most <= room
    assert len(played.arrived) > len(played.sizes)  # some made room, and came again
    assert set(played.arrived) == set(played.sizes)
    document = training.evaluation(pets / "run")
    assert document["images"] == {"train": 80, "val": 12, "test": 0}
    assert "arrive while they are trained on" in capfd.readouterr().err


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    """The bytes of a run that nothing stops, and how large the shards are."""
    root = tmp_path_factory.mktemp("whole")
    played = PlayedStream(made / "shards", root / "inputs")
    with played.serving():
        assert run(root / "run", played) == exit_codes.OK
    return training.trained_bytes(root / "run"), played


def test_a_run_that_stops_here_and_there_and_goes_on_in_other_pods_ends_with_the_same_bytes(pets, whole):
    """Within the first epoch, at its end, and within the second one."""
    expected, undisturbed = whole
    for stop in (9, 20, 27, 99):
        played = PlayedStream(pets / "shards", pets / f"inputs-{stop}", room=room_of(undisturbed, 3))
        with played.serving():
            assert run(pets / "parts", played, f"--max-steps={stop}") == exit_codes.OK
    assert training.trained_bytes(pets / "parts") == expected


def test_a_trainer_that_waits_for_a_shard_saves_at_sigterm_and_goes_on_to_the_same_bytes(pets, whole, monkeypatch):
    monkeypatch.setenv(environment.INPUT_DIR, str(pets / "inputs"))
    played = PlayedStream(pets / "shards", pets / "inputs")
    command = ("image-classifier", *FLAGS, EACH_STEP)
    with played.serving(until=lambda: len(played.arrived) < 3):
        process = training.begin(pets / "parts", *command)
        training.wait_until(lambda: len(played.arrived) == 3 and trained(pets / "parts"), process)
        waited_for = next(name for name in played.wanted() if name not in played.arrived)
        training.wait_until(lambda: played.wanted()[0] == waited_for, process)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == exit_codes.RESTART, output
    assert "asked to stop; checkpoint" in output
    assert 0 < training.checkpoints(pets / "parts")[-1] < 20
    with played.serving():
        assert run(pets / "parts", played) == exit_codes.OK
    assert training.trained_bytes(pets / "parts") == whole[0]


def test_a_shard_that_will_not_come_ends_the_program_with_the_sidecars_reason(pets, capfd):
    played = PlayedStream(pets / "shards", pets / "inputs")
    played.tell(failed="input 'data' is no longer what this job began with", exit_code=exit_codes.DATA_CORRUPT)
    assert run(pets / "run", played) == exit_codes.DATA_CORRUPT
    assert "will not come: input 'data' is no longer what this job began with" in capfd.readouterr().err


def test_a_wait_says_what_it_waits_for_and_ends_when_the_sidecar_is_silent(pets):
    said, clock = [], itertools.count(0, 4.0).__next__
    played = PlayedStream(pets / "shards", pets / "inputs")
    found = stream.find(played.folder, played.inputs, said.append)
    found.clock = clock
    name = next(iter(played.sizes))
    played.tell(waits="the store does not answer")
    with pytest.raises(InputSilent, match=f"waiting for shard {name}, but the sidecar, .* no sign of life for 12. s"):
        found.wait(name)
    assert said[0].startswith(f"waiting for shard {name} for ")
    assert said[0].endswith(
        f"0 of {len(played.sizes)} shards are here; the sidecar waits, too: the store does not answer"
    )
    assert 5 < len(said) < 15
    assert played.wanted() == [name]
    played.tell(failed="gone", exit_code=exit_codes.DATA_CORRUPT)
    with pytest.raises(InputFailed) as failed:
        found.wait(name)
    assert failed.value.exit_code == exit_codes.DATA_CORRUPT


def test_what_is_waited_for_comes_first_and_the_list_ends_with_the_room(pets):
    played = PlayedStream(pets / "shards", pets / "inputs", room=150_000)
    found = stream.find(played.folder, played.inputs, print)
    names = list(played.sizes)
    found.want(names[2:])
    wanted = played.wanted()
    assert names[2:4] == wanted[:2]
    assert sum(played.sizes[name] for name in wanted) <= 150_000
    found.want([names[0], names[0], names[1]])
    assert played.wanted() == names[:2]


INCOMPLETE = {
    "no index": (lambda name: name.endswith("1-of-00009.tfrecord.index"), (), "have no .index file beside them"),
    "no labels": (lambda name: name.endswith(".labels"), (), "have no .labels file beside them"),
    "no classes": (lambda name: name == "classes.txt", (), "classes.txt, which names the classes, is not there"),
}


@pytest.mark.parametrize(("gone", "flags", "words"), INCOMPLETE.values(), ids=INCOMPLETE.keys())
def test_what_would_make_the_trainer_read_everything_first_is_refused_with_the_next_step(
    pets, capfd, gone, flags, words
):
    for path in (pets / "shards").iterdir():
        if gone(path.name) or (".index" in words and path.name.endswith(".index")):
            path.unlink()
    assert run(pets / "run", PlayedStream(pets / "shards", pets / "inputs"), *flags) == 1
    error = capfd.readouterr().err
    assert words in error
    assert "fovea data convert" in error


def test_a_window_beyond_the_room_is_refused_and_a_smaller_one_is_named(pets, capfd):
    played = PlayedStream(pets / "shards", pets / "inputs", room=150_000)
    assert run(pets / "run", played, "--shuffle-shards=4") == 1
    error = capfd.readouterr().err
    assert "--shuffle-shards=4: 5 shards in" in error
    assert "there is room for 150,000 bytes of streamed shards: give --shuffle-shards=" in error


def test_a_recipe_that_needs_all_of_the_data_at_once_refuses_a_streamed_input(pets, capfd):
    played = PlayedStream(pets / "shards", pets / "inputs")
    more = {environment.INPUT_DIR: str(played.inputs)}
    assert training.run(pets / "run", "segmenter", **more) == 1
    assert "input data is streamed, and this recipe needs all of its data at once" in capfd.readouterr().err


def test_shards_that_lie_in_a_folder_of_the_input_are_found_there(pets):
    played = PlayedStream(pets / "shards", pets / "inputs")
    sizes = {f"below/{name}": size for name, size in played.sizes.items()}
    streams.write(played.place / streams.SHARDS_FILE, streams.Shards(sizes).to_json())
    found = stream.find(played.folder / "below", played.inputs, print)
    assert found.sizes == played.sizes
    found.want(list(played.sizes)[:1])
    assert played.wanted() == list(sizes)[:1]
