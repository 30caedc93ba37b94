"""What the operator has to know of a kind that it reconciles. Queue, reconciler, intake and resync treat all kinds alike."""

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
    """One kind: where its objects are, what wakes them, how they are decided on, and where trouble is reported.

    A new kind needs its types, a module that decides, and an entry of this shape.
    """

    resource: ClassVar[Resource]
    trouble: ClassVar[str]
    """Type of the condition that says that an object cannot be read, or that Fovea failed at it."""

    def __init__(self, store: Store[T]) -> None:
        self.store = store

    def key(self, namespace: str, name: str) -> Key:
        """The key of one of its objects."""
        return Key(self.resource.gvk, namespace, name)

    @abstractmethod
    def decide(self, key: Key, now: datetime, settings: Settings, refused: str) -> Decision:
        """What to do about an object, by what is known now; nothing when it is not there.

        `refused`: the API server's message when it refused a child of the previous decision, else empty.
        """

    @abstractmethod
    def concerned(self, gvk: GroupVersionKind, change: Change[Any]) -> Iterable[Key]:
        """Keys of this kind to look at again after a change of an object of any watched kind, its own included."""

    def due(self, _until: datetime) -> Iterator[Key]:
        """Keys to look at now, whatever was missed before; the next time comes at `until`.

        What rests need not be among them, as far as nothing can be missed that a later change would not tell.
        """
        for name in self.store.names():
            yield self.key(*name)

    def orphaned(self, _key: Key, _uid: str, _now: datetime, _settings: Settings) -> tuple[Deletion, ...]:
        """Deletions of what an object of that name left that is gone; the uid is that of the one that exists, if any."""
        return ()

    def unconfirmed(self, _key: Key) -> Iterable[tuple[Ref, Mapping[str, str]]]:
        """Objects that are not in the cache, and whose loss is decided on next: they are looked for once before that.

        With the labels that Fovea gave them.
        """
        return ()

    def waits_since(self, key: Key) -> str:
        """When an object came, or began to wait once more: RFC 3339 in UTC, empty where that is not known."""
        entry = self.store.get(key.namespace, key.name)
        return entry.record.metadata.creation_timestamp if entry is not None else ""

    def is_urgent(self, _key: Key) -> bool:
        """Whether an object is to be looked at before others, by what is known now."""
        return False

    def is_at_rest(self, _record: T) -> bool:
        """Whether no decision writes the object's status for the time being: a trouble reported there would stay."""
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
        """Keys to look at again after a change. Every change has to pass here, in the order of the changes."""
        return {key for each in self for key in each.concerned(gvk, change)}

    def due(self, until: datetime) -> Iterator[Key]:
        """The keys that are to be looked at now: at the start, and every now and then. The next time comes at `until`."""
        for kind in self:
            yield from kind.due(until)
