"""Batch predictions: submit, list, wait, follow, cancel, delete, download."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea_api.contract import names, storage
from fovea_api.v1alpha1 import BatchPrediction, JobState
from fovea_api.v1alpha1.batch_prediction import KIND

from . import pods, submission
from .cluster import Cluster
from .errors import InvalidError, NotFoundError
from .following import Following
from .logs import LogLine, LogStream
from .parallel import PARALLEL, Progress
from .resources import Kinds
from .store import Store, open_store
from .store_access import BUCKET_VARIABLE
from .watched import Watched

if TYPE_CHECKING:
    from fovea_api.contract.manifest import Manifest

    from .download import Downloaded


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
        manifest = submission.manifest_of(prediction, BatchPrediction, "prediction")
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
        return self._follow(lambda: self.get(name), timeout, begun)

    def _follow(
        self, first: Callable[[], BatchPrediction], timeout: float | None, begun: float | None
    ) -> Iterator[BatchPrediction]:
        return Following("prediction", self.kinds, self.kinds.read, _itself, self._same).follow(first, timeout, begun)

    def wait(self, name: str, *, timeout: float | None = None) -> BatchPrediction:
        """Block until the prediction has ended and return it, whatever its state; WaitTimeoutError after `timeout` seconds."""
        last = None
        for last in self.follow(name, timeout=timeout):  # noqa: B007 - a list of them all would grow for days
            pass
        assert last is not None  # noqa: S101 - follow() yields at least once or raises
        return last

    def delete(self, name: str) -> str:
        """Delete the prediction and its workers; answers that are published stay. Returns its uid."""
        return self.kinds.delete(name)

    def stream_logs(
        self,
        name: str,
        *,
        follow: bool = True,
        container: str = names.PREDICT_CONTAINER,
        task: str = "",
        attempt: int | None = None,
        seen: Callable[[BatchPrediction], None] = lambda _: None,
        timeout: float | None = None,
        begun: float | None = None,
    ) -> Iterator[LogLine]:
        """Lines of the logs of all workers (worker-0, …), or of `task`, of all attempts or of `attempt`, as far as their pods are there.

        With `follow` until the prediction has ended: `seen` is then called about once a second with the prediction as it is, and
        WaitTimeoutError is raised where it goes on after `timeout` seconds. Raises InvalidError for a container or a task that no
        prediction has. `begun` is that of `follow`.
        """
        if container not in pods.WORKER_CONTAINERS:
            raise InvalidError(
                f"a prediction has no container {container!r}: it has {', '.join(pods.WORKER_CONTAINERS)}"
            )
        found = self.get(name)
        known = pods.workers(found.spec.parallelism)
        if task and task not in known:
            raise InvalidError(f"prediction {name} has no task {task!r}: it has {', '.join(known)}")
        workers = partial(pods.of_prediction, self._cluster, self.kinds.namespace, name, found.metadata.uid)
        stream = LogStream(
            self._cluster, self.kinds.namespace, workers, container=container, task=task, attempt=attempt
        )
        if not follow:
            return stream.read()
        return stream.follow(Watched(self._follow(lambda: found, timeout, begun), seen).over)

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

    def _same(self, seen: BatchPrediction) -> BatchPrediction:
        found = self.get(seen.metadata.name)
        if seen.metadata.uid != found.metadata.uid:
            raise NotFoundError(
                f"prediction {found.metadata.name} was deleted while it was waited for, and another one has its name"
            )
        return found


def _itself(prediction: BatchPrediction) -> BatchPrediction:
    return prediction


def state(prediction: BatchPrediction) -> JobState:
    """Its state; QUEUED while the operator has not looked at it."""
    return prediction.status.state or JobState.QUEUED


def ended(prediction: BatchPrediction) -> bool:
    """Whether nothing more happens to it."""
    return state(prediction).ended


PredictionList = list[BatchPrediction]
