"""How publications are sent, and what is known of files that were read before."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from fovea_agent.folder import Fingerprint, Stat
from fovea_agent.settings import DEFAULT_TRANSFERS
from fovea_agent.shortcuts import Shortcuts
from fovea_agent.store import Store

UNCHANGED_SECONDS = 2.0
"""A file that was written later than this before it was read may be written again without another time stamp."""


@dataclass
class Known:
    """What files contain that were read before and have not changed since: the end of a job need not read them again."""

    clock: Callable[[], float] = time.time
    _by_stat: dict[Stat, Fingerprint] = field(default_factory=dict)

    def get(self, stat: Stat) -> Fingerprint | None:
        """What the file contained when it had this stat."""
        return self._by_stat.get(stat)

    def put(self, stat: Stat, content: Fingerprint, began: float) -> None:
        """Remember a file that was read from the time `began` on."""
        if content.size == stat.size and began - stat.changed / 1e9 > UNCHANGED_SECONDS:
            self._by_stat[stat] = content


@dataclass
class Tally:
    """What one publication took."""

    sent: int = 0
    """Files that were sent, in whole or in part."""
    copied: int = 0
    """Files or parts that the store copied from an earlier attempt's."""


@dataclass(frozen=True)
class Sending:
    """How publications are sent: `fence` raises Fenced, `pause` raises Postponed when something else comes first.

    `earlier`: prefixes of the same result as earlier attempts sent it, newest first, by the publication's prefix.
    """

    store: Store
    fence: Callable[[], None] = field(default=lambda: None)
    transfers: int = DEFAULT_TRANSFERS
    pause: Callable[[], None] = field(default=lambda: None)
    known: Known = field(default_factory=Known)
    earlier: Callable[[str], Collection[str]] = field(default=lambda _: ())
    shortcuts: Shortcuts = field(default_factory=Shortcuts)

    def check(self, what: str) -> None:
        """Raise what stands against going on: GraceExceeded, Postponed."""
        self.store.patience.check(what)
        self.pause()
