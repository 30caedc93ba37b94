"""What the queue works on: the kind, namespace and name of a resource that is reconciled."""

from typing import NamedTuple

from fovea_operator.reconcile.shared.decision import GroupVersionKind


class Ref(NamedTuple):
    """One object of any kind."""

    gvk: GroupVersionKind
    namespace: str
    name: str


class Key(NamedTuple):
    """One object of a kind that is reconciled."""

    gvk: GroupVersionKind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.gvk.kind} {self.namespace}/{self.name}"
