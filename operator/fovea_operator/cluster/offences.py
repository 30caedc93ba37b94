"""Statuses that the API server refused for their content. They are not sent again at each report of a pod."""

import hashlib
from collections.abc import Mapping
from typing import Any

from fovea_operator.cluster import reduced

from .keys import Key

_MOST = 100
"""Number of statuses that are remembered per object: a program may report another text each time."""


class Offences:
    """Refused statuses by object, as long as the object exists. Times and numbers do not count: they change while the text is the same."""

    def __init__(self) -> None:
        self._refused: dict[Key, tuple[str, set[bytes]]] = {}

    def add(self, key: Key, uid: str, status: Mapping[str, Any]) -> None:
        """Remember a refused status, and forget those of an earlier object of the same name."""
        known = self._of(key, uid)
        self._refused[key] = (uid, {*(known if len(known) < _MOST else ()), _digest(status)})

    def known(self, key: Key, uid: str, status: Mapping[str, Any]) -> bool:
        """Whether a status with the same texts was refused."""
        known = self._of(key, uid)
        return bool(known) and _digest(status) in known

    def forget(self, key: Key) -> None:
        """Forget an object that is gone."""
        self._refused.pop(key, None)

    def _of(self, key: Key, uid: str) -> set[bytes]:
        of_uid, known = self._refused.get(key, ("", set()))
        return known if of_uid == uid else set()


def _digest(status: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(reduced.offence(status).encode()).digest()
