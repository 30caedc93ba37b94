"""The key of a training pod's agent: what it opens, and what is said and done when it is refused, replaced or missing."""

import signal
from dataclasses import replace

import pytest
from fovea_api.contract import environment, exit_codes, report, storage
from fovea_api.contract.plan import Input
from support.object_store import ObjectStore
from support.polling import until
from support.store_proxy import Hold, StoreProxy
from support.training_pod import NAMESPACE, TrainingPod, finish, manifest, published


def test_another_namespaces_prefix_is_denied_and_shared_data_is_read_only(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    object_store.put("medical/datasets/scans/a.png", b"secret")
    pod.plan = replace(pod.plan, inputs=(Input("data", "s3://fovea/medical/datasets/scans"),))
    ended = pod.fetch()
    assert (ended.code, ended.termination.reason) == (exit_codes.KEY_REFUSED, "KeyRefused")
    assert "s3://fovea/medical/datasets/scans" in ended.termination.message
    assert "fovea-object-store" in ended.termination.message

    intruder = replace(pod, plan=replace(pod.plan, namespace="shared", inputs=()))
    assert intruder.fetch().code == exit_codes.KEY_REFUSED
    assert object_store.names("shared/jobs/") == []


def test_a_refused_key_is_said_in_plain_words(object_store: ObjectStore, pod: TrainingPod) -> None:
    (pod.keys / storage.SECRET_SECRET_KEY).write_text("not-the-key-at-all")
    ended = pod.fetch()
    assert (ended.code, ended.termination.reason) == (exit_codes.KEY_REFUSED, "KeyRefused")
    assert "SignatureDoesNotMatch" in ended.termination.message


def test_a_key_that_is_replaced_when_the_trainer_ends_is_taken_up_once_it_is_mounted(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync()
    pod.checkpoint(200, {"weights": b"w200"})
    until(lambda: published(object_store, pod) == {200}, what="checkpoint 200 is published")
    finish(pod)
    successor = object_store.keys(
        NAMESPACE, pod.folder / "successor", ["shared"]
    )  # the mounted one is dead from now on
    assert pod.sidecar is not None
    pod.sidecar.send_signal(signal.SIGTERM)
    until(lambda: "the key is refused" in pod.sync_log(), what="a refused key")
    for file in successor.iterdir():
        (pod.keys / file.name).write_bytes(file.read_bytes())
    ended = pod.sync_ended(sigterm=False)
    assert (ended.code, ended.termination.reason) == (exit_codes.OK, report.REASON_PUBLISHED)
    assert ended.termination.complete
    assert manifest(object_store, storage.output(pod.job, 1)).complete


def test_a_key_that_is_replaced_while_inputs_are_fetched_is_taken_up_once_it_is_mounted(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    folder = storage.dataset(NAMESPACE, pod.plan.uid)
    for number in range(20):
        object_store.put(f"{folder}/{number}", b"x")
    pod.plan = replace(pod.plan, inputs=(Input("data", f"s3://fovea/{folder}"),))
    with StoreProxy(object_store.port).running() as proxy:
        (pod.keys / storage.SECRET_ENDPOINT).write_text(proxy.endpoint)
        proxy.before = hold = Hold(lambda request: request.method == "GET" and request.path.endswith("/7"))
        process = pod.start("fetch", "--transfers", "2")
        assert hold.reached.wait(60)
        successor = object_store.keys(NAMESPACE, pod.folder / "successor", ["shared"])  # the mounted one is dead now
        hold.release()
        until(lambda: "the key is refused" in (pod.folder / "fetch.log").read_text(), what="a refused key")
        (pod.keys / storage.SECRET_SECRET_KEY).write_bytes((successor / storage.SECRET_SECRET_KEY).read_bytes())
        ended = pod.ended("fetch", process)
    assert (ended.code, ended.termination.reason) == (exit_codes.OK, report.REASON_FETCHED)
    assert len(list((pod.directory(environment.INPUT_DIR) / "data").iterdir())) == 20


def test_a_key_that_is_withdrawn_when_the_trainer_ends_asks_for_another_attempt(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync("--grace-period", "4")
    pod.checkpoint(200, {"weights": b"w200"})
    until(lambda: published(object_store, pod) == {200}, what="checkpoint 200 is published")
    finish(pod)
    object_store.keys(NAMESPACE, pod.folder / "successor", ["shared"])
    ended = pod.sync_ended()
    assert (ended.code, ended.termination.reason) == (exit_codes.RESTART, "KeyRefused")


def test_a_namespace_without_a_key_is_told_so_and_who_makes_one(pod: TrainingPod) -> None:
    for file in pod.keys.iterdir():
        file.unlink()
    (pod.keys / "..2026_11_21_10_00_00.1").mkdir()  # what the kubelet makes of an optional Secret that does not exist
    (pod.keys / "..data").symlink_to("..2026_11_21_10_00_00.1")
    ended = pod.fetch()
    assert (ended.code, ended.termination.reason) == (exit_codes.KEY_REFUSED, "KeyMissing")
    for word in (pod.plan.namespace, "Secret fovea-object-store", "kubectl label namespace"):
        assert word in ended.termination.message


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (storage.SECRET_BUCKET, None, "has no value for 'bucket'"),
        (storage.SECRET_ENDPOINT, "minio:9000", "is not a URL"),
    ],
    ids=["a key of the Secret is missing", "the endpoint is no URL"],
)
def test_a_secret_that_cannot_be_used_is_a_matter_of_configuration(
    pod: TrainingPod, key: str, value: str | None, words: str
) -> None:
    (pod.keys / key).unlink()
    if value is not None:
        (pod.keys / key).write_text(value)
    ended = pod.fetch()
    assert (ended.code, ended.termination.reason) == (exit_codes.CONFIGURATION, "Misconfigured")
    assert words in ended.termination.message
