"""Statuses that the API server refused for their content: the same words are not sent to it at every report of a pod."""

import hashlib
from collections.abc import Mapping
from typing import Any

from fovea_operator.cluster import reduced

from .keys import Key

_MOST = 100
"""Of one object. Its words may be others at every report."""


class Offences:
    """By object, as long as it is there. Times and numbers are looked past: they change without the words."""

    def __init__(self) -> None:
        self._refused: dict[Key, tuple[str, set[bytes]]] = {}

    def add(self, key: Key, uid: str, status: Mapping[str, Any]) -> None:
        """It was refused. What a namesake before it was refused is forgotten."""
        known = self._of(key, uid)
        self._refused[key] = (uid, {*(known if len(known) < _MOST else ()), _digest(status)})

    def known(self, key: Key, uid: str, status: Mapping[str, Any]) -> bool:
        """Whether one like it was refused."""
        known = self._of(key, uid)
        return bool(known) and _digest(status) in known

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self._refused.pop(key, None)

    def _of(self, key: Key, uid: str) -> set[bytes]:
        of_uid, known = self._refused.get(key, ("", set()))
        return known if of_uid == uid else set()


def _digest(status: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(reduced.offence(status).encode()).digest()
