"""Which attempt of a job may write: the newest that has started. Older ones find its fence object and stop."""

from collections.abc import Iterable

from fovea_api.contract import storage

from fovea_agent.errors import Fenced
from fovea_agent.store import Store, StoredObject


def newest_attempt(objects: Iterable[StoredObject], job: str) -> int | None:
    """The greatest attempt that has left a fence object in a listing."""
    numbers = (item.key.removeprefix(storage.fences(job)) for item in objects)
    return max((int(number) for number in numbers if number.isdecimal()), default=None)


def raise_fence(store: Store, job: str, attempt: int) -> None:
    """Say that an attempt has started; raises Fenced when a newer one has already."""
    check_fence(store, job, attempt)
    store.put_if_absent(storage.fence(job, attempt), b"")


def check_fence(store: Store, job: str, attempt: int) -> None:
    """Raise Fenced when an attempt newer than this one has started."""
    newest = newest_attempt(store.objects(storage.fences(job)), job)
    if newest is not None and newest > attempt:
        raise Fenced(f"attempt {newest} of this job has started: attempt {attempt} stops writing")
