"""The interface of a kind that the operator reconciles. Queue, reconciler, intake and resync treat all kinds alike."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from fovea_api import v1alpha1

from fovea_operator.reconcile.shared.decision import Decision, Deletion, GroupVersionKind
from fovea_operator.settings import Settings

from .cache import Change, Store
from .keys import Key, Ref
from .resources import Resource

T = TypeVar("T", bound=v1alpha1.Resource)


class Kind(ABC, Generic[T]):
    """One kind: where its objects are, which changes concern them, how they are decided on, and where trouble is reported.

    CONTRIBUTING.md lists the steps for a new kind.
    """

    resource: ClassVar[Resource]
    trouble: ClassVar[str]
    """Type of the condition that reports an object that cannot be read, or an internal error."""

    def __init__(self, store: Store[T]) -> None:
        self.store = store

    def key(self, namespace: str, name: str) -> Key:
        """The key of one of its objects."""
        return Key(self.resource.gvk, namespace, name)

    @abstractmethod
    def decide(self, key: Key, now: datetime, settings: Settings, refused: str) -> Decision:
        """The decision on an object by the current cache. Empty if the object does not exist.

        `refused`: the API server's message if it refused a child of the previous decision, else empty.
        """

    @abstractmethod
    def concerned(self, gvk: GroupVersionKind, change: Change[Any]) -> Iterable[Key]:
        """Keys of this kind that must be decided on again after a change of an object of any watched kind, its own included."""

    def due(self, _until: datetime) -> Iterator[Key]:
        """Keys for the regular look, which finds what was missed. The next regular look is at `until`.

        Objects at rest may be left out if each change that they need to react to comes as an event.
        """
        for name in self.store.names():
            yield self.key(*name)

    def orphaned(self, _key: Key, _uid: str, _now: datetime, _settings: Settings) -> tuple[Deletion, ...]:
        """Deletions of the children of earlier objects of this name. The uid is that of the object that exists, or empty."""
        return ()

    def unconfirmed(self, _key: Key) -> Iterable[tuple[Ref, Mapping[str, str]]]:
        """Objects that are not in the cache, and whose loss the next decision acts on. They are read once before the decision.

        Each with the labels that Fovea gave it.
        """
        return ()

    def waits_since(self, key: Key) -> str:
        """Since when an object has waited: its creation, or a later time at which it was queued again. RFC 3339 in UTC; empty if unknown."""
        entry = self.store.get(key.namespace, key.name)
        return entry.record.metadata.creation_timestamp if entry is not None else ""

    def is_urgent(self, _key: Key) -> bool:
        """Whether an object is worked on before others, by the current cache."""
        return False

    def is_at_rest(self, _record: T) -> bool:
        """Whether no decision will write the object's status for now. A reported trouble would then stay in the status."""
        return False


class Kinds:
    """All kinds that are reconciled."""

    def __init__(self, *kinds: Kind[Any]) -> None:
        self._kinds = {kind.resource.gvk: kind for kind in kinds}

    def __iter__(self) -> Iterator[Kind[Any]]:
        return iter(self._kinds.values())

    def of(self, key: Key) -> Kind[Any]:
        """The kind of a key."""
        return self._kinds[key.gvk]

    def concerned(self, gvk: GroupVersionKind, change: Change[Any]) -> set[Key]:
        """Keys that must be decided on again after a change. Call it for each change, in the order of the changes."""
        return {key for each in self for key in each.concerned(gvk, change)}

    def due(self, until: datetime) -> Iterator[Key]:
        """The keys for the regular look, and for the one at the start. The next regular look is at `until`."""
        for kind in self:
            yield from kind.due(until)
