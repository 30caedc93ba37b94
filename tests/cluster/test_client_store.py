"""`fovea data upload` and `fovea versions create` against a real MinIO and a real API server."""

import threading
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fovea.sdk import Client, InvalidError, StoreError
from fovea.sdk import store as stores
from fovea_api.contract import storage
from fovea_api.contract.manifest import Manifest
from support.command_line import Run
from support.kube_apiserver import Cluster
from support.kubelet_server import kubelet_server
from support.object_store import ROOT_PASSWORD, ROOT_USER, ObjectStore, object_store
from support.store_keys import make_secret, no_store_variables

__all__ = ["no_store_variables", "object_store"]


@pytest.fixture
def with_key(cluster: Cluster, object_store: ObjectStore, tmp_path: Path) -> None:
    make_secret(cluster, object_store, tmp_path / "keys")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five small files in class folders."""
    root = tmp_path / "pictures"
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/ä ö.png", "empty.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"" if name == "empty.txt" else name.encode() * 100)
    return root


@pytest.fixture
def saved_model(tmp_path: Path) -> Path:
    """A folder that looks like a SavedModel, with a file that is called like our manifest."""
    root = tmp_path / "model"
    (root / "variables").mkdir(parents=True)
    (root / "saved_model.pb").write_bytes(uuid.uuid4().bytes)
    (root / "variables" / "variables.index").write_bytes(b"index")
    (root / storage.MANIFEST).write_text("{}")
    return root


def test_a_folder_goes_to_the_namespaces_place_with_the_key_of_its_secret(
    run: Run, cluster: Cluster, object_store: ObjectStore, folder: Path, with_key: None
) -> None:
    ran = run("data", "upload", folder, "pictures").ok()
    uri = f"s3://{object_store.bucket}/{cluster.namespace}/datasets/pictures"
    assert ran.out == f"{uri}: 5 files sent (4.0 kB), 0 were there already.\n"
    assert f"--input data={uri}" in ran.err
    prefix = f"{cluster.namespace}/datasets/pictures/"
    assert object_store.names(prefix) == ["cat/1.png", "cat/2.png", "dog/1.png", "dog/ä ö.png", "empty.txt"]
    assert object_store.get(f"{prefix}dog/ä ö.png") == "dog/ä ö.png".encode() * 100


def test_what_is_there_is_skipped_and_what_changed_is_sent(run: Run, folder: Path, with_key: None) -> None:
    run("data", "upload", folder, "pictures").ok()
    again = run("data", "upload", folder, "pictures", "--format", "json").ok().json()
    assert (again["sent"], again["skipped"]) == (0, 5)
    (folder / "cat" / "1.png").write_bytes(b"CAT/1.png" * 100)  # the same size
    (folder / "new.png").write_bytes(b"new")
    changed = run("data", "upload", folder, "pictures", "--format", "json").ok().json()
    assert (changed["sent"], changed["skipped"]) == (2, 4)


def test_a_file_in_several_parts_is_recognised_by_its_etag(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, with_key: None
) -> None:
    root = tmp_path / "big"
    root.mkdir()
    (root / "big.bin").write_bytes(bytes(range(256)) * 4096 * 34)  # 34 MiB: three parts
    assert client.data.upload(root, "big").sent == 1
    assert client.data.upload(root, "big").skipped == 1


def test_an_interrupted_upload_goes_on_where_it_stopped(
    client: Client, monkeypatch: pytest.MonkeyPatch, folder: Path, with_key: None
) -> None:
    real = stores.Store.put_file

    def failing(self: stores.Store, key: str, *more: Any) -> None:
        if key.endswith("dog/1.png"):
            raise StoreError("the connection broke")
        real(self, key, *more)

    monkeypatch.setattr(stores.Store, "put_file", failing)
    with pytest.raises(StoreError):
        client.data.upload(folder, "pictures", parallel=1)
    monkeypatch.setattr(stores.Store, "put_file", real)
    rest = client.data.upload(folder, "pictures")
    # The two before the failure are there; the one after it may have been begun before the failure was seen.
    assert (rest.sent, rest.skipped) in ((3, 2), (2, 3))


def test_objects_that_the_folder_lacks_are_named_and_removed_on_request(
    run: Run, cluster: Cluster, object_store: ObjectStore, folder: Path, with_key: None
) -> None:
    run("data", "upload", folder, "pictures").ok()
    (folder / "cat" / "2.png").unlink()
    some = run("data", "upload", folder, "pictures", "--exclude", "empty.*", "--exclude", "dog/*").ok()
    assert "4 objects of the data set are not in the folder: --delete removes them." in some.err
    run("data", "upload", folder, "pictures", "--delete").ok()
    assert "cat/2.png" not in object_store.names(f"{cluster.namespace}/datasets/pictures/")
    assert len(object_store.names(f"{cluster.namespace}/datasets/pictures/")) == 4


def test_the_usual_variables_are_enough_without_a_secret(
    run: Run, object_store: ObjectStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = run("data", "upload", folder, "pictures")
    assert refused.code == 1
    assert "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL" in refused.err
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ROOT_USER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ROOT_PASSWORD)
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store.endpoint)
    run("data", "upload", folder, "pictures").ok()


def test_a_wrong_key_and_a_store_that_is_down_are_explained(
    run: Run, object_store: ObjectStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing-at-all")
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store.endpoint)
    ran = run("data", "upload", folder, "pictures")
    assert ran.code == 1
    assert "InvalidAccessKeyId" in ran.err
    assert "the key comes from the AWS_ variables" in ran.err
    down = run("data", "upload", folder, "pictures", "--store-endpoint", "http://127.0.0.1:1")
    assert down.code == 1
    assert "object store http://127.0.0.1:1 (the AWS_ variables) does not answer" in down.err


def test_the_key_of_one_namespace_does_not_write_into_another(
    client: Client, cluster: Cluster, object_store: ObjectStore, with_key: None
) -> None:
    with stores.open_store(client.cluster) as store, pytest.raises(StoreError, match="AccessDenied"):
        store.put_if_absent("somebody-else/datasets/x", b"x")


def test_a_store_inside_the_cluster_is_reached_by_a_port_forward(
    run: Run, cluster: Cluster, object_store: ObjectStore, folder: Path, tmp_path: Path
) -> None:
    inside = f"http://minio.{cluster.namespace}.svc.cluster.local:9000"
    make_secret(cluster, object_store, tmp_path / "keys", endpoint=inside)
    with kubelet_server(cluster.server, f"node-{cluster.namespace}") as node:
        container = {"name": "minio", "image": "x", "ports": [{"containerPort": 9001, "name": "s3"}]}
        spec = {"nodeName": node.name, "containers": [container]}
        cluster.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "minio-0", "labels": {"app": "s"}}, "spec": spec}
        )
        ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        cluster.patch("Pod", "minio-0", ready, "status")
        service = {"selector": {"app": "s"}, "ports": [{"port": 9000, "targetPort": "s3"}]}
        cluster.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "minio"}, "spec": service})
        parts = urlsplit(object_store.endpoint)
        node.ports["minio-0", 9001] = (str(parts.hostname), int(parts.port or 0))
        ran = run("data", "upload", folder, "pictures").ok()
    assert f"The object store {inside} is inside the cluster: reaching it by a port-forward." in ran.err
    assert len(object_store.names(f"{cluster.namespace}/datasets/pictures/")) == 5


def test_a_saved_model_becomes_the_next_version_by_the_publication_protocol(
    run: Run, cluster: Cluster, object_store: ObjectStore, saved_model: Path, with_key: None
) -> None:
    ran = run(
        "versions", "create", "--model", "digits", "--origin", saved_model, "--metric", "accuracy=0.97",
        "--source", "a notebook",
    ).ok()  # fmt: skip
    assert ran.out == "Model digits has version 1: digits-v1.\n"
    made = cluster.get("ModelVersion", "digits-v1")
    assert made is not None
    spec = made["spec"]
    assert (spec["metrics"], spec["approval"], spec["lineage"]["source"]) == (
        {"accuracy": 0.97},
        "Approved",
        "a notebook",
    )
    key = storage.Location.parse(spec["uri"]).key
    manifest = Manifest.from_json(object_store.get(storage.manifest(key)))
    assert (manifest.digest, manifest.size) == (spec["digest"], spec["bytes"])
    for entry in manifest.entries:
        assert object_store.get(f"{key}/{entry.key}") == (saved_model / entry.path).read_bytes()
    assert {entry.path for entry in manifest.entries} == {
        "saved_model.pb",
        "variables/variables.index",
        "manifest.json",
    }


def test_the_same_files_are_not_registered_twice(run: Run, cluster: Cluster, saved_model: Path, with_key: None) -> None:
    run("versions", "create", "--model", "digits", "--origin", saved_model).ok()
    again = run("versions", "create", "--model", "digits", "--origin", saved_model).ok()
    assert "registered as digits-v1 already" in again.err
    assert len(cluster.list("ModelVersion")) == 1


def test_racing_registrations_get_numbers_of_their_own(
    cluster: Cluster, tmp_path: Path, client: Client, with_key: None
) -> None:
    models = []
    for number in range(4):
        model = tmp_path / f"model-{number}"
        model.mkdir()
        (model / "saved_model.pb").write_text(str(number))
        models.append(model)
    threads = [threading.Thread(target=client.versions.create, args=("digits", model)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [version.spec.version for version in client.versions.list("digits")] == [4, 3, 2, 1]


def test_a_number_is_not_given_twice_while_a_later_one_exists(
    client: Client, cluster: Cluster, tmp_path: Path, with_key: None
) -> None:
    for number in range(3):
        (tmp_path / "saved_model.pb").write_text(str(number))
        client.versions.create("digits", tmp_path)
        if number == 1:
            cluster.delete("ModelVersion", "digits-v1")
    assert [version.spec.version for version in client.versions.list("digits")] == [3, 2]


def test_a_publication_of_other_content_in_the_same_place_is_left_alone(
    client: Client, cluster: Cluster, object_store: ObjectStore, saved_model: Path, with_key: None
) -> None:
    first = client.versions.create("digits", saved_model)
    key = storage.manifest(storage.Location.parse(first.spec.uri).key)
    foreign = Manifest(attempt=3, entries=()).to_json()
    object_store.put(key, foreign)
    with pytest.raises(StoreError, match="holds a publication of other content"):
        client.versions.create("digits", saved_model)
    assert object_store.get(key) == foreign


@pytest.fixture
def reviewed(client: Client, saved_model: Path, with_key: None) -> str:
    return client.versions.create("digits", saved_model).metadata.name


def test_versions_are_listed_described_and_reviewed(run: Run, reviewed: str) -> None:
    assert run("versions", "list", "--model", "digits").ok().out.splitlines()[1].split()[:4] == [
        "digits-v1", "digits", "1", "Approved",
    ]  # fmt: skip
    assert "Digest:" in run("versions", "describe", reviewed).ok().out
    run("versions", "reject", reviewed).ok()
    assert run("versions", "describe", reviewed, "--format", "json").ok().json()["spec"]["approval"] == "Rejected"
    assert "none approved" in run("models", "describe", "digits").ok().out
    run("versions", "approve", reviewed).ok()
    assert [line.split()[:3] for line in run("models", "list").ok().out.splitlines()[1:]] == [["digits", "1", "v1"]]


def test_a_folder_that_is_no_saved_model_is_refused_with_a_hint(client: Client, tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "saved_model.pb").touch()
    with pytest.raises(InvalidError, match=r"saved_model.pb lies in its folder 3, not directly in it"):
        client.versions.create("digits", tmp_path)
