"""Following one object of Fovea's until it has ended: through watches that break, and through its deletion at its end."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fovea_api.v1alpha1 import BatchPrediction, JobState, TrainingJob

from .errors import ConflictError, NotFoundError, UnreachableError, WaitTimeoutError
from .patience import Patience
from .resources import Kinds

T = TypeVar("T")
_WATCH_SECONDS = 240


@dataclass(frozen=True)
class Following(Generic[T]):
    """How the objects of a kind are followed; `noun` is what messages and commands call one of them."""

    noun: str
    kinds: Kinds[Any]
    read: Callable[[dict[str, Any]], T]
    """From the document of an event."""
    resource: Callable[[T], TrainingJob | BatchPrediction]
    again: Callable[[T], T]
    """That very object as it is now, not another one that has taken its name; raises NotFoundError."""

    def follow(self, first: Callable[[], T], timeout: float | None, begun: float | None) -> Iterator[T]:
        """What `first` gives, and then each change until the end. Raises WaitTimeoutError after `timeout` seconds from `begun` on."""
        deadline = math.inf if timeout is None else timeout + (time.monotonic() if begun is None else begun)
        patience = Patience()
        seen: T | None = None
        while True:
            try:
                # From the first sight on that very object: another one may take its name while the watch is broken.
                seen = first() if seen is None else self.again(seen)
                patience.success()
                yield seen
                for changed in self._changes(seen, deadline):
                    seen = changed
                    yield changed
                if self._state(seen).ended:
                    return
            except ConflictError:
                continue  # the watch has to begin again
            except UnreachableError:
                left = deadline - time.monotonic()
                if not patience.failure() or (seen is None and left <= 0):
                    raise
                time.sleep(min(1.0, max(0.0, left)))
            if seen is not None and time.monotonic() >= deadline:
                raise self._still(seen, timeout)

    def _changes(self, known: T, deadline: float) -> Iterator[T]:
        if self._state(known).ended:
            return
        metadata = self.resource(known).metadata
        seconds = min(_WATCH_SECONDS, max(1.0, deadline - time.monotonic()))
        for event in self.kinds.watch(metadata.name, metadata.resource_version, math.ceil(seconds)):
            if event.get("type") == "DELETED":
                last = self.read(event["object"])
                # With a TTL of 0 its end and its deletion come together.
                if self._state(last).ended and self.resource(last).metadata.uid == metadata.uid:
                    yield last
                    return
                raise NotFoundError(f"{self.noun} {metadata.name} was deleted while it was waited for")
            if event.get("type") in ("ADDED", "MODIFIED"):
                changed = self.read(event["object"])
                yield changed
                if self._state(changed).ended:
                    return

    def _state(self, seen: T) -> JobState:
        return self.resource(seen).status.state or JobState.QUEUED

    def _still(self, seen: T, timeout: float | None) -> WaitTimeoutError:
        metadata = self.resource(seen).metadata
        return WaitTimeoutError(
            f"{self.noun} {metadata.name} is still {self._state(seen)} after {timeout or 0.0:g} s: it goes on; "
            f"`fovea {self.noun}s describe {metadata.name} -n {metadata.namespace}` says where it stands"
        )
