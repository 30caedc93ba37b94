"""Training jobs: submit, list, wait, follow, cancel."""

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fovea_api.contract import names
from fovea_api.v1alpha1 import JobState, TrainingJob
from fovea_api.v1alpha1.training_job import KIND

from . import last_words, live, object_names, pods, published_logs, submission
from .cluster import Cluster
from .errors import AlreadyExistsError, ConflictError, InvalidError, NotFoundError
from .following import Following
from .job import Job
from .live import JobProgress
from .logs import LogLine, LogStream
from .object_names import LATEST
from .parallel import PARALLEL, Progress
from .resources import Kinds
from .store import open_store
from .watched import Watched

if TYPE_CHECKING:
    from fovea_api.contract.manifest import Entry

    from .download import Downloaded
    from .results import Results

_MOST_NAMES = 100


class Jobs:
    """The jobs of one namespace. Verbs take a job's NAME, or NAME@UID for that very one and no other of its name."""

    def __init__(self, cluster: Cluster, namespace: str = "", *, store_endpoint: str | None = None) -> None:
        self.cluster, self._endpoint = cluster, store_endpoint
        self.kinds: Kinds[TrainingJob] = Kinds(cluster, KIND, TrainingJob, namespace)

    def within(self, namespace: str) -> "Jobs":
        """The jobs of another namespace."""
        return Jobs(self.cluster, namespace, store_endpoint=self._endpoint)

    def submit(self, job: TrainingJob | Mapping[str, Any] | str | Path, *, dry_run: bool = False) -> Job:
        """Create a job from a typed object, a manifest or the path of a YAML file with one job.

        It is created in the namespace that it names, else in this one. `dry_run` has the API server check it and
        creates nothing. Raises InvalidError naming field and value.
        """
        manifest = submission.manifest_of(job, TrainingJob, "job")
        namespace = str(manifest.get("metadata", {}).get("namespace") or self.kinds.namespace)
        jobs = self if namespace == self.kinds.namespace else self.within(namespace)
        return Job(jobs, jobs.kinds.create(manifest, dry_run=dry_run))

    def resubmit(
        self,
        name: str,
        *,
        as_name: str = "",
        args: Mapping[str, submission.Value] = MappingProxyType({}),
        from_checkpoint: bool = False,
        train_from_scratch: bool = False,
    ) -> Job:
        """Submit a job's spec again as a new job: `as_name`, or the next free one of digits-2, digits-3, …

        It begins as that job began. `from_checkpoint`: with that job's newest checkpoint. `train_from_scratch`: without any.
        """
        if from_checkpoint and train_from_scratch:
            raise InvalidError("a job begins either with a checkpoint or from scratch: choose one")
        job = self.get(name)
        begin = f"job://{job.address}" if from_checkpoint else ""
        for number in range(_MOST_NAMES):
            wanted = as_name or submission.next_name(job.name, number)
            how: dict[str, Any] = {"checkpoint_from": begin, "train_from_scratch": train_from_scratch}
            try:
                return self.submit(submission.clone(job.raw, wanted, args=args, **how))
            except AlreadyExistsError:
                if as_name:
                    raise
        raise InvalidError(
            f"{_MOST_NAMES} jobs are called {submission.next_name(job.name, 0)} and so on: name the new one"
        )

    def get(self, name: str) -> Job:
        """One job; raises NotFoundError. Of NAME@UID that is deleted it is JobGoneError where it is known how it ended."""
        name, uid = _parts(name)
        here = (self.cluster, self.kinds.namespace, name)
        try:
            job = Job(self, self.kinds.get(name))
        except NotFoundError as error:
            raise (last_words.of_uid(*here, uid) if uid else last_words.of_name(*here, error)) from error
        if uid and job.uid != uid:
            raise last_words.of_uid(*here, uid, successor=job.uid)
        return job

    def list(self, *, states: frozenset[JobState] = frozenset()) -> "JobList":
        """All jobs (of these states), newest first."""
        jobs = [Job(self, document) for document in self.kinds.list()]
        jobs.sort(key=lambda job: (job.resource.metadata.creation_timestamp, job.name), reverse=True)
        return [job for job in jobs if not states or job.state in states]

    def newest(self, limit: int, *, states: frozenset[JobState] = frozenset()) -> "tuple[JobList, int]":
        """The newest `limit` jobs (of these states), newest first, and how many older ones there are.

        All jobs are read, since the API server sorts them by name, but only so many are kept.
        """
        kept: _Dated = []
        older = 0
        for document in self.kinds.each():
            if states and ((document.get("status") or {}).get("state") or JobState.QUEUED) not in states:
                continue
            metadata = document["metadata"]
            entry = (str(metadata["creationTimestamp"]), str(metadata["name"]), document)
            if len(kept) < limit:
                heapq.heappush(kept, entry)
            else:
                heapq.heappushpop(kept, entry)
                older += 1
        return [Job(self, document) for _, _, document in sorted(kept, key=lambda each: each[:2], reverse=True)], older

    def progress(self, jobs: Iterable[Job]) -> "ProgressList":
        """How far each of the jobs is, as the operator knows it now; where it does not answer, as the status says.

        Takes a second at most, and raises nothing. An operator is asked only for jobs that run.
        """
        return live.newest(self.cluster, list(jobs))

    def cancel(self, name: str) -> Job:
        """Ask for the job's end: its program is stopped, checkpoints stay. One way; InvalidError when it has ended."""
        return self._set(self._that_goes_on(name, "cancel"), "cancel", value=True)

    def suspend(self, name: str) -> Job:
        """Stop the job's pods after a checkpoint; `resume` goes on from there. InvalidError when it has ended."""
        return self._set(self._that_goes_on(name, "suspend"), "suspend", value=True)

    def resume(self, name: str) -> Job:
        """Take `suspend` back; InvalidError when the job has ended."""
        return self._set(self._that_goes_on(name, "resume"), "suspend", value=False)

    def delete(self, name: str) -> str:
        """Delete the job and its pods; what it published, its model versions and deployments stay.

        Returns its uid, by which other jobs still name what it published: job://NAME@UID.
        """
        name, uid = _parts(name)
        try:
            return self.kinds.delete(name, uid=uid)
        except ConflictError as error:  # the one reason for which a DELETE gets it: another uid
            raise last_words.of_uid(self.cluster, self.kinds.namespace, name, uid) from error

    def follow(
        self,
        name: str,
        *,
        timeout: float | None = None,
        begun: float | None = None,
        job: Job | None = None,
        every: float | None = None,
    ) -> Iterator[Job]:
        """The job now and after each change until it has ended, also when it is deleted at its end (a TTL of 0).

        Raises WaitTimeoutError after `timeout` seconds, NotFoundError when the job is deleted meanwhile. `begun` is the
        time.monotonic() that they count from, for what shares one timeout; by default they begin now. `job` is the job
        as it was submitted: followed from there on, no change is missed. `every`: seconds without a change
        after which it is yielded with newer progress, if there is some (see `progress`); its `raw` stays as it was.
        """
        changes = self._follow(name, timeout, begun, job)
        return changes if every is None else live.followed(self.cluster, changes, every)

    def _follow(self, name: str, timeout: float | None, begun: float | None, job: Job | None) -> Iterator[Job]:
        following = Following("job", self.kinds, partial(Job, self), _resource, lambda seen: self.get(seen.address))
        return following.follow(lambda: job or self.get(name), timeout, begun)

    def wait(self, name: str, *, timeout: float | None = None) -> Job:
        """Block until the job has ended and return it, whatever its state; WaitTimeoutError after `timeout` seconds."""
        job = None
        for job in self.follow(name, timeout=timeout):
            if job.ended:
                break
        assert job is not None  # noqa: S101 - follow() yields at least once or raises
        return job

    def stream_logs(
        self,
        name: str,
        *,
        follow: bool = True,
        container: str = names.TRAINER_CONTAINER,
        task: str = "",
        attempt: int | None = None,
        seen: Callable[[Job], None] = lambda _: None,
        notice: Callable[[str], None] = lambda _: None,
        timeout: float | None = None,
        begun: float | None = None,
        job: Job | None = None,
    ) -> Iterator[LogLine]:
        """Lines of the job's log across all attempts, or of `attempt`; with `follow` until the job has ended.

        What a program printed whose pod is gone comes first, from the store; `notice` gets a sentence about each of them. A log
        that cannot be read from its pod, whose node may be lost, comes from the store as well if it was published.
        Raises InvalidError for a container or a task that no job has. While it is followed, `seen` is called about once
        a second with the job as it is (as it ended in the end, also where it is deleted then), and WaitTimeoutError is
        raised where it goes on after `timeout` seconds. The other arguments are those of `follow`.
        """
        if container not in pods.CONTAINERS:
            raise InvalidError(f"a job has no container {container!r}: it has {', '.join(pods.CONTAINERS)}")
        job = job or self.get(name)
        known = pods.tasks(job.resource)
        if task and task not in known:
            raise InvalidError(f"job {job.name} has no task {task!r}: it has {', '.join(known)}")
        asked: dict[str, Any] = {"task": task, "attempt": attempt}
        cluster = self.cluster.within(job.namespace)
        store = partial(open_store, cluster, endpoint=self._endpoint, brief=True)
        program = container == names.TRAINER_CONTAINER
        if program:
            asked["instead"] = published_logs.instead(job, store, notice)
        members = partial(pods.of_job, self.cluster, job.namespace, job.name, job.uid)
        stream = LogStream(self.cluster, job.namespace, members, container=container, **asked)
        gone: Iterator[LogLine] = iter(())
        if program:
            places = published_logs.without_pods(job, stream.attempts(), task=task, attempt=attempt)
            gone = published_logs.lines(job, places, store, notice)
        if not follow:
            return chain(gone, stream.read())
        begun = time.monotonic() if begun is None else begun
        watched = Watched(self.follow(name, timeout=timeout, begun=begun, job=job), seen)
        return chain(gone, stream.follow(watched.over))

    def download(
        self,
        name: str,
        folder: str | Path | None = None,
        *,
        what: str = "output",
        attempt: int | None = None,
        step: int | None = None,
        force: bool = False,
        parallel: int = PARALLEL,
        progress: Callable[[Progress], None] = lambda _: None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> "Downloaded":
        """Bring the output, model, logs or checkpoints of a job into a folder (`<name>-<what>` by default).

        The newest attempt's, or `attempt`'s; all checkpoints, each in a folder of its step, or that of `step`. Logs are
        `$FOVEA_LOG_DIR` of each attempt and what the programs printed. Also of a deleted
        job: NAME@latest, or NAME@UID where there were several. Verified by the digests of its manifest; repeat it to go
        on after a failure. Raises NotFoundError, and AlreadyExistsError for other files in their places without `force`.
        """
        from . import results

        number = results.check(what, attempt, step)
        cluster, found = self._results(name)
        target = Path(folder) if folder is not None else Path(f"{name.partition('@')[0]}-{what}")
        with open_store(cluster, endpoint=self._endpoint, notice=notice) as store:
            return found.download(
                store,
                target,
                what=what,
                number=number,
                force=force,
                notice=notice,
                parallel=parallel,
                progress=progress,
            )

    def files(self, name: str, what: str = "output", *, brief: bool = False) -> "tuple[Entry, ...]":
        """The files of the output or model that a job has published; empty where there is none yet.

        `brief`: where the store does not answer, give up after seconds.
        """
        from . import results

        results.check(what, None, None)
        cluster, found = self._results(name)
        with open_store(cluster, endpoint=self._endpoint, brief=brief) as store:
            return tuple(
                entry for each in found.find(store, what, None, lambda _: None) for entry in each.manifest.entries
            )

    def _results(self, address: str) -> "tuple[Cluster, Results]":
        from .results import Results

        name, _, which = address.partition("@")
        try:
            job: Job | None = Job(self, self.kinds.get(name))
        except NotFoundError:
            job = None
        cluster = self.cluster.within(self.kinds.namespace)
        return cluster, Results(cluster, name, job, which)

    def _that_goes_on(self, name: str, verb: str) -> Job:
        job = self.get(name)
        if job.ended:
            raise InvalidError(f"job {job.name} has ended already ({job.state}): there is nothing to {verb}")
        return job

    def _set(self, job: Job, field: str, *, value: bool) -> Job:
        # With its uid: the API server refuses it for another job that has taken the name since.
        return Job(self, self.kinds.patch(job.name, {"metadata": {"uid": job.uid}, "spec": {field: value}}))


def _resource(job: Job) -> TrainingJob:
    return job.resource


def _parts(address: str) -> tuple[str, str]:
    """Name and uid of NAME or NAME@UID; the uid is empty where none is named. InvalidError for NAME@latest."""
    name, at, uid = address.partition("@")
    if uid == LATEST:
        raise InvalidError(
            f"{address} is what the newest job of that name left, which downloads, inputs and --checkpoint-from take: "
            f"name the job {name}, or {name}@UID"
        )
    return name, object_names.existing("job's uid", uid) if at else ""


JobList = list[Job]
ProgressList = list[JobProgress]
_Dated = list[tuple[str, str, dict[str, Any]]]
"""Creation time, name and document. (Inside the class the word `list` is a verb.)"""
