"""`fovea-agent check-store` on real stores, and on one that takes no notice of a condition."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fovea_agent.check_store import FOLDER
from fovea_agent.provision import ROOT_PASSWORD, ROOT_USER
from fovea_api.contract import exit_codes, report, storage
from support import object_store as stores
from support.object_store import ObjectStore, Versitygw, running_object_store
from support.store_proxy import Request, StoreProxy
from support.training_pod import AGENT, Ended, ended

NAMESPACE = "vision"


@pytest.fixture(scope="module", params=[ObjectStore, Versitygw], ids=["MinIO", "versitygw"])
def store(
    request: pytest.FixtureRequest, object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ObjectStore]:
    if request.param is ObjectStore:
        yield object_store
        return
    with running_object_store(tmp_path_factory.mktemp("versitygw"), request.param) as other:
        yield other


def check(tmp_path: Path, *arguments: str) -> Ended:
    message, log = tmp_path / "message", tmp_path / "log"
    with log.open("wb") as stderr:
        done = subprocess.run(
            [*AGENT, "check-store", "--termination-log", message, "--patience", "5", *arguments],
            env={**os.environ, ROOT_USER: stores.ROOT_USER, ROOT_PASSWORD: stores.ROOT_PASSWORD},
            stderr=stderr,
            timeout=120,
            check=False,
        )
    return ended(done.returncode, message, log)


@pytest.mark.parametrize("key", ["of a namespace", "of the whole store"])
def test_a_store_that_fovea_can_use_is_said_to_be_one_and_nothing_is_left_in_it(
    store: ObjectStore, tmp_path: Path, key: str
) -> None:
    if key == "of a namespace":
        keys = store.keys(NAMESPACE, tmp_path / "keys")
        found = check(tmp_path, "--object-store", str(keys), "--prefix", NAMESPACE)
    else:
        found = check(tmp_path, "--endpoint", store.endpoint, "--bucket", store.bucket)
    assert (found.code, found.termination.reason) == (exit_codes.OK, report.REASON_STORE_CHECKED), found.termination
    assert not [name for name in store.names("") if FOLDER in name]


def test_a_store_that_takes_no_notice_of_a_condition_is_named_with_what_comes_of_it(
    store: ObjectStore, tmp_path: Path
) -> None:
    def forget(request: Request) -> None:
        request.headers.pop("If-None-Match", None)

    with StoreProxy(store.port).running() as proxy:
        proxy.before = forget
        found = check(tmp_path, "--endpoint", proxy.endpoint, "--bucket", store.bucket)
    assert (found.code, found.termination.reason) == (exit_codes.CONFIGURATION, "Misconfigured")
    for words in ("If-None-Match: *", "expected status 412", "two attempts of a job", "Use another store"):
        assert words in found.termination.message


def test_a_key_that_is_refused_is_no_lack_of_the_store(store: ObjectStore, tmp_path: Path) -> None:
    keys = store.keys(NAMESPACE, tmp_path / "keys")
    (keys / storage.SECRET_ACCESS_KEY).write_text("nobody")
    found = check(tmp_path, "--object-store", str(keys), "--prefix", NAMESPACE)
    assert (found.code, found.termination.reason) == (exit_codes.KEY_REFUSED, "KeyRefused")
