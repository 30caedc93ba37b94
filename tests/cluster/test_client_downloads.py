"""Getting things back: data sets, results of jobs and versions, from a real MinIO with the namespace's own key."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from fovea.sdk import Client, ConflictError, InvalidError
from fovea.sdk import download as downloads
from fovea.sdk import store as stores
from fovea_api.contract import storage
from fovea_api.contract.manifest import Entry, Manifest
from support.command_line import Run
from support.jobs import training_job
from support.kube_apiserver import Cluster
from support.object_store import ObjectStore, object_store
from support.store_keys import make_secret, no_store_variables

__all__ = ["no_store_variables", "object_store"]

IMAGE = "registry.invalid/trainer:1"
FILES = {"evaluation.json": b'{"accuracy": 1.0}', "plots/bär 1.png": b"png" * 1000, "empty.txt": b"", "_SUCCESS": b""}


@pytest.fixture(autouse=True)
def with_key(cluster: Cluster, object_store: ObjectStore, tmp_path: Path) -> None:
    make_secret(cluster, object_store, tmp_path / "keys")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def publish(store: ObjectStore, prefix: str, files: dict[str, bytes]) -> Manifest:
    """As the agent does: the payload, then the manifest."""
    entries = []
    for name, data in files.items():
        store.put(f"{prefix}/files/{name}", data)
        entries.append(Entry(name, f"files/{name}", len(data), hashlib.sha256(data).hexdigest()))
    manifest = Manifest(attempt=0, entries=tuple(entries))
    store.put(storage.manifest(prefix), manifest.to_json())
    return manifest


def read(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def job(cluster: Cluster, object_store: ObjectStore) -> str:
    """Prefix of a job that has succeeded at its second attempt and published everything."""
    cluster.create(training_job("digits"))
    found = cluster.get("TrainingJob", "digits")
    assert found is not None
    prefix = storage.job(cluster.namespace, "digits", found["metadata"]["uid"])
    object_store.put(storage.fence(prefix, 0), b"")
    publish(object_store, storage.output(prefix, 0), {"old.txt": b"old"})
    manifest = publish(object_store, storage.output(prefix, 1), FILES)
    publish(object_store, storage.model(prefix, 1), {"saved_model.pb": b"model"})
    for attempt in (0, 1):
        publish(object_store, storage.tensorboard(prefix, attempt), {"events.1": b"%d" % attempt})
    for step in (200, 400):
        publish(object_store, storage.checkpoint(prefix, step), {"state": b"%d" % step})
    output = {"uri": f"s3://{object_store.bucket}/{storage.output(prefix, 1)}", "digest": manifest.digest}
    status = {"state": "SUCCEEDED", "output": {**output, "files": 4, "bytes": manifest.size}}
    cluster.patch("TrainingJob", "digits", {"status": status}, "status")
    return prefix


def test_what_a_job_published_comes_back(run: Run, job: str) -> None:
    ran = run("jobs", "download", "digits").ok()
    assert read(Path("digits-output")) == FILES
    assert ran.out == "Output of job digits: 4 files fetched to digits-output (3.0 kB).\n"
    run("jobs", "download", "digits", "m", "--what", "model").ok()
    assert read(Path("m")) == {"saved_model.pb": b"model"}
    run("jobs", "download", "digits", "c", "--what", "checkpoints").ok()
    assert read(Path("c")) == {"200/state": b"200", "400/state": b"400"}
    run("jobs", "download", "digits", "one", "--what", "checkpoints", "--step", 200).ok()
    assert read(Path("one")) == {"200/state": b"200"}
    run("jobs", "download", "digits", "l", "--what", "logs").ok()
    assert read(Path("l")) == {"attempt-0/events.1": b"0", "attempt-1/events.1": b"1"}
    run("jobs", "download", "digits", "first", "--attempt", 0).ok()
    assert read(Path("first")) == {"old.txt": b"old"}


def test_repeating_a_download_fetches_what_is_missing_and_other_files_are_not_replaced(run: Run, job: str) -> None:
    run("jobs", "download", "digits", "out").ok()
    Path("out/mine.txt").write_text("mine")
    Path("out/evaluation.json").unlink()
    again = run("jobs", "download", "digits", "out", "--format", "json").ok().json()
    assert again == {"folder": "out", "files": 4, "fetched": 1, "skipped": 3, "bytes": 17}
    Path("out/evaluation.json").write_bytes(b'{"accuracy": 0.1}')  # the same size
    before = read(Path("out"))
    refused = run("jobs", "download", "digits", "out")
    assert refused.code == 1
    assert "out holds other content in 1 of these files: evaluation.json." in refused.err
    assert "--force" in refused.err
    assert read(Path("out")) == before
    run("jobs", "download", "digits", "out", "--force").ok()
    assert read(Path("out")) == FILES | {"mine.txt": b"mine"}


def test_results_of_a_deleted_job_come_back_by_its_name_and_its_uid(run: Run, cluster: Cluster, job: str) -> None:
    uid = job.rsplit("/", 1)[1]
    cluster.delete("TrainingJob", "digits")
    ran = run("jobs", "download", "digits").ok()
    assert f"Job digits is deleted: this is what its last run left (digits@{uid})." in ran.err
    cluster.create(training_job("digits"))
    assert "has published no output yet" in run("jobs", "download", "digits", "b").err
    for name in ("digits@latest", f"digits@{uid}"):
        shutil.rmtree("digits-output")
        run("jobs", "download", name).ok()
        assert read(Path("digits-output")) == FILES
    assert "does not exist, and the store holds nothing" in run("jobs", "download", "nobody").err


def test_what_is_not_there_is_said_with_the_reason(run: Run, cluster: Cluster, job: str) -> None:
    assert "published no output of attempt 7: " in run("jobs", "download", "digits", "--attempt", 7).err
    assert (
        "published no checkpoints of step 7: "
        in run("jobs", "download", "digits", "--what", "checkpoints", "--step", 7).err
    )
    assert "a step is of checkpoints" in run("jobs", "download", "digits", "--step", 7).err
    assert "choose --step N" in run("jobs", "download", "digits", "--what", "checkpoints", "--attempt", 7).err
    assert list(Path().iterdir()) == []


def test_describe_lists_the_files_of_the_output_and_names_the_command(run: Run, cluster: Cluster, job: str) -> None:
    text = run("jobs", "describe", "digits").ok().out
    assert "Output files (4 files, 3.0 kB):" in text
    assert "plots/bär 1.png  3.0 kB" in text
    assert f"fovea jobs download digits -n {cluster.namespace}" in text.partition("Next:")[2]
    silent = run("jobs", "describe", "digits", "--store-endpoint", "http://127.0.0.1:1").ok().out
    assert "Output files: not listed: object store http://127.0.0.1:1" in silent


def test_a_damaged_object_is_not_taken_and_nothing_appears(
    run: Run, client: Client, object_store: ObjectStore, job: str
) -> None:
    object_store.put(f"{storage.output(job, 1)}/files/plots/bär 1.png", b"PNG" * 1000)
    ran = run("jobs", "download", "digits", "out")
    assert ran.code == 1
    assert "plots/bär 1.png is damaged (expected sha256:" in ran.err
    assert [name for name in read(Path("out")) if not name.startswith(".fovea-download-")] == []


def test_a_broken_download_goes_on_inside_a_file(
    client: Client, object_store: ObjectStore, job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = os.urandom(3 * 1024 * 1024)
    publish(object_store, storage.output(job, 1), {"big.bin": big})
    asked: list[int] = []
    real = stores.Store.reading

    def counted(self: stores.Store, key: str, *, offset: int = 0, etag: str = "") -> Any:
        asked.append(offset)
        return real(self, key, offset=offset, etag=etag)

    monkeypatch.setattr(stores.Store, "reading", counted)

    def dies(progress: Any) -> None:
        if progress.bytes_done >= 1024 * 1024:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.jobs.download("digits", tmp_path / "out", progress=dies)
    client.jobs.download("digits", tmp_path / "out")
    assert read(tmp_path / "out") == {"big.bin": big}
    assert asked[0] == 0
    assert asked[1] >= 1024 * 1024


def test_pictures_are_opened_or_it_is_said_why_not(run: Run, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    ran = run("jobs", "download", "digits", "--open").ok()
    assert "There is no display to open pictures on" in ran.err
    assert "digits-output/plots/bär 1.png" in ran.err
    opened: list[str] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("click.launch", lambda path: opened.append(path) or 0)
    run("jobs", "download", "digits", "--open").ok()
    assert opened == ["digits-output/plots/bär 1.png"]


def test_a_version_comes_back_and_only_with_its_digest(
    run: Run, cluster: Cluster, object_store: ObjectStore, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"graph")
    (model / "variables/variables.index").write_bytes(b"index")
    run("versions", "create", "--model", "digits", "--origin", model).ok()
    run("versions", "download", "digits-v1").ok()
    assert read(Path("digits-v1")) == read(model)
    described = run("versions", "describe", "digits-v1").ok().out
    assert "variables/variables.index  5 B" in described
    assert f"fovea versions download digits-v1 -n {cluster.namespace}" in described
    made = cluster.get("ModelVersion", "digits-v1")
    assert made is not None
    publish(object_store, storage.Location.parse(made["spec"]["uri"]).key, {"saved_model.pb": b"other"})
    refused = run("versions", "download", "digits-v1", "again")
    assert refused.code == 1
    assert "nothing was downloaded" in refused.err
    assert not Path("again").exists()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    for name in ("cat/1.png", "dog/ä ö.png", "a+b%20c&d.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode() * 100)
    return root


def test_a_data_set_is_listed_comes_back_and_is_deleted(run: Run, cluster: Cluster, pictures: Path) -> None:
    assert "No data sets in namespace" in run("data", "list").ok().err
    for name in ("pets", "pets-2"):
        run("data", "upload", pictures, name).ok()
    rows = [line.split()[:2] for line in run("data", "list").ok().out.splitlines()]
    assert rows == [["NAME", "FILES"], ["pets", "3"], ["pets-2", "3"]]
    listed = run("data", "list", "--format", "json").ok().json()
    assert [(one["name"], one["files"]) for one in listed] == [("pets", 3), ("pets-2", 3)]
    run("data", "download", "pets").ok()
    assert read(Path("pets")) == read(pictures)
    assert run("data", "download", "pets", "--format", "json").ok().json()["skipped"] == 3
    kept = run("data", "delete", "pets", stdin="n\n")
    assert kept.code == 1
    assert f"Delete data set pets (3 files, 3.5 kB, s3://fovea/{cluster.namespace}/datasets/pets) for good?" in kept.err
    assert run("data", "delete", "pets", "--yes").ok().out.startswith("Deleted data set pets: 3 files (3.5 kB)")
    assert [one["name"] for one in run("data", "list", "--format", "json").ok().json()] == ["pets-2"]
    for verb in ("download", "delete"):
        gone = run("data", verb, "pets", *(["--yes"] if verb == "delete" else []))
        assert gone.code == 1
        assert "data set pets in namespace" in gone.err
        assert "fovea data list" in gone.err


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "../jobs", "a/"])
def test_nothing_outside_the_data_sets_can_be_named(run: Run, job: str, object_store: ObjectStore, name: str) -> None:
    before = object_store.names("")
    for verb in (("delete", "--yes"), ("download",)):
        ran = run("data", verb[0], name, *verb[1:])
        assert ran.code == 1
        assert "is not a name of a data set" in ran.err
    assert object_store.names("") == before


def test_a_data_set_in_use_is_kept(run: Run, cluster: Cluster, pictures: Path) -> None:
    run("data", "upload", pictures, "pets").ok()
    run("data", "upload", pictures, "pets-2").ok()
    uri = f"s3://fovea/{cluster.namespace}/datasets/pets"
    cluster.create(training_job("uses", inputs={"data": f"{uri}/cat"}))
    refused = run("data", "delete", "pets", "--yes")
    assert refused.code == 1
    assert "data set pets is used by job uses: wait" in refused.err
    run("data", "delete", "pets-2", "--yes").ok()  # a name that begins alike is another one
    cluster.patch("TrainingJob", "uses", {"status": {"state": "SUCCEEDED"}}, "status")
    version = {"model": "m", "version": 1, "uri": f"{uri}/model", "digest": "sha256:" + "0" * 64}
    cluster.create(
        {"apiVersion": "fovea.dev/v1alpha1", "kind": "ModelVersion", "metadata": {"name": "m-v1"}, "spec": version}
    )
    assert "is used by version m-v1" in run("data", "delete", "pets", "--yes").err
    cluster.delete("ModelVersion", "m-v1")
    run("data", "delete", "pets", "--yes").ok()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["a", "a/b"], "a and a/b: one name cannot be a file and a folder"),
        (["x//y"], "is not a path of a file"),
    ],
)
def test_keys_that_no_folder_can_hold_are_named_and_nothing_is_written(
    client: Client, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: list[str], message: str
) -> None:
    prefix = storage.dataset(cluster.namespace, "odd")
    objects = [stores.StoredObject(f"{prefix}/{key}", 1, "e") for key in keys]
    monkeypatch.setattr(stores.Store, "listing", lambda *_: iter(objects))
    with pytest.raises(InvalidError, match=message):
        client.data.download("odd", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_link_in_the_folder_does_not_lead_a_download_out_of_it(client: Client, job: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/plots").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidError, match="out/plots is a link"):
        client.jobs.download("digits", tmp_path / "out", force=True)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_data_set_that_is_changed_meanwhile_is_not_mixed(
    client: Client, cluster: Cluster, object_store: ObjectStore, pictures: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    client.data.upload(pictures, "pets")
    real = downloads.download

    def later(store: Any, wanted: Any, folder: Any, **how: Any) -> Any:
        object_store.put(f"{cluster.namespace}/datasets/pets/cat/1.png", b"CAT/1.png" * 100)
        return real(store, wanted, folder, **how)

    monkeypatch.setattr(downloads, "download", later)
    with pytest.raises(ConflictError, match="was changed meanwhile: repeat"):
        client.data.download("pets", tmp_path / "out")
