"""Whether this process still works. Pure: the caller passes the time (monotonic seconds)."""

from dataclasses import dataclass

_KOPF_SILENCE = 70.0
"""After this many seconds without an event, Kopf begins a new watch. After twice this time, the process counts as dead."""


@dataclass
class Liveness:
    """Ages by which /healthz decides.

    A leader must see its own renewals of the Lease as watch events, by the same way as all other events. So one age shows a
    watch without events, an event loop that hangs, and a dead worker. A standby, and a leader that still lists, must get
    answers about the Lease from the API server: a first list has no deadline.
    """

    started: float
    lease_seconds: float
    watching_since: float | None = None
    """When the watch began; None before that."""
    ready: bool = False
    """Whether the cache is complete and keys are worked on."""
    renewal_seen: float | None = None
    heard: float | None = None
    """When the API server last answered about the Lease."""

    @property
    def patience(self) -> float:
        """Seconds of silence after which the process counts as dead."""
        return 2 * _KOPF_SILENCE + self.lease_seconds

    def trouble(self, now: float) -> str:
        """Empty while alive, else what is wrong."""
        if self.watching_since is not None:
            age = now - max(self.renewal_seen or 0.0, self.watching_since)
            what = "no renewal of the own lease came through the watch"
        else:
            age = now - max(self.heard or 0.0, self.started)
            what = "the API server did not answer about the lease"
        return f"{what} for {age:.0f} s" if age > self.patience else ""
