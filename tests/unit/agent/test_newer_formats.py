"""Two releases on one store: what a newer one has written is left alone by an older one, which says what to install."""

import json
from pathlib import Path

import pytest
from fovea_agent.errors import Conflict, Corrupt, TooNew
from fovea_agent.fetch import Fetch
from fovea_agent.fetch_model import fetch_model
from fovea_agent.folder import Folder
from fovea_agent.inputs import Inputs
from fovea_agent.prune import prune
from fovea_agent.publish import Publication, publish
from fovea_agent.sending import Sending
from fovea_agent.settings import WorkVolume
from fovea_api.contract import exit_codes, storage
from fovea_api.contract.manifest import Manifest, ManifestError, UnknownFormat
from fovea_api.contract.plan import INPUT_PUBLICATION, Input, ModelPlan, TrainingPlan
from support.memory_store import MemoryStore

PLAN = TrainingPlan(namespace="vision", job="digits", uid="uid", attempt=2, cache="features")
JOB = storage.job("vision", "digits", "uid")


def published(
    store: MemoryStore,
    tmp_path: Path,
    prefix: str,
    *,
    attempt: int = 1,
    complete: bool = False,
    step: int | None = None,
) -> str:
    folder = tmp_path / prefix.replace("/", "-")
    folder.mkdir(exist_ok=True)
    (folder / "weights").write_bytes(prefix.encode())
    publication = Publication(prefix, str(attempt), attempt, complete, step)
    return publish(Sending(store), Folder(tmp_path, folder.name), publication).digest


def newer(store: MemoryStore, prefix: str) -> None:
    """As a later release might write it: other fields, another format."""
    store.content[storage.manifest(prefix)] = json.dumps({"format": 3, "release": "9.1.0", "chunks": []}).encode()


def fetch(store: MemoryStore, tmp_path: Path, plan: TrainingPlan = PLAN) -> Fetch:
    work = WorkVolume(tmp_path / "work", tmp_path / "state")
    work.prepare()
    return Fetch(plan, store, work)


@pytest.mark.parametrize(
    "document", [{"format": 3}, {"format": "2"}, {"format": 2.5}, {"format": 3, "release": "9.1.0"}]
)
def test_an_unknown_format_is_not_a_malformed_manifest(document: dict[str, object]) -> None:
    with pytest.raises(UnknownFormat, match="format"):
        Manifest.from_json(json.dumps(document).encode())
    with pytest.raises(ManifestError) as caught:
        Manifest.from_json(b"{}")
    assert not isinstance(caught.value, UnknownFormat)


def test_what_an_older_release_would_misread_is_written_in_a_format_that_it_leaves_alone() -> None:
    """It knows format 1, and nothing of names: it would restore a checkpoint where its program does not look."""
    named, plain = Manifest(1, (), step=500, named=True), Manifest(1, (), step=500)
    assert json.loads(named.to_json())["format"] == 2
    assert json.loads(plain.to_json())["format"] == 1
    for manifest in (named, plain):
        assert Manifest.from_json(manifest.to_json()) == manifest


def test_names_that_were_written_in_format_1_are_read() -> None:
    """Between two releases they were."""
    written = json.loads(Manifest(1, (), step=500, named=True).to_json()) | {"format": 1}
    assert Manifest.from_json(json.dumps(written).encode()).named


def test_a_manifest_says_which_release_has_written_it() -> None:
    assert json.loads(Manifest(1, ()).to_json())["release"]


def test_a_checkpoint_of_a_newer_format_is_neither_passed_over_nor_withdrawn_and_the_release_is_named(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    for step in (100, 200, 300):
        published(store, tmp_path, storage.checkpoint(JOB, step), step=step)
    newer(store, storage.checkpoint(JOB, 200))
    store.content[storage.manifest(storage.checkpoint(JOB, 300))] = b"{rot"
    before = dict(store.content)
    one = fetch(store, tmp_path)
    with pytest.raises(TooNew) as caught:
        one.restore_checkpoint()
    assert (caught.value.exit_code, caught.value.reason) == (exit_codes.CONFIGURATION, "FormatTooNew")
    for words in ("checkpoints/200/manifest.json", "release 9.1.0 or a newer one", "spec.checkpoint.from", "delete it"):
        assert words in caught.value.message
    assert not one.work.restored.exists(), "sync withdraws what stands there"
    assert store.content == before


def test_pruning_leaves_a_newer_format_and_its_payload_alone(tmp_path: Path) -> None:
    store = MemoryStore()
    parent = storage.checkpoints(JOB)
    for step in (100, 200, 300, 400):
        published(store, tmp_path, storage.checkpoint(JOB, step), step=step)
    newer(store, storage.checkpoint(JOB, 200))
    prune(store, parent, 1)
    left = {key.removeprefix(f"{parent}/") for key in store.content}
    assert left == {"200/1/weights", "200/manifest.json", "400/1/weights", "400/manifest.json"}


def test_a_step_of_a_newer_format_is_not_published_again(tmp_path: Path) -> None:
    store = MemoryStore()
    newer(store, storage.checkpoint(JOB, 200))
    with pytest.raises(Conflict, match="leaves it alone"):
        published(store, tmp_path, storage.checkpoint(JOB, 200), step=200)


def test_an_output_of_a_newer_format_may_be_complete_so_nothing_is_run_again(tmp_path: Path) -> None:
    store = MemoryStore()
    newer(store, storage.output(JOB, 1))
    with pytest.raises(TooNew, match=r"output/1/manifest\.json"):
        fetch(store, tmp_path).find_complete()


@pytest.mark.parametrize("content", [b"{rot", b"", b"{}"])
def test_a_manifest_of_an_old_attempt_that_cannot_be_read_ends_no_later_one(tmp_path: Path, content: bytes) -> None:
    store = MemoryStore()
    store.content[storage.manifest(storage.output(JOB, 1))] = content
    assert fetch(store, tmp_path).find_complete() is None
    digest = published(store, tmp_path, storage.output(JOB, 2), attempt=2, complete=True)
    store.content[storage.manifest(storage.output(JOB, 3))] = content
    found = fetch(store, tmp_path).find_complete()
    assert found is not None
    assert found.output is not None
    assert found.output.digest == digest


def test_a_cache_of_a_newer_format_is_an_empty_one_and_stays(tmp_path: Path) -> None:
    store = MemoryStore()
    newer(store, f"{storage.cache('vision', 'features')}/1")
    fetch(store, tmp_path).restore_cache()
    assert list(store.content) == [storage.manifest(f"{storage.cache('vision', 'features')}/1")]


def test_a_model_and_an_input_of_a_newer_format_are_named_with_what_to_do(tmp_path: Path) -> None:
    store = MemoryStore()
    newer(store, "vision/models/m/1")
    plan = ModelPlan("vision", "m", 3, "s3://fovea/vision/models/m/1", "sha256:0", str(tmp_path))
    with pytest.raises(TooNew, match=r"version 3 of model 'm' is not served: .*9\.1\.0"):
        fetch_model(plan, store)
    item = Input("data", "s3://fovea/vision/models/m/1", INPUT_PUBLICATION, "sha256:0")
    with pytest.raises(TooNew, match=r"input 'data': .*9\.1\.0"):
        Inputs(store, JOB, tmp_path, tmp_path / "staging").fetch(item)


def test_corrupt_is_still_corrupt(tmp_path: Path) -> None:
    store = MemoryStore()
    store.content[storage.manifest(storage.checkpoint(JOB, 100))] = b"{rot"
    with pytest.raises(Corrupt):
        fetch(store, tmp_path).restore_checkpoint()
