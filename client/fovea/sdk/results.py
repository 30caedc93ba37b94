"""What a job has published: its output, model, logs and checkpoints; found in the store, also when the job is deleted."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea_api.contract import storage
from fovea_api.contract.manifest import Manifest, ManifestError

from . import download as downloading
from . import object_names, published_logs
from .cluster import Cluster
from .download import Downloaded, Wanted, of_manifest
from .errors import InvalidError, NotFoundError, StoreError
from .log_files import save_logs
from .logs import LogLine
from .object_names import LATEST
from .store import Store

if TYPE_CHECKING:
    from .job import Job

OUTPUT, MODEL, LOGS, CHECKPOINTS = WHATS = ("output", "model", "logs", "checkpoints")
"""What of a job can be downloaded."""
_FOLDERS = {OUTPUT: "output", MODEL: "model", LOGS: "tensorboard", CHECKPOINTS: "checkpoints"}
"""Folders of a job's prefix that hold one publication per number: an attempt, or a step of a checkpoint."""
_START = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Publication:
    """One publication: the number of its attempt or step, its prefix in the store, its manifest."""

    number: int
    prefix: str
    manifest: Manifest


def published(store: Store, prefix: str) -> Manifest | None:
    """The manifest of a publication; None where there is none. StoreError where it cannot be read."""
    key = storage.manifest(prefix)
    data = store.read_if_there(key)
    if data is None:
        return None
    try:
        return Manifest.from_json(data)
    except ManifestError as error:
        raise StoreError(f"s3://{store.bucket}/{key} cannot be read: {error}") from error


class Results:
    """The results of one job, which need not exist any more."""

    def __init__(self, cluster: Cluster, name: str, job: "Job | None", which: str = "") -> None:
        """`job` as it is in the cluster; None: it is not there. `which` of several of that name: a uid, or `latest`."""
        self._cluster, self._name = cluster, object_names.existing("job", name)
        self._job = job if job is not None and which in ("", job.uid) else None
        self._uid = self._job.uid if self._job else which.removeprefix(LATEST)

    def find(self, store: Store, what: str, number: int | None, notice: Callable[[str], None]) -> list[Publication]:
        """The publications that `what` and the number of an attempt or step mean; empty where there is none."""
        for uid in self._uids(store):
            folder = f"{storage.job(self._cluster.namespace, self._name, uid)}/{_FOLDERS[what]}/"
            numbers = sorted((int(name) for name in store.folders(folder) if name.isdecimal()), reverse=True)
            if number is not None:
                numbers = [number]
            elif (recorded := self._recorded(what)) in numbers:
                numbers = [int(recorded or 0)]
            found = []
            for each in numbers:
                manifest = published(store, f"{folder}{each}")
                if manifest is not None:
                    found.append(Publication(each, f"{folder}{each}", manifest))
                    if what in (OUTPUT, MODEL):
                        break  # the newest; the attempts before it failed
            if found:
                if not self._uid:
                    notice(f"Job {self._name} is deleted: this is what its last run left ({self._name}@{uid}).")
                return found
        return []

    def download(
        self,
        store: Store,
        folder: Path,
        *,
        what: str,
        number: int | None,
        force: bool,
        notice: Callable[[str], None],
        **how: Any,
    ) -> Downloaded:
        """Bring them into a folder; NotFoundError says what there is instead."""
        found = self.find(store, what, number, notice)
        if not found and what != LOGS:
            raise NotFoundError(self._nothing(what, number))
        done = downloading.download(store, _files(found, what), folder, force=force, **how)
        if what != LOGS:
            return done
        said = self._job.stream_logs(follow=False, attempt=number) if self._job else self._published_logs(store, number)
        texts = save_logs(said, folder, force=force)
        if not found and not texts:
            raise NotFoundError(self._nothing(what, number))
        return Downloaded(folder, (*done.names, *texts), done.fetched + len(texts), done.skipped, done.bytes)

    def _published_logs(self, store: Store, number: int | None) -> Iterator[LogLine]:
        prefix = storage.job(self._cluster.namespace, self._name, self._uids(store)[0])
        return published_logs.all_lines(store, prefix, number)

    def _uids(self, store: Store) -> list[str]:
        """The one that is meant, or all of that name, the newest first."""
        if self._uid:
            return [object_names.existing("job's uid", self._uid)]
        namespace = self._cluster.namespace
        uids = store.folders(f"{namespace}/jobs/{self._name}/")
        if not uids:
            raise NotFoundError(
                f"job {self._name} in namespace {namespace} does not exist, and the store holds nothing of a "
                f"deleted one: see `fovea jobs list -n {namespace}`"
            )
        return sorted(uids, key=lambda each: _begun(store, storage.job(namespace, self._name, each)), reverse=True)

    def _recorded(self, what: str) -> int | None:
        """The attempt that the job's status names."""
        status = self._job.status if self._job else None
        record = {OUTPUT: status.output, MODEL: status.model}.get(what) if status else None
        last = record.uri.rsplit("/", 1)[-1] if record else ""
        return int(last) if last.isdecimal() else None

    def _nothing(self, what: str, number: int | None) -> str:
        subject = f"job {self._name} in namespace {self._cluster.namespace} has published no {what}"
        if number is not None:
            subject += f" of {'step' if what == CHECKPOINTS else 'attempt'} {number}"
        if self._job is not None and not self._job.ended and what != CHECKPOINTS:
            return f"{subject} yet (it is {self._job.state}): `fovea jobs wait {self._name}` says when it has ended"
        why = {
            MODEL: "its program has written no file to $FOVEA_MODEL_DIR",
            CHECKPOINTS: "its program has written no <step>/ to $FOVEA_CHECKPOINT_DIR",
            LOGS: "its program has written no file to $FOVEA_LOG_DIR, and no pod is left to read its words from",
            OUTPUT: "no attempt of it has ended",
        }[what]
        return f"{subject}: {why}"


def check(what: str, attempt: int | None, step: int | None) -> int | None:
    """The number that the two mean for `what`; InvalidError where they do not fit."""
    if what not in WHATS:
        raise InvalidError(f"a job has no {what!r}: what can be downloaded is {', '.join(WHATS)}")
    if step is not None and what != CHECKPOINTS:
        raise InvalidError(f"a step is of checkpoints, {what} has attempts: choose --attempt N, or --what checkpoints")
    if attempt is not None and what == CHECKPOINTS:
        raise InvalidError("checkpoints are numbered by step, whichever attempt wrote them: choose --step N")
    return step if what == CHECKPOINTS else attempt


def _files(found: list[Publication], what: str) -> list[Wanted]:
    below = {LOGS: "attempt-{}/", CHECKPOINTS: "{}/"}.get(what, "")
    return [file for each in found for file in of_manifest(each.prefix, each.manifest, below.format(each.number))]


def _begun(store: Store, prefix: str) -> datetime:
    """When a run's newest attempt began: each leaves a fence object."""
    return max((item.modified or _START for item in store.listing(storage.fences(prefix))), default=_START)
