"""Leadership by a Lease of our own: one instance leads, the others wait; one that cannot renew in time ends."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fovea_operator.errors import AlreadyExists, ApiError, Conflict, Gone, LeaseLost
from fovea_operator.settings import Settings

from . import resources
from .client import ApiClient, Object

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
"""Pause after a renewal that failed: between two thirds of the Lease and the first try there is time for several."""


@dataclass(frozen=True)
class Sighting:
    """What a Lease said, and when (monotonic seconds) it was seen to say so first."""

    holder: str
    renewed: str
    seconds: float
    since: float

    def is_free(self, now: float) -> bool:
        """Whether it may be taken: given back, or not renewed while we watched it for its whole duration.

        Only our own clock counts: the clocks of two machines may differ.
        """
        return not self.holder or now - self.since >= self.seconds


def sighting(lease: Object, before: Sighting | None, now: float) -> Sighting:
    """What is seen now; a renewal that was seen before keeps its time."""
    spec = lease.get("spec") or {}
    holder, renewed = spec.get("holderIdentity") or "", spec.get("renewTime") or ""
    if before is not None and (before.holder, before.renewed) == (holder, renewed):
        return before
    return Sighting(holder, renewed, float(spec.get("leaseDurationSeconds") or 0), now)


class Leadership:
    """Takes, renews and gives back the Lease."""

    def __init__(self, client: ApiClient, settings: Settings, identity: str) -> None:
        self._client = client
        self._settings = settings
        self.identity = identity
        self._lease: Object | None = None
        self.heard_at: float | None = None
        """When (monotonic seconds) the API server last answered about the Lease."""

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        seen: Sighting | None = None
        while True:
            now = _now()
            try:
                lease = await self._read()
                self.heard_at = _now()
                seen = sighting(lease, seen, now) if lease is not None else None
                if seen is None or seen.holder == self.identity or seen.is_free(now):
                    await self._take(lease)
                    log.info("leading", extra={"lease": self._settings.lease_name, "identity": self.identity})
                    return
            except (Conflict, AlreadyExists):
                continue  # another one was faster: look at what it wrote
            except ApiError as error:
                log.warning("cannot read or take the lease", extra={"error": str(error)})
            await asyncio.sleep(self._settings.lease_renew_seconds)

    async def keep(self) -> None:
        """Renew until it fails for too long: raises LeaseLost while the Lease is still ours, never later."""
        renewed = _now()
        # Stop well before another one may take it: what is on its way to the API server must have arrived.
        patience = self._settings.lease_seconds * 2 / 3
        pause = self._settings.lease_renew_seconds
        while True:
            await asyncio.sleep(pause)
            begun = _now()
            left = renewed + patience - begun
            if left <= 0:
                # Perhaps the process stood still, and another one leads by now: end at once, a question would leave
                # time to write.
                raise LeaseLost(f"lease {self._settings.lease_name} was not renewed for {begun - renewed:.0f} s")
            try:
                # Half of what is left: a connection that hangs must leave time for another one.
                async with asyncio.timeout(left / 2):
                    await self._write()
            except Gone as error:
                raise LeaseLost(f"lease {self._settings.lease_name}: {error}") from error
            except (ApiError, TimeoutError) as error:
                log.warning("cannot renew the lease", extra={"error": str(error) or "no answer in time"})
                soon = min(_RETRY_SECONDS, self._settings.lease_renew_seconds)
                pause = min(soon, max(0.0, renewed + patience - _now()))
            else:
                renewed, pause = begun, self._settings.lease_renew_seconds
                self.heard_at = _now()

    async def release(self) -> None:
        """Give the Lease back, so that a standby need not wait for its end."""
        if self._lease is None:
            return
        try:
            await self._write(holder="", seconds=1)
        except (ApiError, LeaseLost) as error:
            log.warning("cannot give the lease back", extra={"error": str(error)})
        finally:
            self._lease = None

    async def _read(self) -> Object | None:
        try:
            return await self._client.get(resources.LEASE, self._settings.namespace, self._settings.lease_name)
        except Gone:
            return None

    async def _take(self, lease: Object | None) -> None:
        if lease is None:
            self._lease = {
                "apiVersion": resources.LEASE.api_version,
                "kind": resources.LEASE.kind,
                "metadata": {"name": self._settings.lease_name, "namespace": self._settings.namespace},
                "spec": {"leaseTransitions": 0},
            }
            self._lease = await self._client.create(self._spec(acquired=True))
            return
        self._lease = {**lease, "apiVersion": resources.LEASE.api_version, "kind": resources.LEASE.kind}
        self._lease["spec"] = dict(lease.get("spec") or {})
        self._lease["spec"]["leaseTransitions"] = int(self._lease["spec"].get("leaseTransitions") or 0) + 1
        self._lease = await self._client.replace(self._spec(acquired=True))

    async def _write(self, **changes: Any) -> None:
        """Write the Lease that is ours; raises LeaseLost when it is not any more."""
        try:
            self._lease = await self._client.replace(self._spec(**changes))
        except Conflict:
            # Not the version that we know. Ours all the same if the answer to our last write was lost on its way,
            # or somebody put a label on it: then once more, on what is there.
            self._lease = await self._ours()
            self._lease = await self._client.replace(self._spec(**changes))

    async def _ours(self) -> Object:
        """The Lease as it is, if we hold it and no other process took it in between, not even one of our name."""
        name = self._settings.lease_name
        known = self._spec()["spec"]
        lease = await self._client.get(resources.LEASE, self._settings.namespace, name)
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder != self.identity:
            raise LeaseLost(f"lease {name} is held by {holder or 'nobody'}, not by {self.identity} any more")
        if spec.get("acquireTime") != known.get("acquireTime"):
            raise LeaseLost(f"lease {name} was taken by another process with the identity {self.identity}")
        return {**lease, "apiVersion": resources.LEASE.api_version, "kind": resources.LEASE.kind}

    def _spec(self, *, holder: str | None = None, seconds: int | None = None, acquired: bool = False) -> Object:
        if self._lease is None:
            raise LeaseLost(f"lease {self._settings.lease_name} was given back")
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: dict[str, Any] = {
            **self._lease["spec"],
            "holderIdentity": self.identity if holder is None else holder,
            "leaseDurationSeconds": self._settings.lease_seconds if seconds is None else seconds,
            "renewTime": now,
        }
        if acquired:
            spec["acquireTime"] = now
        return {**self._lease, "spec": spec}


def _now() -> float:
    return asyncio.get_running_loop().time()
