"""Which batch prediction may write to the place of an output: the one with the newest claim there (ADR 227).

`<output>/claims/<number>` names a prediction. Each is written with If-None-Match, so one of many takes a number. The workers of
the prediction renew theirs while they work; what composes the output removes it. A claim that is replaced stays until then: who
finds its own one behind another never writes again.
"""

import hashlib
import io
import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

from fovea_api.contract import storage
from fovea_api.contract.plan import BatchPlan
from fovea_api.contract.report import REASON_OUTPUT_TAKEN

from fovea_agent import log
from fovea_agent.errors import AgentError, Misconfigured, Missing
from fovea_agent.restore import is_number
from fovea_agent.store import Store, StoredObject

RENEWED_EVERY = 600.0
"""Seconds between two renewals by a worker."""
LAPSES = timedelta(hours=1)
"""After this time without a renewal a claim is void. S3 refuses a request whose clock is 15 minutes off: clocks differ by less."""


@dataclass(frozen=True)
class Holder:
    """The prediction that a claim names."""

    namespace: str
    name: str
    uid: str
    account: str = field(default="", compare=False)
    """Uid of the service account of its workers, which tells clusters apart; empty: unknown."""

    def to_json(self) -> bytes:
        """As the claim's content."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Holder | None":
        """Read; None for an object that is no claim."""
        try:
            document = json.loads(data)
            namespace, name, uid = (str(document[name]) for name in ("namespace", "name", "uid"))
            return cls(namespace, name, uid, str(document.get("account", "")))  # earlier releases name no account
        except (ValueError, TypeError, KeyError):
            return None

    def is_namesake_of(self, other: "Holder") -> bool:
        """Whether both have one name, be it in two clusters."""
        return (self.namespace, self.name) == (other.namespace, other.name)

    def gives_way_to(self, other: "Holder") -> bool:
        """Whether it must have been deleted: a cluster has one object of a name, and its Job goes before that of the next one."""
        return self.is_namesake_of(other) and self.account == other.account


@dataclass(frozen=True)
class Claim:
    """That of one prediction to the place `key` of a store's bucket. Safe to use from several threads."""

    plan: BatchPlan
    store: Store
    key: str
    account: str = ""
    """Uid of the service account of this pod."""
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    monotonic: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _renewed: list[float] = field(default_factory=list)

    @property
    def own(self) -> Holder:
        """The prediction that claims."""
        return Holder(self.plan.namespace, self.plan.name, self.plan.uid, self.account)

    def hold(self) -> None:
        """Have the newest claim, and renew it. Raises Misconfigured when the place is another prediction's."""
        with self._lock:
            self._hold()

    def renew(self) -> None:
        """The same where this worker held it some time ago."""
        with self._lock:
            if self._renewed and self.monotonic() - self._renewed[0] >= RENEWED_EVERY:
                self._hold()

    def release(self) -> None:
        """Remove all claims: the place has its output, or this prediction will never write to it. An outage leaves them to lapse."""
        try:
            self.store.remove(item.key for _, item in self._there())
        except AgentError as error:
            log.warning("claims to the place of the output stay behind", place=self.key, error=error.message)

    def _hold(self) -> None:
        while not self._held():
            pass  # another one came first, or went: who has it now?
        self._renewed[:] = [self.monotonic()]

    def _held(self) -> bool:
        there = self._there()
        if not there:
            return self._take(1)
        try:
            holders = [Holder.from_json(self.store.read(item.key)) for _, item in there]
        except Missing:
            return False
        number, newest = there[-1]
        if holders[-1] == self.own:
            data = self.own.to_json()
            self.store.put(newest.key, lambda: io.BytesIO(data), len(data), _md5(data))
            return True
        if self.own in holders or not self._is_void(holders[-1], newest):
            raise self._taken(holders[-1], newest, overtaken=self.own in holders)
        log.info("the claim of another prediction is replaced", place=self.key, claim=newest.key)
        return self._take(number + 1)

    def _there(self) -> list[tuple[int, StoredObject]]:
        prefix = storage.batch_claim(self.key, 0).removesuffix("0")
        found = ((item.key.removeprefix(prefix), item) for item in self.store.listing(prefix))
        return sorted(((int(name), item) for name, item in found if is_number(name)), key=lambda each: each[0])

    def _take(self, number: int) -> bool:
        return self.store.put_if_absent(storage.batch_claim(self.key, number), self.own.to_json())

    def _is_void(self, holder: Holder | None, item: StoredObject) -> bool:
        is_of_deleted = holder is not None and holder.gives_way_to(self.own)
        return is_of_deleted or self.clock() - item.modified >= LAPSES

    def _taken(self, holder: Holder | None, item: StoredObject, *, overtaken: bool) -> Misconfigured:
        where = f"s3://{self.store.bucket}/{item.key}"
        who = (
            f"prediction {holder.name!r} of namespace {holder.namespace!r} (uid {holder.uid})"
            if holder is not None
            else f"an object that is no claim of Fovea ({where})"
        )
        if holder is not None and holder.is_namesake_of(self.own):
            who += ", which has this name in another cluster, or was submitted with another service account"
        has = "has meanwhile been claimed by" if overtaken else "is claimed by"
        lapses = (item.modified + LAPSES).astimezone(UTC)
        return Misconfigured(
            f"the place of the output, {self.plan.output_uri}, {has} {who}, whose output is not published yet: name another folder "
            f"in spec.output.uri. If that one has failed, or was cancelled or deleted, remove {where} and submit again; left alone, "
            f"the claim lapses at {lapses:%Y-%m-%dT%H:%M:%SZ}",
            reason=REASON_OUTPUT_TAKEN,
        )


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
