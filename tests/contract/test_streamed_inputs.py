"""A streamed input on a real object store: fetch, sync and the recipe that trains while shards arrive."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fovea.sdk import convert
from fovea_api.contract import environment, exit_codes, shards, streams
from fovea_api.contract.plan import Input, TrainingPlan
from fovea_trainers import make_dataset
from support import training, warm_trainers
from support.object_store import ObjectStore, running_object_store
from support.polling import until
from support.store_proxy import Request, StoreProxy
from support.training_pod import NAMESPACE, TrainingPod

DATA = f"{NAMESPACE}/datasets/pets"
FLAGS = (
    *("--image-size=16", "--batch-size=4", "--no-early-stopping", "--epochs=2", "--shuffle-shards=2"),
    "--no-exif-orientation",
)


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Pictures in eight shards or more, and one for validation, as they are uploaded."""
    root = tmp_path_factory.mktemp("pets")
    for part, count in (("train", 80), ("val", 12)):
        make_dataset.make("pets", root / "files" / part, count=count, seed=1)
    convert.images(root / "files", root / "shards", shard_bytes=50_000)
    return {path.name: path.read_bytes() for path in (root / "shards").iterdir()}


def sizes(pets: dict[str, bytes]) -> dict[str, int]:
    return {name: len(data) for name, data in pets.items() if shards.is_tfrecord(name)}


def room(pets: dict[str, bytes], count: int) -> int:
    return sum(sorted(sizes(pets).values())[-count:])


def upload(store: ObjectStore, pets: dict[str, bytes]) -> None:
    for name, data in pets.items():
        store.put(f"{DATA}/{name}", data)


def streaming(pod: TrainingPod, room: int) -> TrainingPod:
    item = Input("data", f"s3://fovea/{DATA}", room=room)
    return replace(pod, plan=replace(pod.plan, inputs=(item,)))


@pytest.fixture
def proxy(object_store: ObjectStore) -> Iterator[StoreProxy]:
    with StoreProxy(object_store.port).running() as proxy:
        yield proxy


@pytest.fixture
def streamed(
    object_store: ObjectStore, proxy: StoreProxy, pod: TrainingPod, pets: dict[str, bytes]
) -> Iterator[TrainingPod]:
    """A pod with room for four shards of the input `data`."""
    upload(object_store, pets)
    (pod.keys / "endpoint").write_text(proxy.endpoint)
    found = streaming(pod, room(pets, 4))
    yield found
    found.kill_sync()


def here(pod: TrainingPod) -> list[str]:
    folder = pod.directory(environment.INPUT_DIR) / "data"
    return sorted(path.name for path in folder.iterdir() if shards.is_tfrecord(path.name))


def want(pod: TrainingPod, *names: str) -> None:
    place = streams.folder(pod.directory(environment.INPUT_DIR), "data")
    streams.write(place / streams.WANTED_FILE, streams.wanted_to_json(names))


def state(pod: TrainingPod) -> streams.State:
    place = streams.folder(pod.directory(environment.INPUT_DIR), "data")
    file = place / streams.STATE_FILE
    return streams.State.from_json(file.read_text()) if file.exists() else streams.State()


def program(pod: TrainingPod, *flags: str) -> "subprocess.Popen[str]":
    """The trainer's container."""
    directories = {name: str(pod.directory(name)) for name in environment.DIRECTORIES}
    progress = str(pod.work / Path(environment.PROGRESS_PATH).relative_to(environment.WORK_MOUNT))
    return subprocess.Popen(
        warm_trainers.command("image-classifier", *FLAGS, *flags),
        env={**os.environ, **directories, environment.PROGRESS_FILE: progress},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def saved(pod: TrainingPod) -> int:
    """The step of the last checkpoint; progress is written once a second, and within one a run may need more shards."""
    found = [int(path.name) for path in pod.directory(environment.CHECKPOINT_DIR).glob("*") if path.name.isdecimal()]
    return max(found, default=0)


def trained(pod: TrainingPod) -> dict[str, bytes]:
    """The variables of the last checkpoint."""
    root = pod.folder / f"linked-{pod.plan.attempt}"
    root.mkdir()
    (root / environment.CHECKPOINT_DIR.lower()).symlink_to(pod.directory(environment.CHECKPOINT_DIR))
    return training.trained_bytes(root)


def run(pod: TrainingPod) -> str:
    """The whole pod; returns the program's log."""
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync()
    process = program(pod)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == exit_codes.OK, output
    assert pod.sync_ended().code == exit_codes.OK
    return output


@pytest.mark.wide
def test_training_begins_before_most_shards_have_arrived_and_goes_on_after_a_kill_to_the_same_bytes(
    object_store: ObjectStore, proxy: StoreProxy, streamed: TrainingPod, pets: dict[str, bytes]
) -> None:
    asked: set[str] = set()
    let: set[str] = set()

    def hold(request: Request) -> None:
        """Three shards of the training set come; the others once the first step is done."""
        name = request.path.rpartition("/")[2]
        if request.method != "GET" or not shards.is_tfrecord(name) or name in let:
            return
        asked.add(name)
        if len(let) < 3:
            let.add(name)
            return
        until(lambda: saved(streamed) >= 1, seconds=120, what="the first step")

    assert streamed.fetch().code == exit_codes.OK
    assert here(streamed) == []
    proxy.before = hold
    streamed.start_sync()
    process = program(streamed, "--checkpoint-every-steps=1")
    training.wait_until(lambda: saved(streamed) >= 1, process)
    assert len(here(streamed)) <= 4
    proxy.before = lambda _: None
    most = 0

    def far() -> bool:
        nonlocal most
        most = max(most, sum(sizes(pets)[name] for name in here(streamed)))
        return saved(streamed) >= 9

    training.wait_until(far, process)
    process.kill()
    process.communicate()
    assert most <= streamed.plan.inputs[0].room < sum(sizes(pets).values())
    assert streamed.sync_ended().code == exit_codes.OK

    second = streamed.next_attempt()
    log = run(second)
    assert "resuming" in log or "resumed" in log, log
    alone = replace(streamed, plan=replace(streamed.plan, job="alone", attempt=7), sidecar=None)
    run(alone)
    assert trained(second) == trained(alone)


def test_a_shard_makes_room_for_others_and_comes_again(streamed: TrainingPod, pets: dict[str, bytes]) -> None:
    assert streamed.fetch().code == exit_codes.OK
    streamed.start_sync()
    names = list(sizes(pets))
    want(streamed, *names[:3])
    until(lambda: set(here(streamed)) >= set(names[:3]), what="three are there")
    want(streamed, *names[3:6])
    until(lambda: set(here(streamed)) >= set(names[3:6]), what="three others are there")
    assert not set(names[:3]) <= set(here(streamed))
    want(streamed, names[0], names[1])
    until(lambda: set(here(streamed)) >= set(names[:2]), what="they are there again")
    folder = streamed.directory(environment.INPUT_DIR) / "data"
    assert (folder / names[0]).read_bytes() == pets[names[0]]


def test_data_that_changes_while_it_is_trained_on_ends_the_job_with_the_reason_of_a_replaced_input(
    object_store: ObjectStore, streamed: TrainingPod, pets: dict[str, bytes]
) -> None:
    assert streamed.fetch().code == exit_codes.OK
    for name in sizes(pets):
        object_store.put(f"{DATA}/{name}", pets[name][:-1] + b"x")
    streamed.start_sync()
    process = program(streamed)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == exit_codes.DATA_CORRUPT, output
    assert "will not come: input 'data' is no longer what this job began with" in output
    ended = streamed.sync_ended()
    assert (ended.code, ended.termination.reason) == (exit_codes.DATA_CORRUPT, "InputReplaced")
    assert ended.termination.message.startswith("input 'data' is no longer what this job began with")


def test_a_store_that_is_away_for_a_while_holds_up_the_shards_and_says_so(
    tmp_path: Path, pets: dict[str, bytes]
) -> None:
    with running_object_store(tmp_path / "minio") as own:
        upload(own, pets)
        keys = own.keys(NAMESPACE, tmp_path / "keys")
        plan = TrainingPlan(namespace=NAMESPACE, job="digits", uid="u", attempt=0)
        pod = streaming(TrainingPod(plan, tmp_path, keys), room(pets, 4))
        assert pod.fetch().code == exit_codes.OK
        pod.start_sync()
        own.stop()
        name = next(iter(sizes(pets)))
        want(pod, name)
        until(lambda: "the object store has not answered since" in state(pod).waits, what="it is said")
        assert (here(pod), state(pod).failed) == ([], "")
        own.start()
        until(lambda: here(pod) == [name], what="the shard comes")
        until(lambda: not state(pod).waits, what="nothing is waited for")
        assert pod.sync_ended().code == exit_codes.OK
