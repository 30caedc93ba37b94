"""Keys of a namespace: made once, kept while they work, never reaching further than they must."""

import base64
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fovea_agent.errors import KeyRefused, Misconfigured, Missing
from fovea_agent.kubernetes_secrets import ClusterSecrets
from fovea_agent.namespace_keys import NamespaceKeys
from fovea_agent.patience import Patience
from fovea_agent.provision import KeyFiles, Provision
from fovea_agent.settings import StoreAccess
from fovea_agent.store import Store
from fovea_api.contract import exit_codes, labels, names, storage
from fovea_api.contract.report import Termination
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin
from support.object_store import ROOT_PASSWORD, ROOT_USER, ObjectStore, running_object_store
from support.training_pod import AGENT


def data(keys: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in keys.iterdir()}


def with_key(keys: Path) -> Store:
    return Store(StoreAccess.from_directory(keys), Patience(10))


def test_a_key_reaches_its_namespace_and_reads_what_is_shared_and_no_more(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    store = with_key(object_store.keys("team-a", tmp_path, ["shared/data"]))
    object_store.put("team-a/datasets/x", b"mine")
    object_store.put("team-b/datasets/x", b"theirs")
    object_store.put("team-a-evil/datasets/x", b"theirs")
    object_store.put("shared/data/x", b"ours")
    assert store.read("team-a/datasets/x") == b"mine"
    assert store.read("shared/data/x") == b"ours"
    assert store.put_if_absent("team-a/new", b"")
    store.remove(["team-a/new"])
    refused: list[Callable[[], object]] = [
        lambda: store.read("team-b/datasets/x"),
        lambda: store.read("team-a-evil/datasets/x"),
        lambda: store.objects("team-b/"),
        lambda: store.objects(""),
        lambda: store.objects("team-a"),
        lambda: store.put_if_absent("team-b/new", b""),
        lambda: store.put_if_absent("shared/data/new", b""),
        lambda: store.remove(["shared/data/x"]),
        lambda: store.begin_multipart("team-b/new"),
    ]
    for operation in refused:
        with pytest.raises(KeyRefused):
            operation()


def test_what_a_key_may_list_but_is_refused_to_read_is_missing_when_it_is_not_there(object_store: ObjectStore) -> None:
    """S3 answers 403, not 404, for a missing object when the right to list is bound to a prefix."""
    listing = {
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{object_store.bucket}"],
        "Condition": {"StringLike": {"s3:prefix": ["team-g/*"]}},
    }
    root = object_store.root
    MinioAdmin(
        endpoint=root.host,
        credentials=StaticProvider(root.access_key, root.secret_key),
        region=root.region,
        secure=False,
    ).add_service_account(
        access_key="may-only-list",
        secret_key="may-only-list-secret",
        policy={"Version": "2012-10-17", "Statement": [listing]},
    )
    store = Store(replace(root, access_key="may-only-list", secret_key="may-only-list-secret"), Patience(10))
    object_store.put("team-g/there", b"x")
    with pytest.raises(KeyRefused):
        store.read("team-g/there")
    with pytest.raises(Missing):
        store.read("team-g/absent")
    with pytest.raises(KeyRefused):
        store.read("team-h/absent")


def test_a_key_that_works_is_kept_and_its_rules_follow(object_store: ObjectStore, tmp_path: Path) -> None:
    before = data(object_store.keys("team-c", tmp_path))
    object_store.put("later/x", b"shared later")
    with pytest.raises(KeyRefused):
        with_key(tmp_path / "team-c").read("later/x")
    assert data(object_store.keys("team-c", tmp_path, ["later"])) == before
    assert with_key(tmp_path / "team-c").read("later/x") == b"shared later"


def test_a_lost_secret_gets_a_new_key_and_the_old_one_is_dead(object_store: ObjectStore, tmp_path: Path) -> None:
    old = object_store.keys("team-d", tmp_path / "old")
    new = object_store.keys("team-d", tmp_path / "new")
    assert with_key(new).objects("team-d/") == []
    with pytest.raises(KeyRefused):
        with_key(old).objects("team-d/")


def test_a_secret_of_another_origin_is_left_alone(object_store: ObjectStore, tmp_path: Path) -> None:
    own = {storage.SECRET_ACCESS_KEY: "from-the-platform-team", storage.SECRET_SECRET_KEY: "x"}
    KeyFiles(tmp_path).write("team-e", own)
    assert not Provision(object_store.root, Patience(10)).provide("team-e", KeyFiles(tmp_path))
    assert data(tmp_path / "team-e") == own


def test_the_command_waits_for_the_store_and_prints_secrets(tmp_path: Path) -> None:
    with running_object_store(tmp_path / "minio") as own:
        own.stop()
        message = ["--termination-log", tmp_path / "message"]
        command = subprocess.Popen(
            [
                *AGENT,
                "provision",
                "--endpoint",
                own.endpoint,
                "--print",
                *message,
                "--namespace",
                "a",
                "--namespace",
                "b",
            ],
            env={**os.environ, "MINIO_ROOT_USER": ROOT_USER, "MINIO_ROOT_PASSWORD": ROOT_PASSWORD},
            stdout=subprocess.PIPE,
            text=True,
        )
        own.start()
        printed, _ = command.communicate(timeout=120)
        assert command.returncode == exit_codes.OK
        termination = Termination.from_json((tmp_path / "message").read_text())
        assert termination is not None
        assert termination.reason == "Provisioned"
        documents = [json.loads(text) for text in printed.split("---\n") if text.strip()]
        assert [document["metadata"]["namespace"] for document in documents] == ["a", "b"]
        for document in documents:
            assert (document["kind"], document["metadata"]["name"]) == ("Secret", names.OBJECT_STORE_SECRET)
            content = {key: base64.b64decode(value).decode() for key, value in document["data"].items()}
            KeyFiles(tmp_path).write(document["metadata"]["namespace"], content)
        assert with_key(tmp_path / "a").objects("a/") == []
        with pytest.raises(KeyRefused):
            with_key(tmp_path / "a").objects("b/")


def test_without_the_root_key_provision_says_which_variable_is_missing(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MINIO")}
    done = subprocess.run(
        [*AGENT, "provision", "--endpoint", "http://127.0.0.1:9", "--print", "--termination-log", tmp_path / "message"],
        env=environment,
        stderr=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == exit_codes.CONFIGURATION
    assert "MINIO_ROOT_USER" in (tmp_path / "message").read_text()


class ApiServer:
    """The two requests that a Secret needs of an API server: as it answers them."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, str, str]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                self.answer(200, api.secrets[path]) if path in api.secrets else self.answer(404, {"reason": "NotFound"})

            def do_PATCH(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                path = self.path.partition("?")[0]
                if "/namespaces/absent/" in path:
                    return self.answer(404, {"message": 'namespaces "absent" not found'})
                api.secrets[path] = body
                return self.answer(200, body)

            def answer(self, status: int, document: dict[str, Any]) -> None:
                api.requests.append(
                    (self.command, self.path, self.headers["Authorization"], self.headers.get("Content-Type", ""))
                )
                data = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def api() -> Iterator[ApiServer]:
    api = ApiServer()
    thread = threading.Thread(target=api.server.serve_forever, daemon=True)
    thread.start()
    yield api
    api.server.shutdown()
    api.server.server_close()
    thread.join()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("token-of-provision\n")
    return file


def test_in_a_cluster_the_secret_is_applied_and_then_kept(
    object_store: ObjectStore, api: ApiServer, token: Path
) -> None:
    target = ClusterSecrets(api.url, token, None)
    provision = Provision(object_store.root, Patience(10))
    assert provision.provide("team-f", target)
    assert not provision.provide("team-f", target)
    path = f"/api/v1/namespaces/team-f/secrets/{names.OBJECT_STORE_SECRET}"
    bearer = "Bearer token-of-provision"
    assert api.requests == [
        ("GET", path, bearer, ""),
        ("PATCH", f"{path}?fieldManager=fovea-provision&force=true", bearer, "application/apply-patch+yaml"),
        ("GET", path, bearer, ""),
    ]
    with pytest.raises(Misconfigured, match="create the namespace first"):
        provision.provide("absent", target)


def test_a_labelled_namespace_gets_a_key_and_a_disabled_one_loses_it(
    object_store: ObjectStore, api: ApiServer, token: Path, tmp_path: Path
) -> None:
    target = ClusterSecrets(api.url, token, None)
    keys = NamespaceKeys(Provision(object_store.root, Patience(10)), target)

    def label(value: str, **more: str) -> None:
        metadata = {"name": "team-l", "labels": {labels.OBJECT_STORE: value}} | more
        api.secrets["/api/v1/namespaces"] = {"items": [{"metadata": metadata}]}

    def store() -> Store:
        found = target.read("team-l")
        assert found is not None
        KeyFiles(tmp_path).write("team-l", found)
        return with_key(tmp_path / "team-l")

    label("enabled")
    assert [keys.round(), keys.round()] == [1, 0]
    assert store().objects("team-l/") == []
    label("disabled")
    keys.round()
    with pytest.raises(KeyRefused):
        store().objects("team-l/")
    token.write_text("renewed")
    label("enabled")
    assert keys.round() == 1
    assert store().objects("team-l/") == []
    assert api.requests[-1][2] == "Bearer renewed"
    label("enabled", deletionTimestamp="2026-11-21T10:00:00Z")
    assert target.labelled(labels.OBJECT_STORE) == {}
