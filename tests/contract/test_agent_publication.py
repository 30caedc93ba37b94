"""The publication protocol against a real object store: whole or not there, whatever happens in between."""

import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from fovea_agent import store as store_module
from fovea_agent.download import PIECE, RANGED_FROM
from fovea_agent.errors import Conflict, Corrupt, Missing
from fovea_agent.folder import MULTIPART_FROM, PART, Folder
from fovea_agent.patience import Patience
from fovea_agent.publish import Publication, publish
from fovea_agent.restore import read_manifest, restore
from fovea_agent.sending import Sending
from fovea_agent.store import Store
from fovea_api.contract import environment, exit_codes, report, storage
from fovea_api.contract.plan import Input, TrainingPlan
from support.object_store import ObjectStore, Versitygw, running_object_store
from support.polling import until
from support.store_proxy import Hold, Request, StoreProxy
from support.training_pod import TrainingPod

NAMESPACE = "vision"
BIG = MULTIPART_FROM + PART // 2


@pytest.fixture(scope="module", params=[ObjectStore, Versitygw], ids=["MinIO", "versitygw"])
def object_store(
    request: pytest.FixtureRequest, object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ObjectStore]:
    """What holds on one store has to hold on another one."""
    if request.param is ObjectStore:
        yield object_store
        return
    with running_object_store(tmp_path_factory.mktemp("versitygw"), request.param) as store:
        yield store


@pytest.fixture
def proxy(object_store: ObjectStore) -> Iterator[StoreProxy]:
    with StoreProxy(object_store.port).running() as proxy:
        yield proxy


@pytest.fixture
def pod(object_store: ObjectStore, proxy: StoreProxy, tmp_path: Path) -> Iterator[TrainingPod]:
    keys = object_store.keys(NAMESPACE, tmp_path / "keys")
    (keys / storage.SECRET_ENDPOINT).write_text(proxy.endpoint)
    pod = TrainingPod(TrainingPlan(namespace=NAMESPACE, job="digits", uid=tmp_path.name, attempt=1), tmp_path, keys)
    yield pod
    pod.kill_sync()


def write(folder: Path, files: dict[str, bytes]) -> Folder:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return Folder(folder.parent, folder.name)


def sending(object_store: ObjectStore, tmp_path: Path) -> Sending:
    return Sending(object_store.store())


def is_manifest(request: Request) -> bool:
    return request.method == "PUT" and request.path.endswith(storage.MANIFEST)


def is_part(request: Request, number: int) -> bool:
    return request.method == "PUT" and request.query.get("partNumber") == [str(number)]


def parts_seen(proxy: StoreProxy) -> list[int]:
    return sorted(int(r.query["partNumber"][0]) for r in proxy.seen if r.method == "PUT" and "partNumber" in r.query)


def test_what_is_restored_is_what_was_published(object_store: ObjectStore, tmp_path: Path) -> None:
    files = {
        "saved_model.pb": b"graph",
        "assets/empty": b"",
        "assets/größe & more+?#.txt": b"names need no taming",
        "variables/big": os.urandom(BIG),
    }
    prefix = f"{NAMESPACE}/{tmp_path.name}/model"
    published = publish(sending(object_store, tmp_path), write(tmp_path / "model", files), Publication(prefix, "1", 1))
    assert (published.files, published.size) == (4, sum(map(len, files.values())))

    store = object_store.store()
    manifest = read_manifest(store, prefix)
    assert manifest.digest == published.digest
    target = tmp_path / "models" / "3"
    restore(store, prefix, manifest, target, tmp_path / "models" / ".staging")
    restored = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert restored == files
    assert list((tmp_path / "models" / ".staging").iterdir()) == []


def test_publishing_the_same_again_is_success_and_something_else_in_its_place_is_refused(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    prefix = f"{NAMESPACE}/{tmp_path.name}/output"
    folder = write(tmp_path / "output", {"a": b"1"})
    first = publish(sending(object_store, tmp_path), folder, Publication(prefix, "1", 1))
    assert publish(sending(object_store, tmp_path), folder, Publication(prefix, "1", 1)) == first
    write(tmp_path / "output", {"a": b"2"})
    with pytest.raises(Conflict, match=first.digest):
        publish(sending(object_store, tmp_path), folder, Publication(prefix, "1", 1))
    assert object_store.get(f"{prefix}/1/a") == b"1"


def test_of_many_attempts_racing_for_one_place_one_manifest_wins_and_it_is_whole(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    prefix = f"{NAMESPACE}/{tmp_path.name}/checkpoints/7"
    start = threading.Barrier(8)

    def race(attempt: int) -> str:
        folder = write(tmp_path / f"attempt-{attempt}" / "7", {"weights": b"of attempt %d" % attempt})
        start.wait()
        try:
            return publish(sending(object_store, tmp_path), folder, Publication(prefix, str(attempt), attempt)).digest
        except Conflict:
            return ""

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(race, range(1, 9)))
    winner = outcomes.index(next(filter(None, outcomes))) + 1
    assert outcomes.count("") == 7
    store = object_store.store()
    manifest = read_manifest(store, prefix)
    assert manifest.attempt == winner
    restore(store, prefix, manifest, tmp_path / "restored", tmp_path / "staging")
    assert (tmp_path / "restored" / "weights").read_bytes() == b"of attempt %d" % winner


def test_killed_between_payload_and_manifest_nothing_is_visible_and_a_second_try_is_whole(
    object_store: ObjectStore, proxy: StoreProxy, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync()
    proxy.before = hold = Hold(is_manifest)
    pod.checkpoint(200, {"weights": b"w200", "slots": b"s200"})
    assert hold.reached.wait(60)
    pod.kill_sync()
    prefix = storage.checkpoint(pod.job, 200)
    assert set(object_store.names(f"{prefix}/")) - {"unproven"} == {"1/slots", "1/weights"}
    with pytest.raises(Missing):
        read_manifest(object_store.store(), prefix)
    resumed = pod.next_attempt().fetch()
    assert (resumed.code, resumed.termination.checkpoint_step) == (exit_codes.OK, None)

    again = replace(pod, plan=replace(pod.plan, attempt=3))  # as if the same volume were still there
    (again.work).mkdir()
    again.fetch()
    again.checkpoint(200, {"weights": b"w200", "slots": b"s200"})
    again.start_sync()
    assert again.sync_ended().code == exit_codes.OK
    assert read_manifest(object_store.store(), prefix).attempt == 3
    hold.release()


def test_a_checkpoint_that_the_trainer_prunes_while_it_is_on_its_way_arrives_whole(
    object_store: ObjectStore, proxy: StoreProxy, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    proxy.before = hold = Hold(lambda request: is_part(request, 1))
    data = os.urandom(BIG)
    pod.checkpoint(200, {"weights": data, "slots": b"s200"})
    pod.start_sync("--transfers", "1")
    assert hold.reached.wait(60)
    shutil.rmtree(pod.directory(environment.CHECKPOINT_DIR) / "200")
    hold.release()
    assert pod.sync_ended().termination.checkpoint_step == 200
    resumed = pod.next_attempt()
    assert resumed.fetch().termination.checkpoint_step == 200
    restored = resumed.directory(environment.CHECKPOINT_DIR) / "200"
    assert ((restored / "weights").read_bytes(), (restored / "slots").read_bytes()) == (data, b"s200")


def test_a_killed_sidecar_goes_on_with_the_parts_that_are_missing(
    object_store: ObjectStore, proxy: StoreProxy, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    data = os.urandom(BIG)
    pod.start_sync("--transfers", "1")
    proxy.before = hold = Hold(lambda request: is_part(request, 3))
    pod.checkpoint(1, {"weights": data, "small": b"s"})
    assert hold.reached.wait(60)
    pod.kill_sync()
    # The request that was held is not answered to anybody; the parts before it are in the store.
    proxy.before = lambda _: None
    proxy.seen.clear()
    pod.start_sync("--transfers", "1")
    assert pod.sync_ended().code == exit_codes.OK
    assert parts_seen(proxy) == [3]
    entries = {
        entry.path: entry for entry in read_manifest(object_store.store(), storage.checkpoint(pod.job, 1)).entries
    }
    assert object_store.get(f"{storage.checkpoint(pod.job, 1)}/{entries['weights'].key}") == data
    hold.release()


def test_an_attempt_stops_writing_when_a_newer_one_has_started(
    object_store: ObjectStore, proxy: StoreProxy, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync()
    proxy.before = hold = Hold(is_manifest)
    pod.checkpoint(200, {"weights": b"w200"})
    assert hold.reached.wait(60)
    newer = replace(pod.next_attempt(), folder=pod.folder / "newer")
    newer.folder.mkdir()
    assert newer.fetch().code == exit_codes.OK
    hold.release()  # what was on its way may still arrive: it is whole
    pod.checkpoint(400, {"weights": b"w400"})
    ended = pod.sync_ended(sigterm=False)
    assert (ended.code, ended.termination.reason) == (exit_codes.FENCED, "Fenced")
    assert not object_store.names(f"{storage.checkpoint(pod.job, 400)}/")
    late = pod.fetch()
    assert (late.code, late.termination.reason) == (exit_codes.FENCED, "Fenced")


def test_an_outage_in_the_middle_of_publishing_loses_nothing(tmp_path: Path) -> None:
    with running_object_store(tmp_path / "minio") as own, StoreProxy(own.port).running() as proxy:
        keys = own.keys(NAMESPACE, tmp_path / "keys")
        (keys / storage.SECRET_ENDPOINT).write_text(proxy.endpoint)
        pod = TrainingPod(TrainingPlan(namespace=NAMESPACE, job="digits", uid="u", attempt=1), tmp_path, keys)
        assert pod.fetch().code == exit_codes.OK
        pod.start_sync()
        pod.checkpoint(1, {"weights": b"w1"})
        until(
            lambda: own.names(f"{storage.checkpoint(pod.job, 1)}/{storage.MANIFEST}"), what="checkpoint 1 is published"
        )

        proxy.before = hold = Hold(lambda request: is_part(request, 2))
        data = os.urandom(BIG)
        pod.checkpoint(2, {"weights": data, "slots": b"s"})
        assert hold.reached.wait(60)
        own.stop()
        hold.release()
        until(lambda: "store unreachable" in pod.sync_log(), what="the sidecar notices")
        pod.checkpoint(3, {"weights": b"w3"})
        pod.write(environment.MODEL_DIR, {"saved_model.pb": b"graph"})
        pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
        assert pod.sidecar is not None
        pod.sidecar.terminate()  # the trainer ends while the store is down
        own.start()
        ended = pod.sync_ended(sigterm=False)

        assert (ended.code, ended.termination.reason) == (exit_codes.OK, report.REASON_PUBLISHED)
        assert "store reachable again" in pod.sync_log()
        store = own.store()
        for step, content in ((1, b"w1"), (2, data), (3, b"w3")):
            prefix = storage.checkpoint(pod.job, step)
            restore(store, prefix, read_manifest(store, prefix), tmp_path / f"r{step}", tmp_path / "staging")
            assert (tmp_path / f"r{step}" / "weights").read_bytes() == content
        assert read_manifest(store, storage.output(pod.job, 1)).complete


def test_when_the_store_stays_away_the_grace_period_ends_it_in_plain_words(tmp_path: Path) -> None:
    with running_object_store(tmp_path / "minio") as own:
        keys = own.keys(NAMESPACE, tmp_path / "keys")
        pod = TrainingPod(TrainingPlan(namespace=NAMESPACE, job="digits", uid="u", attempt=1), tmp_path, keys)
        assert pod.fetch().code == exit_codes.OK
        pod.start_sync("--grace-period", "4")
        own.stop()
        ended = pod.sync_ended()
        assert (ended.code, ended.termination.reason) == (exit_codes.RESTART, "StoreUnreachable")
        assert own.endpoint in ended.termination.message
        assert ended.termination.output is None


def test_an_interrupted_download_goes_on_where_it_stopped(
    object_store: ObjectStore, proxy: StoreProxy, pod: TrainingPod
) -> None:
    data = os.urandom(5 << 20)
    key = storage.dataset(NAMESPACE, f"{pod.plan.uid}.bin")
    object_store.put(key, data)
    gets: list[Request] = []

    def cut_the_first(request: Request) -> int | None:
        if request.method == "GET" and request.path.endswith(".bin"):
            gets.append(request)
            return 3 << 20 if len(gets) == 1 else None
        return None

    proxy.cut = cut_the_first
    pod.plan = replace(pod.plan, inputs=(Input("data", f"s3://fovea/{key}"),))
    assert pod.fetch().code == exit_codes.OK
    assert (pod.directory(environment.INPUT_DIR) / "data").read_bytes() == data
    assert [request.headers.get("Range") for request in gets] == [None, f"bytes={3 << 20}-"]
    assert gets[0].headers["If-Match"] == gets[1].headers["If-Match"]


def test_a_big_object_is_fetched_in_pieces_and_a_piece_that_was_cut_off_goes_on(
    object_store: ObjectStore, proxy: StoreProxy, pod: TrainingPod
) -> None:
    data = os.urandom(RANGED_FROM + PIECE // 2)
    key = storage.dataset(NAMESPACE, f"{pod.plan.uid}.bin")
    object_store.put(key, data)
    cut: list[str] = []

    def cut_the_second_piece(request: Request) -> int | None:
        if request.headers.get("Range", "").startswith(f"bytes={PIECE}-") and not cut:
            cut.append(request.path)
            return 3 << 20
        return None

    proxy.cut = cut_the_second_piece
    pod.plan = replace(pod.plan, inputs=(Input("data", f"s3://fovea/{key}"),))
    assert pod.fetch().code == exit_codes.OK
    assert (pod.directory(environment.INPUT_DIR) / "data").read_bytes() == data
    gets = [request.headers for request in proxy.seen if request.path.endswith(".bin") and request.method == "GET"]
    starts = [int(headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0]) for headers in gets]
    assert sorted(starts) == sorted([*range(0, len(data), PIECE), PIECE + (3 << 20)])
    assert len({headers["If-Match"] for headers in gets}) == 1


def test_an_input_that_changes_while_it_is_fetched_is_never_mixed(
    object_store: ObjectStore, proxy: StoreProxy, pod: TrainingPod
) -> None:
    folder = storage.dataset(NAMESPACE, pod.plan.uid)
    object_store.put(f"{folder}/a", b"monday")
    object_store.put(f"{folder}/b", b"monday")
    pod.plan = replace(pod.plan, inputs=(Input("data", f"s3://fovea/{folder}"),))

    def change_it(request: Request) -> None:
        if request.method == "GET" and request.path.endswith("/a"):
            object_store.put(f"{folder}/a", b"tuesday")

    proxy.before = change_it
    ended = pod.fetch()
    assert (ended.code, ended.termination.reason) == (exit_codes.RESTART, "InputChanged")
    assert not (pod.directory(environment.INPUT_DIR) / "data").exists()
    proxy.before = lambda _: None
    assert pod.fetch().code == exit_codes.OK
    assert (pod.directory(environment.INPUT_DIR) / "data" / "a").read_bytes() == b"tuesday"


def test_a_listing_of_many_pages_goes_on_after_an_outage_where_it_was(
    object_store: ObjectStore, proxy: StoreProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["0/a", "0/b", "a-b", "a.png", "a/b", "ab", "größe & more+?#", "z"]
    for name in names:
        object_store.put(f"{NAMESPACE}/{tmp_path.name}/{name}", name.encode())
    monkeypatch.setattr(store_module, "PAGE", 2)
    access = replace(object_store.root, endpoint=proxy.endpoint)
    lists = 0

    def cut_the_third(request: Request) -> int | None:
        nonlocal lists
        lists += "list-type" in request.query
        return 10 if lists == 3 else None

    proxy.cut = cut_the_third
    found = Store(access, Patience(20)).objects(f"{NAMESPACE}/{tmp_path.name}/")
    assert [item.key.removeprefix(f"{NAMESPACE}/{tmp_path.name}/") for item in found] == names
    after = [request.query.get("start-after", [""])[0].rpartition("/")[2] for request in proxy.seen]
    assert after == ["", "b", "a.png", "a.png", "ab", "z"]


def test_a_manifest_that_was_tampered_with_is_corrupt(object_store: ObjectStore, tmp_path: Path) -> None:
    prefix = f"{NAMESPACE}/{tmp_path.name}/model"
    publish(sending(object_store, tmp_path), write(tmp_path / "model", {"a": b"1"}), Publication(prefix, "1", 1))
    key = storage.manifest(prefix)
    object_store.put(key, object_store.get(key).replace(b'"size": 1', b'"size": 2'))
    with pytest.raises(Corrupt, match="its files add up to"):
        read_manifest(object_store.store(), prefix)
