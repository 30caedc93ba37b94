"""The log of a job, or of a batch prediction, as one stream: across attempts and pods, through broken connections, until its end."""

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .api_errors import Target
from .cluster import Cluster
from .errors import FoveaError, InvalidError, NotFoundError, UnreachableError
from .patience import Patience
from .pods import Pod
from .resources import core_path

_POLL_SECONDS = 1.0
_ORDER_SECONDS = 10.0
"""So long the log of an attempt waits for that of the attempt before it: on a lost node it may never end."""


@dataclass(frozen=True)
class LogLine:
    """One line of one container: the task (chief-0), its attempt, the kubelet's time stamp and the text."""

    task: str
    attempt: int
    time: str
    text: str


Instead = Callable[[str, int, str, FoveaError], list[LogLine] | None]
"""Lines of a task's attempt after a time stamp, from elsewhere: the log of its pod cannot be read, for this reason. None: there are none."""


def target(namespace: str, pod: str) -> Target:
    """What a request for a log is about."""
    return Target("get", "log of pod", "pods/log", namespace, pod, ours=False)


class LogStream:
    """Reads the logs of the pods that `pods` lists, the oldest attempt first; it is asked about once a second."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        pods: Callable[[], list[Pod]],
        *,
        container: str,
        task: str = "",
        attempt: int | None = None,
        instead: Instead = lambda *_: None,
    ) -> None:
        self._cluster, self._namespace, self._all_pods = cluster, namespace, pods
        self._container, self._task, self._attempt, self._instead = container, task, attempt, instead
        self._lines: queue.SimpleQueue[LogLine | BaseException] = queue.SimpleQueue()
        self._readers: dict[str, threading.Thread] = {}
        self._newest: dict[str, threading.Thread] = {}  # by task

    def attempts(self) -> set[tuple[str, int]]:
        """Task and attempt of each pod that is there."""
        return {(pod.task, pod.attempt) for pod in self._pods()}

    def read(self) -> Iterator[LogLine]:
        """What there is now, pod after pod."""
        for pod in self._pods():
            if self._begun(pod):
                yield from self._read(pod)

    def _read(self, pod: Pod) -> Iterator[LogLine]:
        since = ""
        try:
            for line in self._connect(pod, follow=False, since=since):
                since = line.time
                yield line
        except (UnreachableError, NotFoundError) as error:
            found = self._instead(pod.task, pod.attempt, since, error)
            if found is None:
                raise
            yield from found

    def follow(self, ended: Callable[[], bool]) -> Iterator[LogLine]:
        """Lines as they come, from every attempt, until `ended()` says so and all is read."""
        patience = Patience()
        over = False
        while True:
            try:
                over, found = ended(), self._pods()
                patience.success()
            except UnreachableError:
                if not patience.failure():
                    raise
                found = []
            for pod in found:
                if pod.name not in self._readers and self._begun(pod):
                    self._start_reader(pod)
            yield from self._waiting_lines(_POLL_SECONDS)
            if over and not any(thread.is_alive() for thread in self._readers.values()):
                yield from self._waiting_lines(0.0)
                return

    def _waiting_lines(self, seconds: float) -> Iterator[LogLine]:
        """Lines that come within these seconds and no later, however many there are; with 0 all that wait."""
        until = time.monotonic() + seconds
        while not seconds or time.monotonic() < until:
            try:
                item = self._lines.get(timeout=max(0.001, until - time.monotonic()))
            except queue.Empty:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def _pods(self) -> list[Pod]:
        asked = (pod for pod in self._all_pods() if not self._task or pod.task == self._task)
        return [pod for pod in asked if self._attempt in (None, pod.attempt)]

    def _begun(self, pod: Pod) -> bool:
        state = pod.containers.get(self._container)
        return state is not None and state.state != "waiting"

    def _start_reader(self, pod: Pod) -> None:
        reader = threading.Thread(target=self._read_to_end, args=(pod, self._newest.get(pod.task)), daemon=True)
        self._readers[pod.name] = self._newest[pod.task] = reader
        reader.start()

    def _read_to_end(self, pod: Pod, earlier_attempt: threading.Thread | None) -> None:
        if earlier_attempt is not None:
            earlier_attempt.join(_ORDER_SECONDS)
        since, failed, patience = "", False, Patience()
        try:
            while True:
                try:
                    # A connection that stands is a success, though the program may be silent on it for hours.
                    for line in self._connect(pod, follow=True, since=since, connected=patience.success):
                        since = line.time
                        self._lines.put(line)
                    if self._over(pod):
                        return
                except UnreachableError as error:
                    again = patience.failure()
                    if not (failed and again) and self._read_instead(pod, since, error):
                        return
                    if not again:
                        raise
                    failed = True
                time.sleep(_POLL_SECONDS)
        except NotFoundError as error:
            self._read_instead(pod, since, error)  # the pod was deleted, or its node
        except FoveaError as error:
            self._lines.put(error)

    def _read_instead(self, pod: Pod, since: str, error: FoveaError) -> bool:
        """Put the rest of the log from elsewhere, if it is there: it is only when the program has ended."""
        found = self._instead(pod.task, pod.attempt, since, error)
        for line in found or ():
            self._lines.put(line)
        return found is not None

    def _over(self, pod: Pod) -> bool:
        about = Target("get", "pod", "pods", self._namespace, pod.name, ours=False)
        try:
            now = Pod.read(self._cluster.get(about, core_path(self._namespace, "pods", pod.name)))
        except NotFoundError:
            return True  # it was deleted: what there was is read
        state = now.containers.get(self._container)
        return now.phase in ("Succeeded", "Failed") or (state is not None and state.state == "terminated")

    def _connect(
        self, pod: Pod, *, follow: bool, since: str, connected: Callable[[], None] = lambda: None
    ) -> Iterator[LogLine]:
        """Lines after the time stamp `since`: the server knows whole seconds only, so the rest is skipped here."""
        query = {"container": self._container, "timestamps": "true", "follow": "true" if follow else "false"}
        if since:
            query["sinceTime"] = re.sub(r"\.[0-9]+", "", since)
        path = core_path(self._namespace, "pods", pod.name, "log")
        try:
            for raw in self._cluster.lines(target(self._namespace, pod.name), path, query, connected=connected):
                stamp, _, text = raw.partition(" ")
                if not since or stamp > since:
                    yield LogLine(pod.task, pod.attempt, stamp, text)
        except InvalidError as error:
            # The container is about to start: the kubelet says so with a 400.
            raise UnreachableError(str(error)) from error
