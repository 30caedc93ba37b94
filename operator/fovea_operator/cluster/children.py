"""Writing and deleting children. A child that is as wanted is not written again. An object of another owner is never changed."""

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fovea_api.contract import labels

from fovea_operator.errors import (
    HTTP_SERVER_ERRORS,
    AlreadyExists,
    Conflict,
    Gone,
    InvalidSpec,
    NotOurs,
    Overtaken,
    Refused,
    Transient,
)
from fovea_operator.reconcile.shared.decision import POD, Child, Deletion, GroupVersionKind, Write

from . import records, resources
from .cache import Cache, Entry
from .client import ApiClient, Object
from .intake import Intake
from .keys import Ref
from .metrics import Metrics
from .queue import Backoff
from .restored import Restored

log = logging.getLogger(__name__)
Manifest = Mapping[str, Any]
UNSEEN_SECONDS = 30.0
"""An object of which no watch tells is looked at again after this: decisions that want it may come each second."""


class Children:
    """Carries out the children and deletions of decisions."""

    def __init__(
        self,
        client: ApiClient,
        cache: Cache,
        intake: Intake,
        reapply_seconds: float,
        backoff: Backoff,
        metrics: Metrics,
    ) -> None:
        """`reapply_seconds`: an unchanged intent is applied again after this, whatever the cache says.

        `backoff`: of labels that are taken away again and again.
        """
        self._client = client
        self._cache = cache
        self._intake = intake
        self._reapply_seconds = reapply_seconds
        self._metrics = metrics
        self._applied: dict[str, _Applied] = {}  # by uid
        self._unseen: dict[tuple[str, str, str], tuple[bytes, float]] = {}  # what was found or applied, and when
        self._restored = Restored(backoff)
        self._unchangeable: dict[str, float] = {}  # since when, by uid
        intake.on_removed(self._forget)

    async def write(self, child: Child) -> None:
        """Make a child exist as its manifest says. Raises Refused: by a quota, by a policy, or since another owner has the name."""
        match child.write:
            case Write.CREATE:
                await self._create(child.manifest)
            case Write.APPLY:
                await self._apply(child.manifest)
            case Write.PATCH:
                await self._patch(child.manifest)
            case Write.STATUS:
                await self._patch_status(child.manifest)

    async def delete(self, item: Deletion) -> None:
        """Delete exactly this object. An object that no longer exists is no error."""
        try:
            answer = await self._client.delete(item)
        except (Gone, Conflict):
            # Gone: no object of this name. Conflict: another object of this name. In both cases this one does not exist.
            self._intake.gone(item.gvk, item.namespace, item.name, item.uid)
            return
        # The answer is the object itself if it is still ending, and a Status (or its last state) if it is gone at once.
        if GroupVersionKind.of(answer) == item.gvk and answer["metadata"].get("deletionTimestamp"):
            self._intake.seen(item.gvk, answer)

    async def look_for(self, ref: Ref, owner: str, marks: Mapping[str, str]) -> None:
        """Read an object that the cache does not have. If it exists and has this owner, restore its labels and put it into the cache.

        Raises InvalidSpec if it exists and the cache cannot read it: it must not be taken for one that is gone. Raises
        Transient if it is too soon to restore its labels once more.
        """
        try:
            found = await self._client.get(resources.of(ref.gvk), ref.namespace, ref.name)
            if records.owner(found).uid != owner:
                return
            if not (found["metadata"].get("labels") or {}).items() >= marks.items():
                found = await self._restore(ref, found["metadata"]["uid"], marks)
        except Gone:
            return
        self._intake.seen(ref.gvk, found)
        store = self._cache.store(ref.gvk)
        unreadable = None if store is None else store.unreadable.get((ref.namespace, ref.name))
        if unreadable is not None:
            raise InvalidSpec(f"{ref} exists and cannot be read: {unreadable.message}")

    async def _create(self, manifest: Manifest) -> None:
        known = self._known(manifest)
        if known is not None and known.owner.uid == _owner_uid(manifest) and _owner_uid(manifest):
            return
        try:
            answer = await self._client.create(manifest)
        except AlreadyExists:
            await self._meet(manifest)
            return
        self._intake.seen(GroupVersionKind.of(manifest), answer)
        self._note_first_pod(manifest)

    async def _meet(self, manifest: Manifest) -> None:
        """The name is taken. That is no error if the object is our own: an operator that ended before it saw the answer made it."""
        existing = await self._existing(manifest)
        if existing is None:
            raise Conflict(f"{_title(manifest)} existed and is gone again")
        self._intake.seen(GroupVersionKind.of(manifest), existing)
        if _owner_uid(manifest):
            found, wanted = records.owner(existing), records.owner(manifest)
            seen = self._known(manifest)
            # Only for an object in the cache: no event ever reports the end of another one, so deciding again would never end.
            if found[:2] == wanted[:2] and found != wanted and seen and seen.uid == existing["metadata"]["uid"]:
                raise Overtaken(f"{_title(manifest)} is one of a deleted {wanted.group_kind.kind} of the same name")
            if found != wanted:
                raise NotOurs(_taken(manifest, existing))
            if seen is None:
                self._refuse_unreadable(manifest)
                await self._show(manifest, existing)
        elif not _says(manifest.get("spec"), existing.get("spec")):
            self._refuse_unreadable(manifest)
            raise Overtaken(f"{_title(manifest)} exists with another content")

    async def _show(self, manifest: Manifest, existing: Object) -> None:
        """Restore the labels of an object of ours that has lost them. Without the labels no watch reports the object."""
        metadata = manifest["metadata"]
        ref = Ref(GroupVersionKind.of(manifest), metadata["namespace"], metadata["name"])
        if self._cache.store(ref.gvk) is None or not metadata.get("labels"):
            return
        self._intake.seen(ref.gvk, await self._restore(ref, existing["metadata"]["uid"], metadata["labels"]))

    async def _restore(self, ref: Ref, uid: str, marks: Mapping[str, str]) -> Object:
        """Give an object its labels again. Raises Transient if that was done a moment ago: somebody else takes them away."""
        wait = self._restored.wait(uid, time.monotonic())
        if wait > 0:
            raise Transient(f"labels of {ref} are taken away again and again: find out who does it", retry_after=wait)
        log.warning("labels of an object were taken away; it gets them again", extra={"object": str(ref)})
        labelled = await self._client.label(ref, uid, marks)
        self._restored.note(uid, time.monotonic())
        return labelled

    def _refuse_unreadable(self, manifest: Manifest) -> None:
        """Raise NotOurs for an object that cannot be read. No decision sees it, so deciding again would not help."""
        store = self._cache.store(GroupVersionKind.of(manifest))
        unreadable = None if store is None else store.unreadable.get(_place(manifest)[1:])
        if unreadable is not None:
            raise NotOurs(f"{_title(manifest)} exists and cannot be read: {unreadable.message}; or delete it", code=409)

    async def _apply(self, manifest: Manifest) -> None:
        known = self._known(manifest)
        digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).digest()
        if self._cache.store(GroupVersionKind.of(manifest)) is None:
            await self._apply_unseen(manifest, digest)
            return
        applied = None if known is None else self._applied.get(known.uid)
        if known is not None and applied is not None and applied.holds(digest, known, self._reapply_seconds):
            return
        if known is None and _owner_uid(manifest):
            # Apply would take over an object of another owner with this name: look before the first apply.
            existing = await self._existing(manifest)
            if existing is not None and records.owner(existing).uid != _owner_uid(manifest):
                raise NotOurs(_taken(manifest, existing))
        elif known is not None and _owner_uid(manifest) and known.owner.uid != _owner_uid(manifest):
            raise NotOurs(f"{_title(manifest)} belongs to another owner: delete it or choose another name", code=409)
        answer = await self._client.apply(manifest)
        self._intake.seen(GroupVersionKind.of(manifest), answer)
        entry = self._known(manifest)
        if entry is not None:
            self._applied[entry.uid] = _Applied(digest, _intent(entry), time.monotonic())

    async def _apply_unseen(self, manifest: Manifest, digest: bytes) -> None:
        """Of a kind that is not watched. It has no owner here, so its labels say whether Fovea made the one that is there."""
        applied, at = self._unseen.get(_place(manifest), (b"", 0.0))
        if applied == digest and time.monotonic() - at < UNSEEN_SECONDS:
            return
        existing = await self._existing(manifest)
        if existing is None or not _says(manifest["spec"], existing.get("spec")):
            if existing is not None and not _says(manifest["metadata"]["labels"], existing["metadata"].get("labels")):
                raise NotOurs(_taken(manifest, existing))
            await self._client.apply(manifest)
        self._unseen[_place(manifest)] = digest, time.monotonic()

    async def _patch(self, manifest: Manifest) -> None:
        """Change an object that exists. Raises Refused once, and then not before `reapply_seconds` have passed.

        An object that is gone, or that another one has replaced, is no error: an event reports it, and that is decided on.
        """
        gvk, metadata = GroupVersionKind.of(manifest), manifest["metadata"]
        uid, refused_at = metadata["uid"], self._unchangeable.get(metadata["uid"])
        if refused_at is not None and time.monotonic() - refused_at < self._reapply_seconds:
            return
        kept = {key: value for key, value in metadata.items() if key not in ("name", "namespace")}
        try:
            answer = await self._client.merge(
                Ref(gvk, metadata["namespace"], metadata["name"]), {"metadata": kept, "spec": manifest["spec"]}
            )
        except (Gone, Conflict) as error:
            log.info(
                "an object to change is not there any more", extra={"object": _title(manifest), "error": str(error)}
            )
            return
        except Refused as error:
            if error.code < HTTP_SERVER_ERRORS:
                self._unchangeable[uid] = time.monotonic()
            raise
        self._intake.seen(gvk, answer)

    async def _patch_status(self, manifest: Manifest) -> None:
        gvk, metadata = GroupVersionKind.of(manifest), manifest["metadata"]
        ref = Ref(gvk, metadata["namespace"], metadata["name"])
        answer = await self._client.merge_status(ref, int(metadata["resourceVersion"]), manifest["status"])
        self._intake.seen(gvk, answer)

    def _forget(self, uid: str) -> None:
        self._applied.pop(uid, None)
        self._unchangeable.pop(uid, None)

    def _known(self, manifest: Manifest) -> Entry[Any] | None:
        store = self._cache.store(GroupVersionKind.of(manifest))
        return None if store is None else store.get(*_place(manifest)[1:])

    async def _existing(self, manifest: Manifest) -> Object | None:
        _, namespace, name = _place(manifest)
        try:
            return await self._client.get(resources.of_manifest(manifest), namespace, name)
        except Gone:
            return None

    def _note_first_pod(self, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        if GroupVersionKind.of(manifest) != POD or metadata["labels"].get(labels.ATTEMPT) != "0":
            return
        job = self._cache.jobs.get(metadata["namespace"], records.owner(manifest).name)
        if job is not None:
            created = records.moment(job.record.metadata.creation_timestamp)
            self._metrics.first_pod.observe(max(0.0, (datetime.now(UTC) - created).total_seconds()))


class _Applied:
    """What was applied last to one object."""

    __slots__ = ("_at", "_digest", "_intent")

    def __init__(self, digest: bytes, intent: Any, at: float) -> None:
        self._digest, self._intent, self._at = digest, intent, at

    def holds(self, digest: bytes, known: Entry[Any], seconds: float) -> bool:
        """Whether the same manifest was applied recently, and the object's spec has not changed since."""
        return self._digest == digest and self._intent == _intent(known) and time.monotonic() - self._at < seconds


def _intent(entry: Entry[Any]) -> Any:
    """A value of the record that changes exactly when somebody edits the object's spec."""
    record = entry.record
    if hasattr(record, "generation"):
        return record.generation
    if hasattr(record, "metadata"):
        return record.metadata.generation
    return record  # a Service: it has no status that changes by itself


def _place(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace") or "", metadata["name"]


def _title(manifest: Manifest) -> str:
    kind, namespace, name = _place(manifest)
    return f"{kind} {namespace}/{name}"


def _owner_uid(manifest: Manifest) -> str:
    return records.owner(manifest).uid


def _taken(manifest: Manifest, existing: Object) -> str:
    owner = records.owner(existing)
    whose = f"is owned by {owner.group_kind.kind} {owner.name}" if owner.uid else "was not made by Fovea"
    return f"{_title(manifest)} exists and {whose}: delete it, or choose another name for what needs it"


def _says(wanted: Any, found: Any) -> bool:
    """Whether `found` contains everything in `wanted`. It may contain more, such as defaults."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(_says(value, found.get(key)) for key, value in wanted.items())
    return bool(wanted == found)
