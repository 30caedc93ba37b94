"""Optional objects that were refused: until when they are not written again, and what was said. Some objects are decided on every second."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from fovea_operator.errors import HTTP_SERVER_ERRORS, ApiError, Transient

from .queue import Backoff

LASTING_SECONDS = 30.0
"""What a quota, a policy or another owner refuses may stay refused for days."""
_KEPT_SECONDS = 600.0
"""An object that nobody has wanted for so long is forgotten."""


class Named(NamedTuple):
    """An object by its kind and name."""

    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "Named":
        """The object that a manifest is of."""
        metadata = manifest["metadata"]
        return cls(manifest["kind"], metadata.get("namespace") or "", metadata["name"])


@dataclass(frozen=True)
class _Refusal:
    until: float
    times: int
    """In a row."""
    may_pass: bool
    said: str


class LeftOut:
    """What was refused, by object. Times are seconds of a monotonic clock.

    An object has a clock of its own, and its owner none: what is optional holds up nothing else.
    """

    def __init__(self, backoff: Backoff) -> None:
        """`backoff`: of what may pass soon, such as a webhook that does not answer."""
        self._backoff = backoff
        self._refusals: dict[Named, _Refusal] = {}

    def is_held(self, named: Named, now: float) -> bool:
        """Whether the object is not written now."""
        known = self._refusals.get(named)
        return known is not None and now < known.until

    def again(self, named: Named, now: float) -> float | None:
        """Seconds after which its owner is to be looked at for it; None: the next look at it is soon enough."""
        known = self._refusals.get(named)
        return max(0.0, known.until - now) if known is not None and known.may_pass else None

    def said(self, named: Named) -> str:
        """Why it was refused last; empty once it was written."""
        known = self._refusals.get(named)
        return known.said if known is not None else ""

    def put(self, named: Named, error: ApiError, now: float) -> None:
        """It was refused."""
        known = self._refusals.get(named)
        times = known.times + 1 if known is not None else 1
        may_pass = isinstance(error, Transient) or error.code >= HTTP_SERVER_ERRORS
        seconds = max(error.retry_after, self._backoff.delay(times)) if may_pass else LASTING_SECONDS
        kept = {other: refusal for other, refusal in self._refusals.items() if refusal.until + _KEPT_SECONDS > now}
        self._refusals = kept | {named: _Refusal(now + seconds, times, may_pass, str(error))}

    def drop(self, named: Named) -> None:
        """It was written."""
        self._refusals.pop(named, None)
