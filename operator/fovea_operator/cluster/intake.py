"""Events, lists and answers to our own writes change the cache. The keys that a change concerns are queued."""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from fovea_api.contract import labels

from fovea_operator.errors import BackInTime, InvalidSpec
from fovea_operator.reconcile.shared.decision import POD, GroupVersionKind
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.shared.pods import ended
from fovea_operator.settings import Settings

from . import records, resources
from .cache import Cache, Change, Store
from .client import ApiClient
from .keys import Key
from .kind import Kinds
from .resources import Resource

log = logging.getLogger(__name__)
DELETED = "DELETED"


class Intake:
    """The only writer of the cache."""

    def __init__(
        self, cache: Cache, kinds: Kinds, enqueue: Callable[[Key], None], namespaces: Collection[str] = ()
    ) -> None:
        """`namespaces`: those whose objects come in; empty: all."""
        self._namespaces = namespaces
        self._cache = cache
        self._kinds = kinds
        self._enqueue = enqueue
        self.relisted: Callable[[GroupVersionKind], None] = lambda _gvk: None
        """Called with the kind of an object that came by a list of the watcher: events may have been missed before it."""
        self.words: Callable[[Key], None] = enqueue
        """Called with each key for which nothing has changed but the scheduler's words on a waiting pod."""
        self._removed: list[Callable[[str], None]] = []
        self._room: list[Callable[[str], None]] = []
        self._writing: dict[Key, Any] = {}

    @contextmanager
    def writing(self, key: Key, status: dict[str, Any]) -> Iterator[None]:
        """While a key writes its object's status, that change does not queue the key, whether the answer or an event reports it.

        The decision already knows this change. Any other change of the object, such as an edit, queues the key.
        """
        self._writing[key] = status
        try:
            yield
        finally:
            del self._writing[key]

    def on_removed(self, listener: Callable[[str], None]) -> None:
        """Call the listener with the uid of each known object that is gone, or that another object of its name replaced."""
        self._removed.append(listener)

    def on_room(self, listener: Callable[[str], None]) -> None:
        """Call the listener with the namespace of each pod that has ended or is gone."""
        self._room.append(listener)

    def event(self, gvk: GroupVersionKind, event_type: str | None, raw: records.Raw) -> None:
        """Take in a watch event. Type None: the event is from the list with which a watch begins."""
        metadata = raw["metadata"]
        namespace = metadata.get("namespace") or ""
        if namespace and self._namespaces and namespace not in self._namespaces:
            return  # the operator's own namespace is watched for its Lease
        if event_type == DELETED:
            self._last_seen(gvk, raw)
            self.gone(gvk, namespace, metadata["name"], metadata["uid"], records.version(raw))
            return
        if event_type is None:
            self.relisted(gvk)
        self.seen(gvk, raw)

    def seen(self, gvk: GroupVersionKind, raw: records.Raw) -> None:
        """Take in an object as it is now, from an event, a list or the answer to a write of our own."""
        store = self._cache.store(gvk)
        if store is None:
            return
        metadata = raw["metadata"]
        namespace, name = metadata.get("namespace") or "", metadata["name"]
        if store.is_known((namespace, name), metadata["uid"], records.version(raw)):
            return
        before = store.get(namespace, name)
        try:
            change = store.put(raw)
        except InvalidSpec as error:
            log.warning(
                "cannot read an object", extra={"object": f"{gvk.kind} {namespace}/{name}", "error": str(error)}
            )
            change = Change((namespace, name), before, None)
        if change is not None:
            self._route(gvk, change)

    def _last_seen(self, gvk: GroupVersionKind, raw: records.Raw) -> None:
        """Take in the last state of a deleted pod. It may be the only event that shows how the pod ended."""
        store = self._cache.store(gvk)
        if gvk != POD or store is None:
            return
        known = store.get(raw["metadata"].get("namespace") or "", raw["metadata"]["name"])
        if known is not None and known.uid == raw["metadata"]["uid"] and not ended(known.record):
            change = store.put(raw)
            if change is not None:
                self._route(gvk, change)

    def gone(self, gvk: GroupVersionKind, namespace: str, name: str, uid: str, version: int | None = None) -> None:
        """Take in that the object with this uid no longer exists (as of `version`, if given)."""
        store = self._cache.store(gvk)
        if store is not None and (change := store.remove((namespace, name), uid, version)) is not None:
            self._route(gvk, change)

    def missing(self, store: Store[Any], namespace: str, listed: set[str], as_of: int) -> None:
        """Take in that known objects are gone whose uids are not in a list of this namespace (empty: of all namespaces)."""
        for (where, name), uid in store.missing(listed):
            if not namespace or where == namespace:
                self.gone(store.resource.gvk, where, name, uid, as_of)

    def forget(self, gvk: GroupVersionKind) -> None:
        """Forget all objects of a kind that the API server no longer serves."""
        store = self._cache.store(gvk)
        for change in store.clear() if store is not None else ():
            self._route(gvk, change)

    def _route(self, gvk: GroupVersionKind, change: Change[Any]) -> None:
        if change.before is not None and (change.after is None or change.after.uid != change.before.uid):
            for listener in self._removed:
                listener(change.before.uid)
        if gvk == POD and _has_made_room(change):
            for listener in self._room:
                listener(change.name[0])
        enqueue = self.words if gvk == POD and _is_words_alone(change) else self._enqueue
        for key in self._kinds.concerned(gvk, change):
            if not (key.gvk == gvk and key[1:] == change.name and self._is_own(key, change)):
                enqueue(key)

    def _is_own(self, key: Key, change: Change[Any]) -> bool:
        """Whether the change is only the status that the key is writing now."""
        before, after, status = change.before, change.after, self._writing.get(key)
        if status is None or before is None or after is None or before.uid != after.uid:
            return False
        rest = after.record.model_copy(update={"status": before.record.status})
        return bool(rest == before.record and after.record.status.dump() == status)


def _is_words_alone(change: Change[PodRecord]) -> bool:
    """Whether no node took the pod before and none takes it now, and only the words on that are others."""
    before, after = change.before, change.after
    if before is None or after is None or before.uid != after.uid:
        return False
    said = after.record.unschedulable
    return bool(before.record.unschedulable and said) and replace(before.record, unschedulable=said) == after.record


def _has_made_room(change: Change[PodRecord]) -> bool:
    """Whether a pod has ended or is gone. A quota of cpu counts a pod until its end, one of count/pods until it is gone."""
    before, after = change.before, change.after
    if before is None or after is None:
        return before is not None
    return ended(after.record) and not ended(before.record)


async def list_all(client: ApiClient, cache: Cache, intake: Intake, settings: Settings) -> None:
    """Compare the cache with lists of all kinds that are not optional: take in new and changed objects, remove missing ones.

    Owners are listed before their children, so that no child comes in before its existing owner.
    """
    for resource in resources.WATCHED:
        await list_kind(client, cache, intake, settings, resource)


async def list_kind(client: ApiClient, cache: Cache, intake: Intake, settings: Settings, resource: Resource) -> None:
    """Compare the cache with a list of one kind."""
    store = cache.store(resource.gvk)
    if store is None:
        return
    label = labels.MANAGED_SELECTOR if resource.labelled else ""
    for namespace in scopes(resource, settings):
        listed: set[str] = set()
        as_of, newest = 0, store.newest
        async for items, version in client.pages(resource, namespace, label):
            as_of = as_of or as_of_list(resource, version, newest)
            for item in items:
                check_item(store, item, newest)
                listed.add(records.uid(item))
                intake.seen(resource.gvk, item)
        intake.missing(store, namespace, listed, as_of)


def as_of_list(resource: Resource, version: int, newest: int) -> int:
    """The version of a list. Raises `BackInTime` if it is older than `newest`, which was known of its kind when the list began.

    The API server's lists are never older than what it has told before, unless its store was restored from a backup.
    """
    if version < newest:
        raise BackInTime(
            f"the API server lists {resource.kind}s as of version {version}, and version {newest} was seen before: its store was "
            "restored from a backup"
        )
    return version


def check_item(store: Store[Any], item: records.Raw, newest: int) -> None:
    """Raise `BackInTime` if a list has an older version of an object than was known when the list began.

    A backup may be restored with a jump ahead (etcd's --bump-revision): then lists are newer than before, and the objects are not.
    """
    metadata = item["metadata"]
    name, version = (metadata.get("namespace") or "", metadata["name"]), records.version(item)
    if store.is_overtaken(name, metadata["uid"], version, newest):
        raise BackInTime(
            f"the API server lists {store.resource.kind} {'/'.join(filter(None, name))} in version {version}, and a later one was "
            "seen before: its store was restored from a backup"
        )


def scopes(resource: Resource, settings: Settings) -> tuple[str, ...]:
    """The namespaces in which a kind is listed; an empty one is the whole cluster."""
    return settings.watch_namespaces if resource.namespaced and settings.watch_namespaces else ("",)
