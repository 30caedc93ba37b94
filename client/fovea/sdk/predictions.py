"""Batch predictions: submit, list, wait, cancel, download."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea_api.contract import storage
from fovea_api.v1alpha1 import BatchPrediction, JobState
from fovea_api.v1alpha1.batch_prediction import KIND

from . import submission
from .cluster import Cluster
from .errors import ConflictError, InvalidError, NotFoundError, UnreachableError, WaitTimeoutError
from .parallel import PARALLEL, Progress
from .patience import Patience
from .resources import Kinds
from .store import Store, open_store
from .store_access import BUCKET_VARIABLE

if TYPE_CHECKING:
    from fovea_api.contract.manifest import Manifest

    from .download import Downloaded

_WATCH_SECONDS = 240


class Predictions:
    """The batch predictions of one namespace."""

    def __init__(self, cluster: Cluster, namespace: str = "", *, store_endpoint: str | None = None) -> None:
        self._cluster, self._endpoint = cluster, store_endpoint
        self.kinds: Kinds[BatchPrediction] = Kinds(cluster, KIND, BatchPrediction, namespace)

    def within(self, namespace: str) -> "Predictions":
        """The predictions of another namespace."""
        return Predictions(self._cluster, namespace, store_endpoint=self._endpoint)

    def submit(
        self, prediction: BatchPrediction | Mapping[str, Any] | str | Path, *, dry_run: bool = False
    ) -> BatchPrediction:
        """Create a prediction from a typed object, a manifest or the path of a YAML file with one prediction.

        It is created in the namespace that it names, else in this one. `dry_run` has the API server check it and
        creates nothing. Raises InvalidError naming field and value.
        """
        manifest = _manifest(prediction)
        namespace = str(manifest["metadata"].get("namespace") or self.kinds.namespace)
        source = self if namespace == self.kinds.namespace else self.within(namespace)
        return source.kinds.read(source.kinds.create(manifest, dry_run=dry_run))

    def list(self) -> "PredictionList":
        """All predictions, newest first."""
        found = [self.kinds.read(document) for document in self.kinds.list()]
        found.sort(key=lambda each: (each.metadata.creation_timestamp, each.metadata.name), reverse=True)
        return found

    def get(self, name: str) -> BatchPrediction:
        """One prediction."""
        return self.kinds.read(self.kinds.get(name))

    def raw(self, name: str) -> dict[str, Any]:
        """As `get`, as it is in the cluster."""
        return self.kinds.get(name)

    def cancel(self, name: str) -> BatchPrediction:
        """Stop the workers for good. InvalidError when it has ended."""
        found = self.get(name)
        if ended(found):
            raise InvalidError(f"prediction {name} has ended already ({state(found)}): there is nothing to cancel")
        # With its uid: the API server refuses it for another one that has taken the name since.
        body = {"metadata": {"uid": found.metadata.uid}, "spec": {"cancel": True}}
        return self.kinds.read(self.kinds.patch(name, body))

    def follow(
        self, name: str, *, timeout: float | None = None, begun: float | None = None
    ) -> Iterator[BatchPrediction]:
        """The prediction now and after each change until it has ended, also when it is deleted at its end (a TTL of 0).

        Raises WaitTimeoutError after `timeout` seconds, NotFoundError when it is deleted meanwhile. `begun` is the
        time.monotonic() that they count from, for what shares one timeout; by default they begin now.
        """
        start = time.monotonic() if begun is None else begun
        deadline = math.inf if timeout is None else start + timeout
        patience = Patience()
        seen: BatchPrediction | None = None
        while True:
            try:
                seen = found = self._same(self.get(name), seen)
                patience.success()
                yield found
                for changed in self._changes(found, deadline):
                    seen = changed
                    yield changed
                if ended(seen):
                    return
            except ConflictError:
                continue  # the watch has to begin again
            except UnreachableError:
                left = deadline - time.monotonic()
                if not patience.failure() or (seen is None and left <= 0):
                    raise
                time.sleep(min(1.0, max(0.0, left)))
            if seen is not None and time.monotonic() >= deadline:
                raise WaitTimeoutError(
                    f"prediction {name} is still {state(seen)} after {timeout or 0.0:g} s: it goes on; "
                    f"`fovea predictions describe {name} -n {self.kinds.namespace}` says where it stands"
                )

    def wait(self, name: str, *, timeout: float | None = None) -> BatchPrediction:
        """Block until the prediction has ended and return it, whatever its state; WaitTimeoutError after `timeout` seconds."""
        last = None
        for last in self.follow(name, timeout=timeout):  # noqa: B007 - a list of them all would grow for days
            pass
        assert last is not None  # noqa: S101 - follow() yields at least once or raises
        return last

    def download(
        self,
        name: str,
        folder: str | Path | None = None,
        *,
        force: bool = False,
        parallel: int = PARALLEL,
        progress: Callable[[Progress], None] = lambda _: None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> "Downloaded":
        """Bring the output into a folder (`<name>-output` by default): the answers, and errors.jsonl where there were errors.

        Verified by the digests of its manifest; repeat it to go on after a failure. Raises NotFoundError while there is none, and
        AlreadyExistsError for other files in their places without `force`.
        """
        from . import download as downloading

        target = Path(folder) if folder is not None else Path(f"{name}-output")
        found = self.get(name)
        with open_store(self._cluster.within(self.kinds.namespace), endpoint=self._endpoint, notice=notice) as store:
            prefix, manifest = self._output(store, found)
            wanted = downloading.of_manifest(prefix, manifest)
            return downloading.download(store, wanted, target, force=force, parallel=parallel, progress=progress)

    def _output(self, store: Store, found: BatchPrediction) -> "tuple[str, Manifest]":
        from .results import published

        name, output = found.metadata.name, found.status.output
        subject = f"prediction {name} in namespace {self.kinds.namespace} has published no output"
        if output is None and not ended(found):
            raise NotFoundError(
                f"{subject} yet (it is {state(found)}): `fovea predictions wait {name}` says when it has ended"
            )
        if output is None:
            raise NotFoundError(f"{subject} ({state(found)}): `fovea predictions describe {name}` says why")
        location = storage.Location.parse(output.uri)
        if location.bucket != store.bucket:
            raise InvalidError(
                f"the output {output.uri} is in another bucket than {store.bucket}: set {BUCKET_VARIABLE}={location.bucket}, "
                "and keys that may read it"
            )
        manifest = published(store, location.key)
        if manifest is None:
            raise NotFoundError(
                f"the output {output.uri} is not there any more: somebody has removed it from the store"
            )
        return location.key, manifest

    def _same(self, found: BatchPrediction, seen: BatchPrediction | None) -> BatchPrediction:
        if seen is not None and seen.metadata.uid != found.metadata.uid:
            raise NotFoundError(
                f"prediction {found.metadata.name} was deleted while it was waited for, and another one has its name"
            )
        return found

    def _changes(self, known: BatchPrediction, deadline: float) -> Iterator[BatchPrediction]:
        if ended(known):
            return
        name, uid = known.metadata.name, known.metadata.uid
        seconds = min(_WATCH_SECONDS, max(1.0, deadline - time.monotonic()))
        for event in self.kinds.watch(name, known.metadata.resource_version, math.ceil(seconds)):
            if event.get("type") == "DELETED":
                last = self.kinds.read(event["object"])
                if ended(last) and last.metadata.uid == uid:  # with a TTL of 0 its end and its deletion come together
                    yield last
                    return
                raise NotFoundError(f"prediction {name} was deleted while it was waited for")
            if event.get("type") in ("ADDED", "MODIFIED"):
                changed = self.kinds.read(event["object"])
                yield changed
                if ended(changed):
                    return


def state(prediction: BatchPrediction) -> JobState:
    """Its state; QUEUED while the operator has not looked at it."""
    return prediction.status.state or JobState.QUEUED


def ended(prediction: BatchPrediction) -> bool:
    """Whether nothing more happens to it."""
    return state(prediction).ended


def _manifest(prediction: BatchPrediction | Mapping[str, Any] | str | Path) -> Mapping[str, Any]:
    if isinstance(prediction, (str, Path)):
        documents = submission.load(prediction, BatchPrediction.KIND)
        if len(documents) != 1:
            raise InvalidError(f"{prediction} holds {len(documents)} predictions: submit them one by one")
        return documents[0]
    if isinstance(prediction, BatchPrediction):
        manifest = prediction.dump()
        given = {key: manifest["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
        manifest["metadata"] = {key: value for key, value in given.items() if value}
        manifest.pop("status", None)
        return manifest
    return submission.checked(prediction, "the manifest", BatchPrediction.KIND)


PredictionList = list[BatchPrediction]
