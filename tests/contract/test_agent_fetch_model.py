"""A serving pod's init container: a version appears only when every byte of it is what was registered."""

import hashlib
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from fovea_agent.folder import Folder
from fovea_agent.publish import Publication, Sending, publish
from fovea_api.contract import exit_codes, report, storage
from fovea_api.contract.plan import ModelPlan
from support.object_store import ObjectStore
from support.polling import until
from support.training_pod import fetch_model, started_fetch_model

NAMESPACE = "serving"
FILES = {"saved_model.pb": b"graph", "variables/variables.index": b"index"}


@pytest.fixture
def plan(object_store: ObjectStore, tmp_path: Path) -> ModelPlan:
    prefix = storage.model(storage.job(NAMESPACE, "digits", tmp_path.name), 1)
    (tmp_path / "model" / "variables").mkdir(parents=True)
    for name, data in FILES.items():
        (tmp_path / "model" / name).write_bytes(data)
    published = publish(Sending(object_store.store()), Folder(tmp_path, "model"), Publication(prefix, "files", 1))
    return ModelPlan(NAMESPACE, "digits", 3, published.uri, published.digest, str(tmp_path / "models"))


@pytest.fixture
def keys(object_store: ObjectStore, tmp_path: Path) -> Path:
    return object_store.keys(NAMESPACE, tmp_path / "keys")


def served(plan: ModelPlan) -> dict[str, bytes]:
    root = Path(plan.target) / plan.model
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_version_is_put_where_the_model_server_looks(plan: ModelPlan, keys: Path, tmp_path: Path) -> None:
    for _ in range(2):  # a restarted pod finds it in its place
        ended = fetch_model(plan, tmp_path, keys)
        assert (ended.code, ended.termination.reason) == (exit_codes.OK, report.REASON_FETCHED)
        assert served(plan) == {f"3/{name}": data for name, data in FILES.items()}


def test_as_a_sidecar_it_stays_small_until_it_is_asked_to_end(plan: ModelPlan, keys: Path, tmp_path: Path) -> None:
    sidecar = started_fetch_model(plan, tmp_path, keys, "--stay")
    try:
        command = Path(f"/proc/{sidecar.pid}/cmdline")
        until(lambda: b"sigwait" in command.read_bytes(), seconds=60, what="what only waits")
        assert served(plan) == {f"3/{name}": data for name, data in FILES.items()}
        resident = int(Path(f"/proc/{sidecar.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        assert resident < 16 * 2**20
        sidecar.send_signal(signal.SIGTERM)
        assert sidecar.wait(10) == 0
    finally:
        sidecar.kill()


def test_a_version_that_was_damaged_on_the_node_is_fetched_again(plan: ModelPlan, keys: Path, tmp_path: Path) -> None:
    fetch_model(plan, tmp_path, keys)
    (Path(plan.target) / plan.model / "3" / "saved_model.pb").write_bytes(b"graqh")
    assert fetch_model(plan, tmp_path, keys).code == exit_codes.OK
    assert served(plan) == {f"3/{name}": data for name, data in FILES.items()}


def test_a_run_that_ended_while_it_looked_leaves_the_version_for_the_next_one(
    plan: ModelPlan, keys: Path, tmp_path: Path
) -> None:
    """Also for one that damaged it: what does not verify is never where a server looks."""
    fetch_model(plan, tmp_path, keys)
    place, doubted = Path(plan.target) / plan.model / "3", Path(plan.target) / ".staging/3-doubted"
    for damage in (None, b"graqh"):
        place.rename(doubted)
        if damage is not None:
            (doubted / "saved_model.pb").write_bytes(damage)
        ended = fetch_model(plan, tmp_path, keys)
        assert (ended.code, "already" in ended.termination.message) == (exit_codes.OK, damage is None)
        assert served(plan) == {f"3/{name}": data for name, data in FILES.items()}
        assert not doubted.exists()


def test_what_a_cache_on_the_node_has_is_not_fetched_again_and_verified_like_the_rest(
    object_store: ObjectStore, plan: ModelPlan, keys: Path, tmp_path: Path
) -> None:
    cache, whole = tmp_path / "cache", {f"3/{name}": data for name, data in FILES.items()}
    first, second, third = (
        replace(plan, target=str(tmp_path / pod), cache=str(cache), cache_bytes=1 << 20) for pod in ("a", "b", "c")
    )
    assert fetch_model(first, tmp_path, keys).code == exit_codes.OK

    def found(of: ModelPlan) -> list[dict[str, object]]:
        ended = fetch_model(of, tmp_path, keys)
        assert (ended.code, served(of)) == (exit_codes.OK, whole)
        return [line for line in ended.log if line["event"] == "model cache"]

    [said] = found(second)
    assert (said["found"], said["of"]) == (10, 10)
    graph = cache / hashlib.sha256(FILES["saved_model.pb"]).hexdigest()
    graph.write_bytes(b"graqh")
    found(third)
    assert graph.read_bytes() == FILES["saved_model.pb"], "it was mended"


def test_a_corrupted_object_is_never_served_and_said_where(
    object_store: ObjectStore, plan: ModelPlan, keys: Path, tmp_path: Path
) -> None:
    key = f"{storage.Location.parse(plan.uri).key}/files/saved_model.pb"
    object_store.put(key, b"graqh")
    ended = fetch_model(plan, tmp_path, keys)
    assert (ended.code, ended.termination.reason) == (exit_codes.DATA_CORRUPT, report.REASON_MODEL_CORRUPT)
    assert f"s3://fovea/{key} is corrupt" in ended.termination.message
    for data in FILES["saved_model.pb"], b"graqh":
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" in ended.termination.message
    assert served(plan) == {}


def test_another_model_in_its_place_is_refused(plan: ModelPlan, keys: Path, tmp_path: Path) -> None:
    ended = fetch_model(replace(plan, digest="sha256:0"), tmp_path, keys)
    assert (ended.code, ended.termination.reason) == (exit_codes.DATA_CORRUPT, report.REASON_MODEL_CORRUPT)
    assert plan.digest in ended.termination.message
    assert served(plan) == {}


def test_a_deleted_model_is_missing(object_store: ObjectStore, plan: ModelPlan, keys: Path, tmp_path: Path) -> None:
    object_store.store().remove([storage.manifest(storage.Location.parse(plan.uri).key)])
    ended = fetch_model(plan, tmp_path, keys)
    assert (ended.code, ended.termination.reason) == (exit_codes.INPUT_MISSING, report.REASON_MODEL_MISSING)
    assert served(plan) == {}
