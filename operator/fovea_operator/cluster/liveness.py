"""Whether this process still does its work. Pure: the caller says what time it is (monotonic seconds)."""

from dataclasses import dataclass

_KOPF_SILENCE = 70.0
"""Kopf begins a new watch after this silence; two of them and we end."""


@dataclass
class Liveness:
    """Ages by which /healthz decides.

    A leader must *see*, through the same watch machinery that brings every other event, the renewals of the Lease that
    it writes itself: a watch gone silent, a hanging event loop and a dead worker all show in that one age. A standby,
    and a leader that still lists, must get an answer from the API server about the Lease: a first list has no deadline.
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
        """Seconds of silence after which the process is taken for dead."""
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
