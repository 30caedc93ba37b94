"""Operator and agents may be of two releases: a reader leaves out the fields that it does not know."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def known(kind: type, document: Any) -> dict[str, Any]:
    """The fields of a dataclass in a JSON object; raises TypeError when it is none."""
    if not isinstance(document, Mapping):
        raise TypeError(f"{document!r} is not a JSON object")
    names = {item.name for item in fields(kind)}
    return {name: value for name, value in document.items() if name in names}
