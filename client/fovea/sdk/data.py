"""Data sets: a folder of a user's own, brought to the namespace's place in the object store."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path

from fovea_api.contract import storage

from . import dataset_users, local_files, object_names
from . import download as downloading
from . import upload as uploading
from .cluster import Cluster
from .download import Downloaded, of_listing
from .errors import InvalidError, NotFoundError
from .parallel import PARALLEL, Progress
from .store import StoredObject, open_store


@dataclass(frozen=True)
class Uploaded:
    """An uploaded data set: its address for `inputs`, and what was done."""

    uri: str
    files: int
    sent: int
    skipped: int
    bytes: int
    foreign: tuple[str, ...]
    """Keys that the data set holds and the folder does not."""
    deleted: int = 0


@dataclass(frozen=True)
class DataSet:
    """A data set: its name, address, number of files, their bytes, and when one of them changed last."""

    name: str
    uri: str
    files: int
    bytes: int
    modified: datetime | None


class Data:
    """The data sets of one namespace."""

    def __init__(self, cluster: Cluster, *, store_endpoint: str | None = None) -> None:
        self._cluster, self._endpoint = cluster, store_endpoint

    def upload(
        self,
        folder: str | Path,
        name: str,
        *,
        delete: bool = False,
        exclude: Iterable[str] = (),
        parallel: int = uploading.PARALLEL,
        progress: Callable[[uploading.Progress], None] = lambda _: None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> Uploaded:
        """Upload a folder as the data set `name`; call it again to go on after a failure or to bring changes.

        `delete` removes objects of the data set that the folder does not have. `progress` is called from several
        threads, one at a time.
        """
        object_names.new("data set", name)
        files = local_files.scan(Path(folder), exclude, notice)
        prefix = storage.dataset(self._cluster.namespace, name)
        with open_store(self._cluster, endpoint=self._endpoint, notice=notice) as store:
            result = uploading.upload(store, files, prefix, parallel=parallel, progress=progress)
            if delete and result.foreign:
                store.delete(list(result.foreign))
            uri = str(storage.Location(store.bucket, prefix))
        deleted = len(result.foreign) if delete else 0
        foreign = () if delete else result.foreign
        return Uploaded(uri, len(files), result.sent, result.skipped, result.bytes, foreign, deleted)

    def list(self, *, notice: Callable[[str], None] = lambda _: None) -> "DataSetList":
        """All data sets, by name. Every object is listed for it: a million takes about a minute."""
        above = storage.dataset(self._cluster.namespace, "")
        with open_store(self._cluster, endpoint=self._endpoint, notice=notice) as store:
            listing = (item for item in store.listing(above) if "/" in item.key.removeprefix(above))
            found = [
                _summed(name, str(storage.Location(store.bucket, f"{above}{name}")), items)
                for name, items in groupby(listing, key=lambda item: item.key.removeprefix(above).split("/", 1)[0])
            ]
        return sorted(found, key=lambda one: one.name)

    def download(
        self,
        name: str,
        folder: str | Path | None = None,
        *,
        force: bool = False,
        parallel: int = PARALLEL,
        progress: Callable[[Progress], None] = lambda _: None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> Downloaded:
        """Bring a data set into a folder (`<name>` by default); repeat it to go on after a failure or for changes.

        Each file is what the listing at the beginning named: ConflictError where one is changed meanwhile. Raises
        AlreadyExistsError for other files in their places without `force`.
        """
        prefix = self._prefix(name)
        target = Path(folder) if folder is not None else Path(name)
        with open_store(self._cluster, endpoint=self._endpoint, notice=notice) as store:
            wanted = of_listing(prefix, store.listing(f"{prefix}/"))
            if not wanted:
                raise self._missing(name)
            return downloading.download(store, wanted, target, force=force, parallel=parallel, progress=progress)

    def get(self, name: str, *, notice: Callable[[str], None] = lambda _: None) -> DataSet:
        """One data set; NotFoundError."""
        prefix = self._prefix(name)
        with open_store(self._cluster, endpoint=self._endpoint, notice=notice) as store:
            found = _summed(name, str(storage.Location(store.bucket, prefix)), store.listing(f"{prefix}/"))
        if not found.files:
            raise self._missing(name)
        return found

    def delete(self, name: str, *, force: bool = False, notice: Callable[[str], None] = lambda _: None) -> DataSet:
        """Delete a data set; what it was. InvalidError where a job that has not ended or a version uses it.

        Raises what kept it from knowing of more users, unless `force`: then `notice` says it. `notice` also says where the
        user may look for them in this namespace only.
        """
        prefix = self._prefix(name)
        with open_store(self._cluster, endpoint=self._endpoint, notice=notice) as store:
            uri = str(storage.Location(store.bucket, prefix))
            self._check_unused(name, uri, notice, force=force)
            found = _summed(name, uri, store.listing(f"{prefix}/"))
            if not found.files:
                raise self._missing(name)
            store.delete(item.key for item in store.listing(f"{prefix}/"))
        return found

    def _check_unused(self, name: str, uri: str, notice: Callable[[str], None], *, force: bool) -> None:
        users = dataset_users.of(self._cluster, uri)
        if users.named:
            raise InvalidError(
                f"data set {name} is used by {users}: wait for a job, cancel or delete it "
                "(`fovea jobs cancel NAME -n NAMESPACE`); delete a version with `kubectl delete modelversion NAME -n NAMESPACE`"
            )
        if users.unknown:
            unknown = f"whether a job or a version uses data set {name} is not known ({users.doubts})"
            if not force:
                first = users.unknown[0]
                raise type(first)(f"{unknown}: nothing was deleted; --force deletes it all the same") from first
            notice(f"WARNING: {unknown}.")
            return
        if not users.everywhere:
            notice(
                f"Only namespace {self._cluster.namespace} was searched for jobs and versions that use data set {name}: "
                "you may not list those of all namespaces."
            )

    def _prefix(self, name: str) -> str:
        """Of a data set that may have been made with another tool, under any name of one folder."""
        if not name or "/" in name or name in (".", "..") or "\0" in name:
            raise InvalidError(
                f"{name!r} is not a name of a data set: `fovea data list -n {self._cluster.namespace}` shows their names"
            )
        return storage.dataset(self._cluster.namespace, name)

    def _missing(self, name: str) -> NotFoundError:
        namespace = self._cluster.namespace
        return NotFoundError(
            f"data set {name} in namespace {namespace} does not exist: `fovea data list -n {namespace}` shows what there is"
        )


def _summed(name: str, uri: str, items: Iterable[StoredObject]) -> DataSet:
    files = size = 0
    modified: datetime | None = None
    for item in items:
        files, size = files + 1, size + item.size
        modified = max(filter(None, (modified, item.modified)), default=None)
    return DataSet(name, uri, files, size, modified)


DataSetList = list[DataSet]
