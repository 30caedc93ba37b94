"""What an agent container was given: its plan, the keys of the object store and the folders of the working volume."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import urlsplit

from fovea_api.contract import environment, labels, names, storage

from fovea_agent.errors import KeyMissing, Misconfigured

DEFAULT_REGION = "us-east-1"
"""Signed into every request when the Secret names no region; stores without regions accept it."""

DEFAULT_TRANSFERS = 8
"""Objects on their way at once."""
POLL = 1.0
"""Seconds between looks for new checkpoints."""
SETTLE = 5.0
"""Seconds for which a checkpoint that does not appear by rename must have stayed the same to be whole."""
REPORT_INTERVAL = 5.0
"""Seconds between progress reports, at least."""

P = TypeVar("P")


def read_plan(parse: Callable[[str], P], env: Mapping[str, str]) -> P:
    """Read `$FOVEA_PLAN` with a plan's `from_json`."""
    text = env.get(environment.PLAN, "")
    if not text:
        raise Misconfigured(f"the environment variable {environment.PLAN} is not set: the operator fills it in")
    try:
        return parse(text)
    except ValueError as error:
        raise Misconfigured(f"{environment.PLAN}: {error}; is the agent's image older than the operator?") from error


@dataclass(frozen=True)
class StoreAccess:
    """Where the object store is and the key to it. `endpoint` is a URL."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    region: str = DEFAULT_REGION
    ca_bundle: Path | None = None

    def __post_init__(self) -> None:
        """Refuse an endpoint that is not an http(s) URL."""
        try:
            storage.address(self.endpoint)
        except ValueError as error:
            raise Misconfigured(
                f"Secret {names.OBJECT_STORE_SECRET}, key {storage.SECRET_ENDPOINT}: {error}"
            ) from error

    @property
    def secure(self) -> bool:
        """Whether the endpoint speaks TLS."""
        return urlsplit(self.endpoint).scheme == "https"

    @property
    def host(self) -> str:
        """Host and port of the endpoint."""
        return urlsplit(self.endpoint).netloc

    @classmethod
    def from_directory(cls, directory: Path, namespace: str = "") -> "StoreAccess":
        """Read the mounted Secret, one file per key; raises Misconfigured naming the key, KeyMissing without any."""
        # A Secret that does not exist is mounted as a folder with nothing but the kubelet's own `..` entries: a pod that
        # waits for it would not say why.
        if directory.is_dir() and all(entry.name.startswith("..") for entry in directory.iterdir()):
            raise KeyMissing(
                f"namespace {namespace} has no key of the object store, since it has no Secret "
                f"{names.OBJECT_STORE_SECRET}: with Fovea's own store the platform team labels the namespace "
                f"(kubectl label namespace {namespace} {labels.OBJECT_STORE}={labels.OBJECT_STORE_ENABLED}), with another "
                "store it makes the Secret"
            )

        def optional(key: str) -> str:
            try:
                return (directory / key).read_text().strip()
            except FileNotFoundError:
                return ""
            except OSError as error:
                raise Misconfigured(f"Secret {names.OBJECT_STORE_SECRET}, key {key}: {error}") from error

        def required(key: str) -> str:
            value = optional(key)
            if not value:
                raise Misconfigured(
                    f"the Secret {names.OBJECT_STORE_SECRET} has no value for {key!r}: add it in the pod's namespace"
                )
            return value

        return cls(
            endpoint=required(storage.SECRET_ENDPOINT).rstrip("/"),
            bucket=required(storage.SECRET_BUCKET),
            access_key=required(storage.SECRET_ACCESS_KEY),
            secret_key=required(storage.SECRET_SECRET_KEY),
            region=optional(storage.SECRET_REGION) or DEFAULT_REGION,
            ca_bundle=directory / storage.SECRET_CA_BUNDLE if optional(storage.SECRET_CA_BUNDLE) else None,
        )


class WorkVolume:
    """The pod's volumes: the working volume with the folders of `fovea_api.contract.environment`, and the agents' own."""

    def __init__(self, root: Path, agent: Path) -> None:
        """`agent`: the state that the pod's program must not reach."""
        self.root = root
        self.agent = agent

    def directory(self, name: str) -> Path:
        """Folder that the trainer knows by the environment variable `name`."""
        return self.root / self.relative(name)

    @staticmethod
    def relative(name: str) -> str:
        """The same, relative to the volume's root."""
        return str(PurePosixPath(environment.DIRECTORIES[name]).relative_to(environment.WORK_MOUNT))

    @property
    def progress(self) -> str:
        """The progress file, relative to the volume's root."""
        return str(PurePosixPath(environment.PROGRESS_PATH).relative_to(environment.WORK_MOUNT))

    @property
    def staging(self) -> Path:
        """What is being fetched; on the same volume, so that it appears in its place by rename."""
        return self.root / ".agent" / "staging"

    @property
    def sync_ready(self) -> Path:
        """Says that `sync` handles signals, and that all is fetched: the program may start."""
        return self._own(environment.SYNC_READY)

    @property
    def end_began(self) -> Path:
        """`/proc/uptime` as it was when the pod began to end."""
        return self._own(environment.END_BEGAN)

    @property
    def restored(self) -> Path:
        """What `fetch` restored, for `sync`."""
        return self.agent / "restored.json"

    @property
    def streams(self) -> Path:
        """Listings of streamed inputs, which `fetch` left for `sync`."""
        return self.agent / "streams"

    def is_used(self) -> bool:
        """Whether the program has left something. A kubelet that is restarted lets it start before all is fetched."""
        made = (environment.CHECKPOINT_DIR, environment.MODEL_DIR, environment.OUTPUT_DIR, environment.LOG_DIR)
        folders = [*(self.directory(name) for name in made), (self.root / self.progress).parent]
        try:
            return any(folder.is_dir() and any(folder.iterdir()) for folder in folders)
        except OSError:
            return True  # made by the program, for its own user alone

    def _own(self, path: str) -> Path:
        return self.agent / PurePosixPath(path).relative_to(environment.AGENT_MOUNT)

    def prepare(self) -> None:
        """Make the folders, writable for a trainer that runs as another user (of the same fsGroup or not)."""
        folders = [self.directory(name) for name in environment.DIRECTORIES]
        for folder in [*folders, (self.root / self.progress).parent]:
            folder.mkdir(parents=True, exist_ok=True)
            # The volume belongs to this pod alone. setgid: what appears here stays the group's. A pod that is set up again
            # finds what its program made of the folders, which may be that user's own now.
            with suppress(PermissionError):
                folder.chmod(0o2777)
        for own in (self.staging, self.agent):
            own.mkdir(parents=True, exist_ok=True)
        os.umask(0o002)
