"""What the queue works on: the kind, namespace and name of a resource that is reconciled."""

from typing import NamedTuple


class Key(NamedTuple):
    """One object of a kind that is reconciled."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"
