"""A value of the source and where it stands, so that what is wrong with it can be said by its path."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fovea.sdk.errors import InvalidError

Path = tuple[str | int, ...]
DEEPEST = 64


def shown(path: Path) -> str:
    """`spec.containers[0].env`; a key that holds dots or the like is quoted: `labels["app.kubernetes.io/name"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z_][-A-Za-z0-9_]*", part):
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text


@dataclass(frozen=True)
class Field:
    """A value of the source. Null is no value, as Kubernetes reads it."""

    path: Path
    value: Any

    def __str__(self) -> str:
        return shown(self.path)

    def error(self, what: str) -> InvalidError:
        """The value is not acceptable: `what` says why and what to do."""
        return InvalidError(f"{self} {what}")

    def items(self) -> list[tuple[str, "Field"]]:
        """The fields of a mapping that have a value."""
        if not isinstance(self.value, dict):
            raise self.error(f"is {self.value!r}, a mapping is expected: correct the file")
        return [(key, Field((*self.path, key), value)) for key, value in self.value.items() if value is not None]

    def get(self, *keys: str) -> "Field | None":
        """The field of a mapping, or of mappings in it, if it has a value."""
        found: Field | None = self
        for key in keys:
            found = dict(found.items()).get(key) if found else None
        return found

    def entries(self) -> list["Field"]:
        """The entries of a list."""
        if not isinstance(self.value, list):
            raise self.error(f"is {self.value!r}, a list is expected: correct the file")
        return [Field((*self.path, index), value) for index, value in enumerate(self.value) if value is not None]

    def text(self) -> str:
        """A text, not empty."""
        if not isinstance(self.value, str) or not self.value:
            raise self.error(f"is {self.value!r}, a text is expected: correct the file")
        return self.value

    def whole(self) -> int:
        """A whole number that is not negative, as a number or, as in JSON of Google's APIs, as a text."""
        value = self.value
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.error(f"is {value!r}, a whole number is expected that is not negative: correct the file")
        return int(value)

    def true(self) -> bool:
        """A boolean."""
        if not isinstance(self.value, bool):
            raise self.error(f"is {self.value!r}, true or false is expected: correct the file")
        return self.value


def children(field: Field) -> list[Field]:
    """What a mapping or a list holds, null included; nothing of another value."""
    if isinstance(field.value, dict):
        return [Field((*field.path, key), value) for key, value in field.value.items()]
    if isinstance(field.value, list):
        return [Field((*field.path, index), value) for index, value in enumerate(field.value)]
    return []


def leaves(field: Field) -> Iterator[Field]:
    """The values that hold no other ones: scalars, null, empty mappings and lists."""
    if len(field.path) > DEEPEST:
        raise field.error(f"is {DEEPEST} levels deep, or holds itself: no job does")
    inner = children(field)
    if not inner:
        yield field
    for child in inner:
        yield from leaves(child)
