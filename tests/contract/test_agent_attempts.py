"""What an attempt takes over from the one before it, and what a real object store does about it."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fovea_agent.errors import Changed, Missing
from fovea_agent.folder import MULTIPART_FROM, PART
from fovea_agent.restore import read_manifest, restore
from fovea_api.contract import environment, exit_codes, storage
from fovea_api.contract.plan import TrainingPlan
from support.object_store import ObjectStore
from support.polling import until
from support.store_proxy import Hold, Request, StoreProxy
from support.training_pod import TrainingPod, published

NAMESPACE = "vision"
BIG = MULTIPART_FROM + PART // 2


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


def sent(proxy: StoreProxy, kind: str) -> list[str]:
    """Payload that was sent, not copied: names of files, of big ones with the number of the part."""
    puts = [r for r in proxy.seen if r.method == "PUT" and f"/{kind}/" in r.path and "/files/" in r.path]
    return sorted(
        r.path.rpartition("/")[2] + "".join(r.query.get("partNumber", []))
        for r in puts
        if not any(name.lower() == "x-amz-copy-source" for name in r.headers)
    )


def test_a_second_attempt_on_an_empty_volume_sends_only_what_is_missing(
    object_store: ObjectStore, proxy: StoreProxy, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    files = {"a": b"small", "größe & more+?#": b"a name", "variables": os.urandom(BIG)}
    pod.write(environment.MODEL_DIR, files)
    pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})

    def third_part(request: Request) -> bool:
        return request.method == "PUT" and request.query.get("partNumber") == ["3"]

    proxy.before = hold = Hold(third_part)
    pod.start_sync("--transfers", "1")
    assert hold.reached.wait(60)
    pod.kill_sync()  # its time is over
    proxy.before = lambda _: None
    proxy.seen.clear()

    again = replace(pod.next_attempt(), folder=pod.folder / "second")
    again.folder.mkdir()
    assert again.fetch().code == exit_codes.OK
    again.write(environment.MODEL_DIR, files)
    again.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
    again.start_sync("--transfers", "1")
    ended = again.sync_ended()
    assert (ended.code, ended.termination.complete) == (exit_codes.OK, True)
    assert sent(proxy, "model") == ["variables3"]
    hold.release()
    store, prefix = object_store.store(), storage.model(pod.job, 2)
    restore(store, prefix, read_manifest(store, prefix), pod.folder / "restored", pod.folder / "staging")
    assert {name: (pod.folder / "restored" / name).read_bytes() for name in files} == files


def test_what_a_program_leaves_is_in_the_store_before_it_has_ended(
    object_store: ObjectStore, proxy: StoreProxy, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync()
    data = os.urandom(BIG)
    pod.write(environment.MODEL_DIR, {"variables": data, "saved_model.pb": b"graph"})
    until(
        lambda: sent(proxy, "model") == ["saved_model.pb", "variables1", "variables2", "variables3"], what="it is sent"
    )
    until(
        lambda: object_store.names(f"{storage.model(pod.job, 1)}/") == ["files/saved_model.pb", "files/variables"],
        what="it has arrived",
    )
    proxy.seen.clear()
    pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
    ended = pod.sync_ended()
    assert ended.termination.complete
    assert sent(proxy, "model") == []
    assert ended.termination.model is not None
    assert ended.termination.model.size == len(data) + 5


def test_a_store_copies_an_object_only_as_it_was(object_store: ObjectStore, tmp_path: Path) -> None:
    store, base = object_store.store(), f"{NAMESPACE}/{tmp_path.name}"
    object_store.put(f"{base}/größe & more+?#", b"content")
    found = store.find(f"{base}/größe & more+?#")
    assert found is not None
    store.copy(found.key, found.etag, f"{base}/to")
    assert object_store.get(f"{base}/to") == b"content"
    with pytest.raises(Changed):
        store.copy(found.key, "0" * 32, f"{base}/other")
    with pytest.raises(Missing):
        store.copy(f"{base}/nothing", "0" * 32, f"{base}/other")
    assert store.find(f"{base}/other") is None


@pytest.mark.parametrize("name", ["checkpoint-500/weights", "500.pt"])
def test_a_checkpoint_under_a_name_of_its_own_comes_back_under_it(
    object_store: ObjectStore, pod: TrainingPod, name: str
) -> None:
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync("--settle", "0.2")
    pod.write(environment.CHECKPOINT_DIR, {name: b"w"})
    until(lambda: published(object_store, pod) == {500}, what="checkpoint 500 is published")
    pod.kill_sync()
    again = pod.next_attempt()
    assert again.fetch().termination.checkpoint_step == 500
    assert (again.directory(environment.CHECKPOINT_DIR) / name).read_bytes() == b"w"
