"""JSON merge patches (RFC 7386): what takes a document to another one. Pure."""

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]


def between(before: Document, after: Document) -> dict[str, Any]:
    """The patch that makes `after` of `before`; empty when they are the same.

    Fields that are gone become null, lists are replaced whole. Neither document holds a null, except in lists: a patch
    cannot write one.
    """
    patch: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for key, value in after.items():
        if key not in before:
            patch[key] = value
        elif isinstance(value, Mapping) and isinstance(before[key], Mapping):
            if changed := between(before[key], value):
                patch[key] = changed
        elif value != before[key]:
            patch[key] = value
    return patch
