"""How far running jobs are: from the operator's memory where it answers, else from the status.

A status is written every few seconds, and less often where many jobs run. The operator has what is newer, and shows it for
the ticket in the status. It is asked through the API server's proxy, so this works wherever the API server is reached.
What keeps it from answering (no right to the proxy, a network policy, an older release) is never an error.
"""

import logging
import queue
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fovea_api.contract.report import MAX_TICKETS, PROGRESS_PATH, TICKETS_HEADER
from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.live_progress import LiveAnswer, LiveProgress
from fovea_api.v1alpha1.training_job_status import CheckpointStatus, ProgressStatus
from pydantic import ValidationError

from .api_errors import Target
from .cluster import Cluster
from .errors import FoveaError
from .resources import core_path

if TYPE_CHECKING:
    from .job import Job

log = logging.getLogger(__name__)

_SECONDS = 1.0
"""For all that is asked at once."""
_LONGEST_PAUSE = 60.0
ADDRESS = re.compile(r"http://([a-z0-9-]+)\.([a-z0-9-]+)\.svc:([0-9]+)" + re.escape(PROGRESS_PATH))
"""Service, namespace and port in `status.live.url`. Another one is not asked."""


@dataclass(frozen=True)
class JobProgress:
    """How far a job is."""

    progress: ProgressStatus | None
    """What its program has reported; None before the first report."""
    checkpoint: CheckpointStatus | None
    """Its newest published checkpoint."""
    age_seconds: float | None
    """Since the report arrived. If it is not live, since the status was last written, for whatever reason: then the progress may
    be older. None unless the job runs and has made progress."""
    live: bool
    """Whether it is from the operator's memory, and not from the status."""


def newest(cluster: Cluster, jobs: Sequence["Job"]) -> list[JobProgress]:
    """How far each of the jobs is. Takes a second at most; raises nothing."""
    found = _ask(cluster, [job for job in jobs if _may_be_live(job)])
    return [_of(job, found) for job in jobs]


def followed(cluster: Cluster, changes: Iterator["Job"], every: float) -> Iterator["Job"]:
    """A job after each change and, after `every` seconds without one, as far as the operator knows it to be."""
    feed, stopped = _Feed(changes), threading.Event()
    feed.start(stopped)
    last: Job | None = None
    shown: JobProgress | None = None
    pause = every
    try:
        while True:
            try:
                changed = feed.next(pause)
            except queue.Empty:
                if last is None or not _may_be_live(last):
                    continue
                [seen] = newest(cluster, [last])
                # An operator that does not answer is asked ever less.
                pause = every if seen.live else min(pause * 2, _LONGEST_PAUSE)
                if seen.live and (shown is None or seen.progress != shown.progress):
                    shown = seen
                    yield last.at(seen)
                continue
            if changed is None:
                return
            if shown is not None and not _is_further(shown, last, changed):
                shown = None
            last = changed
            yield last if shown is None else last.at(shown)
    finally:
        stopped.set()


class _Feed:
    """An iterator that is read in a thread, so that its reader can do something else in between."""

    def __init__(self, changes: Iterator["Job"]) -> None:
        self._changes = changes
        self._queue: queue.SimpleQueue[Job | Exception | None] = queue.SimpleQueue()

    def start(self, stopped: threading.Event) -> None:
        """Read until the end, or until the first item after `stopped`."""
        threading.Thread(target=self._read, args=(stopped,), daemon=True, name="follow").start()

    def next(self, seconds: float) -> "Job | None":
        """The next item, None at the end; queue.Empty after `seconds`. Raises what the iterator raised."""
        item = self._queue.get(timeout=seconds)
        if isinstance(item, Exception):
            raise item
        return item

    def _read(self, stopped: threading.Event) -> None:
        try:
            for job in self._changes:
                self._queue.put(job)
                if stopped.is_set():
                    return
        except Exception as error:  # noqa: BLE001 - raised in the reader's thread
            self._queue.put(error)
        else:
            self._queue.put(None)


def _may_be_live(job: "Job") -> bool:
    return job.state == JobState.RUNNING and job.status.live is not None


def _is_further(shown: JobProgress, before: "Job | None", changed: "Job") -> bool:
    """Whether what was shown is of the same pod as the changed status, and newer."""
    same = before is not None and before.status.live == changed.status.live and _may_be_live(changed)
    steps = [seen.step or 0 if seen else 0 for seen in (shown.progress, changed.status.progress)]
    return same and steps[0] > steps[1]


def _of(job: "Job", found: Mapping[str, LiveProgress]) -> JobProgress:
    status = job.status
    answer = found.get(status.live.ticket) if status.live is not None and _may_be_live(job) else None
    if answer is None:
        age = _age_of_status(job) if job.state == JobState.RUNNING and status.progress is not None else None
        return JobProgress(status.progress, status.checkpoint, age, live=False)
    progress = answer.progress or status.progress
    age = answer.age_seconds if progress is not None else None
    return JobProgress(progress, answer.checkpoint or status.checkpoint, age, live=True)


def _age_of_status(job: "Job") -> float | None:
    """Seconds since the status was written, whatever changed in it: no time of the progress stands in it."""
    written = [
        datetime.fromisoformat(entry["time"])
        for entry in job.raw.get("metadata", {}).get("managedFields") or ()
        if entry.get("subresource") == "status" and entry.get("time")
    ]
    return max(0.0, (datetime.now(UTC) - max(written)).total_seconds()) if written else None


def _ask(cluster: Cluster, jobs: Sequence["Job"]) -> dict[str, LiveProgress]:
    tickets: dict[str, list[str]] = {}
    for job in jobs:
        if job.status.live is not None:
            tickets.setdefault(job.status.live.url, []).append(job.status.live.ticket)
    found: dict[str, LiveProgress] = {}
    ends = time.monotonic() + _SECONDS
    for url, known in tickets.items():
        for first in range(0, len(known), MAX_TICKETS):
            answer = _answer(cluster, url, known[first : first + MAX_TICKETS], ends - time.monotonic())
            if answer is None:
                break
            found |= answer.found
    return found


def _answer(cluster: Cluster, url: str, tickets: Sequence[str], seconds: float) -> LiveAnswer | None:
    address = ADDRESS.fullmatch(url)
    if address is None or seconds <= 0:
        return None
    service, namespace, port = address.groups()
    target = Target("get", f"Service {service}", "services/proxy", namespace, f"{service}:{port}", ours=False)
    path = f"{core_path(namespace, 'services', service)}:{port}/proxy{PROGRESS_PATH}"
    try:
        return LiveAnswer.model_validate(cluster.ask(target, path, {TICKETS_HEADER: ",".join(tickets)}, seconds))
    except (FoveaError, ValidationError, ValueError) as error:
        log.debug("no live progress from %s: %s", url, error)
        return None
