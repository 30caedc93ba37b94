"""Requests that save work and that not every store, nor every key, allows: copying within the store, listing parts."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from fovea_agent import log
from fovea_agent.errors import KeyRefused, KeyUnknown, KeyWithdrawn, Misconfigured, StoreUnreachable
from fovea_agent.patience import Patience

T = TypeVar("T")

COPYING = "copying within the store"
LISTING_PARTS = "listing the parts of an upload"


@dataclass
class Shortcuts:
    """Takes them as long as the store lets us. A refused one is logged once and not asked for again."""

    _refused: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, what: str, patience: Patience, request: Callable[[], T]) -> T | None:
        """What the store answers; None when it must be done without.

        Raises errors of the object asked for (Changed, Missing, Corrupt), and those that the long way would get, too:
        an unknown key, a grace period that is over.
        """
        if what in self._refused:
            return None
        try:
            return request()
        except (KeyUnknown, KeyWithdrawn):
            raise
        except (KeyRefused, Misconfigured, StoreUnreachable) as error:
            if patience.left() == 0:
                raise
            with self._lock:
                first = what not in self._refused
                self._refused.add(what)
            if first:
                log.warning(f"{what} is refused: everything is sent instead", error=error.message)
            return None
