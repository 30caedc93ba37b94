"""Logs of attempts whose pods are gone or cannot be read, from the store: their sidecars published what the programs had printed."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from fovea_api.contract import storage

from . import pods
from .errors import FoveaError
from .logs import Instead, LogLine

if TYPE_CHECKING:
    from .job import Job
    from .store import Store

Place = tuple[str, int]
"""A task and its attempt."""


def without_pods(job: "Job", present: Collection[Place], *, task: str, attempt: int | None) -> list[Place]:
    """Attempts of the job that have begun and have no pod any more, of one task or one number where that is asked for.

    The current attempt of a job that goes on may have no pod yet.
    """
    recorded: Mapping[str, int] = job.status.attempts or {}
    if not recorded:
        return []  # it never had a pod
    tasks = [task] if task else pods.tasks(job.resource)
    begun = ((each, number) for each in tasks for number in range(recorded.get(each, 0) + (1 if job.ended else 0)))
    return [place for place in begun if place not in present and attempt in (None, place[1])]


def lines(
    job: "Job",
    places: Collection[Place],
    open_store: Callable[[], "AbstractContextManager[Store]"],
    notice: Callable[[str], None],
) -> Iterator[LogLine]:
    """The published logs of these attempts, in their order. A store that cannot be read costs no log that a pod still has."""
    if not places:
        return
    prefix = storage.job(job.namespace, job.name, job.uid)
    try:
        with open_store() as store:
            there = {item.key for item in store.listing(storage.program_logs(prefix))}
            for task, attempt in places:
                key = storage.program_log(prefix, task, attempt)
                if key in there:
                    notice(f"The pod of {task}, attempt {attempt}, is gone: this is its published log.")
                    yield from _read(store.read(key), task, attempt)
                else:
                    # It may never have had a pod: a job can end before its next attempt begins.
                    notice(
                        f"There is no log of {task}, attempt {attempt}: it has no pod, and no log of it was published."
                    )
    except FoveaError as error:
        notice(f"Logs of attempts without a pod are in the object store, which cannot be read: {error}")


def instead(
    job: "Job", open_store: Callable[[], "AbstractContextManager[Store]"], notice: Callable[[str], None]
) -> Instead:
    """Reads the published log of an attempt whose pod is there and cannot be read: its node may be lost."""

    def read(task: str, attempt: int, since: str, error: FoveaError) -> list[LogLine] | None:
        key = storage.program_log(storage.job(job.namespace, job.name, job.uid), task, attempt)
        try:
            with open_store() as store:
                if not any(item.key == key for item in store.listing(key)):
                    return None
                found = [line for line in _read(store.read(key), task, attempt) if line.time > since]
        except FoveaError:
            return None  # why the pod cannot be read says more
        if found:
            notice(f"The pod of {task}, attempt {attempt}, cannot be read: this is its published log. {error}")
        return found

    return read


def all_lines(store: "Store", prefix: str, attempt: int | None) -> Iterator[LogLine]:
    """All published logs of a job, or of one attempt: also of a job that is deleted."""
    for item in store.listing(storage.program_logs(prefix)):
        task, number = item.key.removesuffix(".log").rsplit("/", 2)[1:]
        if number.isdecimal() and attempt in (None, int(number)):
            yield from _read(store.read(item.key), task, int(number))


def _read(text: bytes, task: str, attempt: int) -> Iterator[LogLine]:
    for line in text.decode(errors="replace").removesuffix("\n").split("\n"):
        stamp, _, said = line.partition(" ")
        yield LogLine(task, attempt, stamp, said)
