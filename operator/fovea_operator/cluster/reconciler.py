"""One reconcile: observe → decide → children → one status write if it changed → deletions → events."""

import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from fovea_api.v1alpha1 import Condition
from fovea_api.v1alpha1.conditions import ObjectReason

from fovea_operator.cluster import bounded, merge_patch, records, reduced
from fovea_operator.errors import OF_CONTENT, ApiError, Conflict, Gone, Overtaken, Refused, Transient
from fovea_operator.reconcile.shared import platform
from fovea_operator.reconcile.shared.conditions import Finding, Truth, put
from fovea_operator.reconcile.shared.decision import POD, Child, Decision, Event, GroupVersionKind
from fovea_operator.settings import Settings

from .cache import Cache, Entry
from .children import Children
from .client import ApiClient
from .events import Subject
from .intake import Intake
from .keys import Key, Ref
from .kind import Kinds
from .left_out import LeftOut, Named
from .line import Line
from .metrics import Metrics
from .offences import Offences
from .queue import Again, Backoff

log = logging.getLogger(__name__)

_PODS_AT_ONCE = 16
"""Pods of one job that are created at the same time: one job does not take all connections to the API server."""
Announce = Callable[[Subject, Any], None]


def _kind_of_write(child: Child) -> tuple[bool, bool]:
    return GroupVersionKind.of(child.manifest) == POD, child.is_needed


class Reconciler:
    """Works on keys; `work` never raises."""

    def __init__(
        self,
        *,
        client: ApiClient,
        cache: Cache,
        kinds: Kinds,
        intake: Intake,
        settings: Settings,
        metrics: Metrics,
        announce: Announce,
        requeue: Callable[[Key, float | None], None],
        line: Line,
        left_out: LeftOut | None = None,
    ) -> None:
        """`requeue` gets the seconds after which a key shall be looked at again, or None. `left_out`: where decisions learn of it."""
        self._client = client
        self._kinds = kinds
        self._intake = intake
        self._settings = settings
        self._metrics = metrics
        self._announce = announce
        self._requeue = requeue
        self._line = line
        self._offences = Offences()
        backoff = Backoff(settings.retry_base_seconds, settings.retry_max_seconds)
        self._left_out = left_out or LeftOut(backoff)
        self._children = Children(client, cache, intake, settings.resync_seconds, backoff, metrics)

    async def work(self, key: Key, waited: float) -> Again | None:
        """Reconcile one key: the boundary at which every error ends, in the way that `errors` says."""
        self._metrics.waited.observe(waited)
        begun = time.perf_counter()
        again: Again | None = None
        outcome = "done"
        try:
            again = await self._reconcile(key)
            outcome = "done" if again is None else "refused"
        except Gone as error:
            outcome = "gone"
            log.info("an object went away under a reconcile", extra={"key": str(key), "error": str(error)})
        except Conflict as error:
            # The cache has by now what caused an Overtaken, such as a version that somebody registered by hand.
            outcome, again = "conflict", Again(at_once=isinstance(error, Overtaken))
            log.info("decided on something out of date; deciding again", extra={"key": str(key), "error": str(error)})
        except Refused as error:
            # The status reports a refused child. This is a refused status or deletion: only the log can report it.
            outcome, again = "refused", Again(error.retry_after)
            log.error(  # noqa: TRY400 - the server's answer, no defect of ours
                "the API server refuses a status or a deletion: check the operator's rights and its definitions",
                extra={"key": str(key), "error": str(error)},
            )
        except ApiError as error:
            outcome, again = "transient", Again(error.retry_after)
            log.warning("the API server did not do it; trying again", extra={"key": str(key), "error": str(error)})
        except Exception as error:
            outcome, again = "internal-error", Again()
            log.exception("internal error: a defect of Fovea", extra={"key": str(key)})
            await self._tell_internal_error(key, error)
        self._metrics.reconciled.labels(key.gvk.kind, outcome).observe(time.perf_counter() - begun)
        # Whatever the outcome: a key that no longer waits for room must leave the line, so that others move up.
        if again is not None and again.out_of_quota:
            self._line.refused(key, self._kinds.of(key).waits_since(key))
        else:
            self._line.leave(key)
        return again

    async def _reconcile(self, key: Key) -> Again | None:
        entry = self._entry(key)
        if entry is None:
            await self._without_object(key)
            return None
        await self._end_orphans(key, entry.uid)
        for ref, marks in self._kinds.of(key).unconfirmed(key):
            await self._children.look_for(ref, entry.uid, marks)
        now = datetime.now(UTC)
        decided_on = self._entry(key)
        decision = self._kinds.of(key).decide(key, now, self._settings, "")
        refused: Refused | None = None
        left_out: float | None = None
        try:
            left_out = await self._write_children(key, entry.uid, decision.children)
        except Refused as error:
            refused = error
            log.warning("a child was refused", extra={"key": str(key), "error": str(error)})
            decided_on = self._entry(key)
            decision = self._kinds.of(key).decide(key, now, self._settings, str(error))
        if decided_on is not None and decision.status is not None:
            await self._write_status(key, decided_on, decision)
            if decision.deadline is not None:
                late = datetime.now(UTC) - decision.deadline.due
                self._metrics.count_deadline(decision.deadline.field, late.total_seconds())
        for deletion in decision.deletions:
            await self._children.delete(deletion)
        subject = Subject(key.gvk, key.namespace, key.name, entry.uid)
        for event in decision.events:
            self._announce(subject, event)
        seconds = None if decision.requeue_at is None else max(0.0, (decision.requeue_at - now).total_seconds())
        if refused is not None:
            return Again(refused.retry_after, at_most=seconds, out_of_quota=platform.is_out_of_quota(str(refused)))
        self._requeue(key, _sooner(seconds, left_out))
        return None

    async def _write_children(self, key: Key, uid: str, children: Iterable[Child]) -> float | None:
        """Write children in their order. Pods that follow each other are written a few at a time: what they need comes before them.

        The answer: seconds after which an optional one is to be tried again that was left out; None: none is.
        """
        again: float | None = None

        async def write(child: Child) -> None:
            nonlocal again
            again = _sooner(again, await self._write_child(key, uid, child))

        first: Refused | None = None
        for (is_pod, is_needed), run in groupby(children, _kind_of_write):
            if is_needed:
                await bounded.each(tuple(run), write, _PODS_AT_ONCE if is_pod else 1)
                continue
            for child in run:
                try:
                    await write(child)
                except Refused as error:
                    first = first or error
        if first is not None:
            raise first
        return again

    async def _write_child(self, key: Key, uid: str, child: Child) -> float | None:
        """Seconds after which it is to be tried again, where it is optional and was left out for a reason that may pass soon."""
        if child.is_optional:
            return await self._write_optional(key, child)
        try:
            await self._children.write(child)
        except Refused as error:
            if child.plainer is None or error.code not in OF_CONTENT:
                raise
            self._tell_refused(key, uid, "ContentRefused", error)
            await self._children.write(Child(child.write, child.plainer))
        return None

    async def _write_optional(self, key: Key, child: Child) -> float | None:
        """Its owner goes on whatever is answered, and fails for nothing of it: its back-off would put off what cannot wait."""
        named = Named.of(child.manifest)
        if not self._left_out.is_held(named, time.monotonic()):
            try:
                await self._children.write(child)
            except (Refused, Transient) as error:
                log.warning("an object is not made or changed", extra={"key": str(key), "error": str(error)})
                self._left_out.put(named, error, time.monotonic())
            else:
                self._left_out.drop(named)
        return self._left_out.again(named, time.monotonic())

    def _entry(self, key: Key) -> Entry[Any] | None:
        return self._kinds.of(key).store.get(key.namespace, key.name)

    async def _write_status(self, key: Key, decided_on: Entry[Any], decision: Decision) -> None:
        # The newest entry: while children were written, somebody may have edited the spec, or deleted the object.
        current = self._entry(key)
        if current is None or current.uid != decided_on.uid:
            return
        if current.record.status != decided_on.record.status:
            raise Overtaken("another operator wrote the status that this decision builds on")
        there, wanted = current.record.status.dump(), decision.status or {}
        refusals: list[Refused] = []
        full = {name: value for name, value in {**wanted, **decision.riders}.items() if value is not None}
        *larger, least = zip((full, *reduced.statuses(full)), (wanted, *reduced.statuses(wanted)), strict=True)
        allowed = (pair for pair in larger if not self._offences.known(key, current.uid, pair[0]))
        for status, alone in (*allowed, least):
            if there in (status, alone):
                return
            try:
                await self._patch_status(key, current, status)
            except Refused as error:
                if error.code not in OF_CONTENT:
                    raise
                self._offences.add(key, current.uid, status)
                self._tell_refused(key, current.uid, "StatusRefused", error)
                refusals.append(error)
            else:
                return
        # Even the shortest status is refused, so its texts are not the cause. The next attempt may succeed.
        self._offences.forget(key)
        raise refusals[-1]

    def _tell_refused(self, key: Key, uid: str, reason: str, error: Refused) -> None:
        """Report by log and Event that some content is left out."""
        log.error("the API server refuses what was decided", extra={"key": str(key), "error": str(error)})
        message = f"The API server refused some of the content. Fovea leaves this content out: {error}"
        self._announce(Subject(key.gvk, key.namespace, key.name, uid), Event("Warning", reason, message))

    async def _patch_status(self, key: Key, known: Entry[Any], status: dict[str, Any]) -> None:
        """Write what differs from the status that is known: the patch holds only as long as nothing else was written."""
        patch = merge_patch.between(known.record.status.stored(), status)
        if not patch:
            return
        try:
            with self._intake.writing(key, status):
                answer = await self._client.merge_status(Ref(*key), known.version, patch)
                self._intake.seen(key.gvk, answer)
        except Conflict as error:
            newest = self._entry(key)
            if newest is not None and newest.version == known.version:
                # A watch that has missed the change, or is late, must not hold up the status of its object.
                resource = self._kinds.of(key).resource
                found = await self._client.get(resource, key.namespace, key.name)
                self._intake.seen(key.gvk, found)
                if records.version(found) < known.version:
                    self._intake.relisted(key.gvk)  # a restored backup: a comparison makes sure, and ends the process
            raise Overtaken(str(error), code=error.code) from error

    async def _without_object(self, key: Key) -> None:
        unreadable = self._kinds.of(key).store.unreadable.get((key.namespace, key.name))
        if unreadable is not None and unreadable.in_status:
            return  # a newer Fovea wrote this status and will lead again: do not overwrite its fields
        if unreadable is not None:
            await self._tell_unreadable(key, unreadable.message)
            return
        self._requeue(key, None)
        self._offences.forget(key)
        await self._end_orphans(key, "")

    async def _end_orphans(self, key: Key, uid: str) -> None:
        """Delete the children of earlier objects of this name; `uid`: uid of the object that exists, empty if there is none."""
        for deletion in self._kinds.of(key).orphaned(key, uid, datetime.now(UTC), self._settings):
            await self._children.delete(deletion)

    async def _tell_unreadable(self, key: Key, message: str) -> None:
        """Report on the object itself that it cannot be read."""
        kind = self._kinds.of(key)
        raw = await self._client.get(kind.resource, key.namespace, key.name)
        status = raw.get("status") or {}
        generation = int(raw["metadata"].get("generation") or 0)
        conditions = status.get("conditions") or []
        told = _with_condition(conditions, kind.trouble, "False", ObjectReason.INVALID_SPEC, message, generation)
        if told != conditions:
            patch = {"conditions": told, "message": message}
            await self._client.merge_status(Ref(*key), records.version(raw), patch)

    async def _tell_internal_error(self, key: Key, error: Exception) -> None:
        """Report an internal error on the object. If that fails too, only the log has it."""
        entry = self._entry(key)
        if entry is None:
            return
        kind, record = self._kinds.of(key), entry.record
        if kind.is_at_rest(record):
            return
        message = (
            f"Fovea failed with an unexpected error ({type(error).__name__}) and tries again. "
            "The operator's log has the details: please report them"
        )
        status = record.status.dump()
        conditions = status.get("conditions") or []
        told = _with_condition(
            conditions, kind.trouble, "Unknown", ObjectReason.INTERNAL_ERROR, message, record.metadata.generation
        )
        if told == conditions:
            return
        try:
            await self._patch_status(key, entry, {**status, "conditions": told, "message": message})
        except ApiError as second:
            log.warning("cannot report an internal error", extra={"key": str(key), "error": str(second)})


def _with_condition(
    conditions: list[dict[str, Any]], kind: str, status: Truth, reason: str, message: str, generation: int
) -> list[dict[str, Any]]:
    """The conditions with this one set. The others stay as they are, even if they cannot be read."""
    before = [Condition.model_validate(condition) for condition in conditions if condition["type"] == kind]
    [told] = put(before, Finding(kind, status, reason, message), now=datetime.now(UTC), generation=generation)
    new = told.dump()
    if not before:
        return [*conditions, new]
    return [new if condition["type"] == kind else condition for condition in conditions]


def _sooner(one: float | None, other: float | None) -> float | None:
    return min((seconds for seconds in (one, other) if seconds is not None), default=None)
