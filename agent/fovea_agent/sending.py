"""How publications are sent."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial

from fovea_agent.connections import Readable, UntilTheEnd
from fovea_agent.known import Known
from fovea_agent.settings import DEFAULT_TRANSFERS
from fovea_agent.shortcuts import Shortcuts
from fovea_agent.store import Store


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

    def body(self, body: Readable, what: str) -> Readable:
        """The same, stopped in the middle by what stands against going on: one request may take minutes."""
        return UntilTheEnd(body, partial(self.check, what))

    def check(self, what: str) -> None:
        """Raise what stands against going on: GraceExceeded, Postponed."""
        self.store.patience.check(what)
        self.pause()
