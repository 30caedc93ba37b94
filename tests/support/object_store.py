"""Real object stores as processes of the test's own: a free loopback port, a folder of its own, to be stopped at will.

MinIO, which Fovea embeds, and versitygw, which shares no code with it.
"""

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3
from fovea_agent.patience import Patience
from fovea_agent.provision import KeyFiles, Provision
from fovea_agent.settings import DEFAULT_REGION, StoreAccess
from fovea_agent.store import Store
from fovea_api.contract import storage
from fovea_dev.ports import free_ports
from minio import Minio

ROOT_USER = "root-of-the-tests"
ROOT_PASSWORD = "password-of-the-tests"
START_SECONDS = 60
REPOSITORY = Path(__file__).resolve().parents[2]


def program(name: str) -> Path:
    """The server program: `$FOVEA_<NAME>`, or the one that the repository's tools build (minutes, once)."""
    given = os.environ.get(f"FOVEA_{name.upper()}")
    if given:
        return Path(given)
    built = subprocess.run(
        [sys.executable, "-m", "fovea_dev", "tools", "--only", name],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "dev")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Path(built.stdout.strip().splitlines()[-1]) / name


class ObjectStore:
    """One MinIO. `stop` and `start` keep address and content; keys come from the agent's own `provision`."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder = folder
        self.program = program
        (self.port,) = free_ports(1)
        self.bucket = storage.BUCKET
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder / "store.log"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def root(self) -> StoreAccess:
        """The key that may do everything."""
        return StoreAccess(self.endpoint, self.bucket, ROOT_USER, ROOT_PASSWORD, DEFAULT_REGION)

    @property
    def client(self) -> Minio:
        """A client with the root key."""
        return Minio(
            f"127.0.0.1:{self.port}",
            access_key=ROOT_USER,
            secret_key=ROOT_PASSWORD,
            secure=False,
            region=DEFAULT_REGION,
        )

    def store(self, patience: float = 20) -> Store:
        """The agent's view of it, with the root key."""
        return Store(self.root, Patience(patience))

    def start(self) -> None:
        """Start the process and wait until it serves."""
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        arguments, variables = self._command()
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **variables}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([self.program, *arguments], env=environment, stdout=log, stderr=log)
        self._wait()

    def _command(self) -> tuple[list[str], dict[str, str]]:
        variables = {
            "MINIO_ROOT_USER": ROOT_USER,
            "MINIO_ROOT_PASSWORD": ROOT_PASSWORD,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }
        return ["server", str(self.folder / "data"), "--address", f"127.0.0.1:{self.port}", "--quiet"], variables

    HEALTH = "/minio/health/ready"

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        with urllib3.PoolManager(retries=False, timeout=2) as pool:
            while True:
                try:
                    if pool.request("GET", f"{self.endpoint}{self.HEALTH}").status == 200:
                        return
                except urllib3.exceptions.HTTPError:
                    pass
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self.program.name} did not start:\n{self.log.read_text()[-2000:]}")
                time.sleep(0.1)

    def stop(self) -> None:
        """Kill the process, as a node's loss would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def keys(self, namespace: str, folder: Path, shared_prefixes: Sequence[str] = ()) -> Path:
        """A folder with the files of a namespace's Secret."""
        Provision(self.root, Patience(20), shared_prefixes).provide(namespace, KeyFiles(folder))
        return folder / namespace

    def put(self, key: str, data: bytes) -> None:
        """Write an object with the root key."""
        self.client.put_object(self.bucket, key, io.BytesIO(data), len(data))

    def get(self, key: str) -> bytes:
        """Read an object with the root key."""
        response = self.client.get_object(self.bucket, key)
        try:
            return response.read()
        finally:
            response.close()
            response.release_conn()

    def names(self, prefix: str) -> list[str]:
        """Keys below a prefix, without it."""
        found = self.client.list_objects(self.bucket, prefix=prefix, recursive=True)
        return sorted(item.object_name.removeprefix(prefix) for item in found)


class Versitygw(ObjectStore):
    """An object store that keeps objects as files; one account, so every namespace has the root key."""

    HEALTH = "/health"

    def _command(self) -> tuple[list[str], dict[str, str]]:
        options = ["--port", f"127.0.0.1:{self.port}", "--health", self.HEALTH, "--quiet"]
        variables = {"ROOT_ACCESS_KEY": ROOT_USER, "ROOT_SECRET_KEY": ROOT_PASSWORD}
        return [*options, "posix", str(self.folder / "data")], variables

    def keys(self, namespace: str, folder: Path, shared_prefixes: Sequence[str] = ()) -> Path:
        """A folder with the files of a namespace's Secret."""
        data = {
            storage.SECRET_ENDPOINT: self.endpoint,
            storage.SECRET_BUCKET: self.bucket,
            storage.SECRET_ACCESS_KEY: ROOT_USER,
            storage.SECRET_SECRET_KEY: ROOT_PASSWORD,
        }
        KeyFiles(folder).write(namespace, data)
        return folder / namespace


@contextmanager
def running_object_store(folder: Path, kind: type[ObjectStore] = ObjectStore) -> Iterator[ObjectStore]:
    """An object store with the bucket made, ended at exit."""
    store = kind(folder, program("minio" if kind is ObjectStore else "versitygw"))
    store.start()
    try:
        store.store().make_bucket()
        yield store
    finally:
        store.stop()


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """One MinIO for all tests of a run: keep apart by namespaces, and don't stop it."""
    with running_object_store(tmp_path_factory.mktemp("minio")) as store:
        yield store
