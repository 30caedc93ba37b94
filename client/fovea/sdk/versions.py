"""Model versions: list them, and register a SavedModel that was trained elsewhere."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from fovea_api.contract import labels, names, saved_model, storage
from fovea_api.contract.manifest import Entry, Manifest
from fovea_api.contract.metrics import main
from fovea_api.v1alpha1 import API_VERSION, ModelVersion
from fovea_api.v1alpha1.model_version import KIND

from . import download as downloading
from . import local_files, object_names
from . import upload as uploading
from .cluster import Cluster
from .download import Downloaded, of_manifest
from .errors import AlreadyExistsError, ConflictError, InvalidError, StoreError
from .local_files import LocalFile, reading
from .parallel import PARALLEL, Progress
from .resources import Kinds
from .results import published
from .store import Store, open_store

_PAYLOAD = "files"
"""Folder of the payload below the prefix: a model's own file called manifest.json must not become the manifest."""
_TRIES = 50


class Versions:
    """The model versions of one namespace."""

    def __init__(self, cluster: Cluster, *, store_endpoint: str | None = None) -> None:
        self._cluster, self._endpoint = cluster, store_endpoint
        self.kinds: Kinds[ModelVersion] = Kinds(cluster, KIND, ModelVersion)

    def list(self, model: str | None = None) -> "VersionList":
        """All versions (of a model), by model and newest first."""
        found = [self.kinds.read(document) for document in self.kinds.list()]
        found = [version for version in found if model in (None, version.spec.model)]
        return sorted(found, key=lambda version: (version.spec.model, -version.spec.version))

    def get(self, name: str) -> ModelVersion:
        """One version by its object's name, for example digits-v3."""
        return self.kinds.read(self.kinds.get(name))

    def raw(self, name: str) -> dict[str, Any]:
        """As `get`, as it is in the cluster."""
        return self.kinds.get(name)

    def review(self, name: str, approval: Literal["Approved", "Rejected"]) -> ModelVersion:
        """Approve or reject a version: deployments of version Latest serve the newest approved one."""
        return self.kinds.read(self.kinds.patch(name, {"spec": {"approval": approval}}))

    def create(
        self,
        model: str,
        folder: str | Path,
        *,
        metrics: Mapping[str, float] | None = None,
        source: str = "",
        approval: Literal["Approved", "Rejected"] = "Approved",
        progress: Callable[[uploading.Progress], None] = lambda _: None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> ModelVersion:
        """Register a SavedModel folder as the model's next version: upload it, then record it.

        Safe to repeat: files that are in the store stay, and content that is a version already is not registered twice
        (that version is returned).
        """
        object_names.new("model", model)
        folder = Path(folder)
        check_saved_model(folder)
        files = local_files.scan(folder, notice=notice, remedy="take it out of the folder")
        manifest = manifest_of(files)
        prefix = storage.registered_model(self._cluster.namespace, model, manifest.digest)
        with open_store(self._cluster, endpoint=self._endpoint, notice=notice) as store:
            publish(store, files, manifest, prefix, progress)
            uri = str(storage.Location(store.bucket, prefix))
        spec: dict[str, Any] = {
            "model": model,
            "uri": uri,
            "digest": manifest.digest,
            "bytes": manifest.size,
            "approval": approval,
            "lineage": {"source": source or local_files.shown(str(folder))},
        }
        if metrics:
            spec["metrics"] = dict(metrics)
            name = main(metrics)
            spec["mainMetric"] = {"name": name, "value": metrics[name]}
        return self._register(model, spec, notice)

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
        """Bring the files of a version, for example digits-v3, into a folder (`<name>` by default).

        Verified against the version's digest; repeat it to go on after a failure. Raises AlreadyExistsError for other
        files in their places without `force`.
        """
        version = self.get(name)
        target = Path(folder) if folder is not None else Path(name)
        with open_store(self._cluster, endpoint=self._endpoint, notice=notice) as store:
            prefix, manifest = _published(store, version)
            wanted = of_manifest(prefix, manifest)
            return downloading.download(store, wanted, target, force=force, parallel=parallel, progress=progress)

    def files(self, name: str, *, brief: bool = False) -> Sequence[Entry]:
        """The files of a version. `brief`: where the store does not answer, give up after seconds."""
        version = self.get(name)
        with open_store(self._cluster, endpoint=self._endpoint, brief=brief) as store:
            return _published(store, version)[1].entries

    def _register(self, model: str, spec: Mapping[str, Any], notice: Callable[[str], None]) -> ModelVersion:
        for _ in range(_TRIES):
            known = self.list(model)
            same = next((version for version in known if version.spec.digest == spec["digest"]), None)
            if same is not None:
                notice(f"The same files are registered as {same.metadata.name} already.")
                return same
            number = max((version.spec.version for version in known), default=0) + 1
            try:
                return self.kinds.read(self.kinds.create(model_version(self._cluster.namespace, spec, number)))
            except AlreadyExistsError:
                continue  # Somebody else took this number between the list and now.
        raise ConflictError(f"model {model}: others took {_TRIES} numbers in a row: try again")


def _published(store: Store, version: ModelVersion) -> tuple[str, Manifest]:
    """Prefix and manifest of a version's files; StoreError where they are not what the version records."""
    name, place = version.metadata.name, storage.Location.parse(version.spec.uri)
    if place.bucket != store.bucket:
        raise StoreError(
            f"version {name} is in bucket {place.bucket}, and the keys at hand are for bucket {store.bucket} "
            f"({store.access.bucket_source}): set FOVEA_BUCKET={place.bucket}, with keys that reach it"
        )
    manifest = published(store, place.key)
    if manifest is None:
        raise StoreError(f"version {name}: {version.spec.uri} is not in the store any more: register the model again")
    if manifest.digest != version.spec.digest:
        raise StoreError(
            f"version {name}: {version.spec.uri} holds {manifest.digest}, the version records {version.spec.digest}: "
            "ask the platform team to look at it; nothing was downloaded"
        )
    return place.key, manifest


def model_version(namespace: str, spec: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The object that records a version."""
    model = str(spec["model"])
    return {
        "apiVersion": API_VERSION,
        "kind": ModelVersion.KIND,
        "metadata": {
            "name": names.model_version(model, number),
            "namespace": namespace,
            "labels": {labels.MODEL: model, labels.VERSION: str(number)},
        },
        "spec": {**spec, "version": number},
    }


def check_saved_model(folder: Path) -> None:
    """Raise InvalidError unless the folder is a SavedModel, with the likely remedy."""
    paths = [path.relative_to(folder).as_posix() for pattern in ("*", "*/*") for path in folder.glob(pattern)]
    if said := saved_model.problem([path for path in paths if (folder / path).is_file()], str(folder)):
        hint = "name the folder that saved_model.pb lies in, or export one with model.export(FOLDER)"
        raise InvalidError(f"{said}: {hint}")


def manifest_of(files: "list[LocalFile]") -> Manifest:
    """The manifest of a folder that is registered from outside: attempt 0, keys below files/."""
    entries = []
    for file in files:
        with reading(file.path), file.path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        entries.append(Entry(file.name, f"{_PAYLOAD}/{file.name}", file.size, digest))
    return Manifest(attempt=0, entries=tuple(entries))


def publish(
    store: Store,
    files: "list[LocalFile]",
    manifest: Manifest,
    prefix: str,
    progress: Callable[[uploading.Progress], None] = lambda _: None,
) -> None:
    """The publication protocol: payload first, manifest last and only once. The same content again is success."""
    uploading.upload(store, files, f"{prefix}/{_PAYLOAD}", progress=progress)
    key = storage.manifest(prefix)
    if store.put_if_absent(key, manifest.to_json()):
        return
    found = Manifest.from_json(store.read(key))
    if found.digest != manifest.digest:
        raise StoreError(
            f"s3://{store.bucket}/{key} holds a publication of other content ({found.digest}, not {manifest.digest}): "
            "ask the platform team to look at it; nothing was overwritten"
        )


VersionList = list[ModelVersion]
