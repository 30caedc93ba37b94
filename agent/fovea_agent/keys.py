"""The key of the object store in use, and how requests go on when it is replaced."""

import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import urllib3
from fovea_api.contract import names, storage

from fovea_agent import log
from fovea_agent.connections import http_pool
from fovea_agent.errors import AgentError, KeyRefused, KeyUnknown, KeyWithdrawn, Misconfigured
from fovea_agent.patience import Patience
from fovea_agent.s3_client import Minio, check_bucket_name
from fovea_agent.settings import StoreAccess

T = TypeVar("T")
Place = tuple[str, str, str]
"""Where a key is accepted or not: method, bucket, first part of the object's key (a namespace)."""

MOST_REFUSALS = 45
"""Refusals of a key that are waited out, up to 5 s each: longer than a kubelet takes to renew a mounted Secret."""


@dataclass(frozen=True)
class Wire:
    """A key and the connections made with it: replaced as one, while requests are under way."""

    access: StoreAccess
    client: Minio
    http: urllib3.PoolManager


def wire(access: StoreAccess, patience: Patience, connections: int) -> Wire:
    """Connections with a key; raises Misconfigured naming the Secret's key that cannot be used."""
    try:
        check_bucket_name(access.bucket)
    except ValueError as error:
        raise Misconfigured(
            f"Secret {names.OBJECT_STORE_SECRET}, key {storage.SECRET_BUCKET}: {error}; it is a name like "
            f"{storage.BUCKET!r}"
        ) from error
    try:
        http = http_pool(connections, str(access.ca_bundle) if access.ca_bundle else None, patience.left)
    except (ssl.SSLError, OSError) as error:
        raise Misconfigured(f"Secret {names.OBJECT_STORE_SECRET}, key ca.crt: {error}") from error
    try:
        client = Minio(
            access.host,
            access_key=access.access_key,
            secret_key=access.secret_key,
            secure=access.secure,
            # Without it the client asks for the bucket's location, which a key for one prefix may not.
            region=access.region,
            http_client=http,
        )
    except ValueError as error:  # it has rules of its own for hosts and regions
        raise Misconfigured(
            f"Secret {names.OBJECT_STORE_SECRET}, keys {storage.SECRET_ENDPOINT} and {storage.SECRET_REGION}: {error}"
        ) from error
    return Wire(access, client, http)


class KeyInUse:
    """Makes requests with the key in use, and with its successor once that is mounted. Shared by threads.

    `mounted` reads the key that is mounted now; without it a key that is refused is refused.
    """

    def __init__(
        self, access: StoreAccess, patience: Patience, connections: int, mounted: Callable[[], StoreAccess] | None
    ) -> None:
        self._patience, self._connections, self._mounted = patience, connections, mounted
        self._accepted: set[Place] = set()
        self._renewing = threading.Lock()
        self.wire = wire(access, patience, connections)

    def at(self, bucket: str) -> "KeyInUse":
        """The same key for another bucket; what is known of it holds there, too."""
        mounted = self._mounted
        there = None if mounted is None else lambda: replace(mounted(), bucket=bucket)
        other = KeyInUse(replace(self.wire.access, bucket=bucket), self._patience, self._connections, there)
        other._accepted = self._accepted
        return other

    def through_changes(self, place: Place, operation: Callable[[], T], *, needed: bool = True) -> T:
        """Run `operation`, through changes of the key.

        A key that was accepted at this place and is refused now is being replaced: its successor is waited for, as long
        as a kubelet takes to mount it; KeyWithdrawn when it does not come. A key that was never accepted here is refused
        at once, unless the pod is ending: this agent would not be started again. What is not `needed` waits only for the
        successor of a key that the store knows no more: a good key may just not be allowed it.
        """
        refusals = 0
        while True:
            used = self.wire
            try:
                result = operation()
            except KeyRefused as error:
                if self._mounted is None:
                    raise
                if self._take_up_another(used, self._mounted):
                    continue
                if not needed and not isinstance(error, KeyUnknown):
                    raise
                accepted = place in self._accepted or (isinstance(error, KeyUnknown) and bool(self._accepted))
                if not accepted and self._patience.left() is None:
                    raise
                refusals += 1
                if refusals == 1:
                    log.warning("the key is refused: waiting for another one to be mounted", error=error.message)
                if refusals > MOST_REFUSALS or not self._patience.pause(refusals):
                    if not accepted:
                        raise
                    raise KeyWithdrawn(f"{error.message} The store accepted a key of this pod before.") from error
            else:
                if needed:
                    self._accepted.add(place)
                return result

    def _take_up_another(self, used: Wire, mounted: Callable[[], StoreAccess]) -> bool:
        """Whether there is another key than the one that was used, in use from now on."""
        with self._renewing:
            if self.wire is not used:
                return True  # another thread was first
            try:
                access = mounted()
                if access == used.access:
                    return False
                self.wire = wire(access, self._patience, self._connections)
            except AgentError as error:  # the Secret is being written: the next look tells more
                log.warning("the mounted key cannot be read", error=error.message)
                return False
        log.info("another key is mounted: using it", access_key=access.access_key)
        return True
