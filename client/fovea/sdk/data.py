"""Data sets: a folder of a user's own, brought to the namespace's place in the object store."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fovea_api.contract import storage

from . import local_files, object_names
from . import upload as uploading
from .cluster import Cluster
from .store import open_store


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
