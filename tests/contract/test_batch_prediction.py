"""A batch prediction's data path: the agent and the program as processes, a real object store, a real SavedModel."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fovea_api.contract import batch, exit_codes, report, storage
from fovea_api.contract.plan import BatchPlan
from support.batch_pod import NAMESPACE, BatchPod, lines, output, running
from support.model_server import png
from support.object_store import ObjectStore


@pytest.fixture
def pod(object_store: ObjectStore, saved_model: Path, tmp_path: Path) -> Iterator[BatchPod]:
    """The only pod of a prediction of its own: pictures to JSON lines, three in a shard."""
    folder = tmp_path / "pod"
    folder.mkdir()
    data, made = storage.dataset(NAMESPACE, tmp_path.name), storage.batch(NAMESPACE, "pets", tmp_path.name)
    plan = BatchPlan(
        namespace=NAMESPACE,
        name="pets",
        uid=tmp_path.name,
        workers=1,
        input_uri=f"s3://{object_store.bucket}/{data}",
        input_format=batch.IMAGES,
        output_uri=f"s3://{object_store.bucket}/{storage.batch_output(made)}",
        output_format=batch.JSONL,
        model_digest="sha256:0",
        shard_bytes=1 << 20,
        shard_records=3,
    )
    pod = BatchPod(plan, folder, object_store.keys(NAMESPACE, tmp_path / "keys"), saved_model)
    with running(pod):
        yield pod


def put_pictures(object_store: ObjectStore, pod: BatchPod, count: int) -> dict[str, int]:
    """Grey pictures; how bright each is."""
    folder = storage.Location.parse(pod.plan.input_uri).key
    pictures = {f"{number}.png": number * 7 % 256 for number in range(1, count + 1)}
    for name, brightness in pictures.items():
        object_store.put(f"{folder}/{name}", png(brightness))
    return pictures


def test_each_picture_is_answered_once_and_the_output_is_a_publication(
    object_store: ObjectStore, pod: BatchPod
) -> None:
    pictures = put_pictures(object_store, pod, 10)
    code, ended = pod.start().ended()
    assert (code, ended.code) == (exit_codes.OK, exit_codes.OK), pod.log()
    files = output(object_store, pod)
    assert sorted(files) == [f"part-0000{number}-of-00004.jsonl" for number in range(4)]
    found = lines(files)
    assert {line["record"]: line["prediction"]["brightness"] for line in found} == pictures
    assert len(found) == 10
    said = ended.termination
    assert said.reason == report.REASON_PUBLISHED
    assert said.metrics == {"records": 10, "errors": 0, "shards": 4}
    assert said.output is not None
    assert (said.output.uri, said.output.files) == (pod.plan.output_uri, 4)
