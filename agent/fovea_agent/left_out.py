"""What is not published of what a program left, and why: said in the log once, and in every report."""

from collections.abc import Mapping

from fovea_agent import log

SHOWN = 3
LONGEST = 600
"""A report names at most SHOWN things, in at most LONGEST characters."""


class LeftOut:
    """Things that are left out, by their path."""

    def __init__(self) -> None:
        self._why: dict[str, str] = {}
        self._logged: dict[str, str] = {}
        self._more: dict[tuple[str, str], int] = {}
        """How many there are beyond those that are named, by their folder and kind."""

    def put(self, what: str, why: str, *, lasting: bool = True) -> None:
        """Say that something is left out; one that is not `lasting` is tried again and stands in the log only."""
        if self._logged.get(what) != why:
            self._logged[what] = why
            log.warning("left out", path=what, why=why)
        if lasting:
            self._why[what] = why

    def put_some(self, folder: str, kind: str, first: Mapping[str, str], count: int) -> None:
        """Say that `count` things of a kind are left out of a folder, of which the first are named."""
        for what, why in first.items():
            self.put(what, why)
        more = count - len(first)
        if more and self._more.get((folder, kind)) != more:
            log.warning("left out", path=f"{folder}: and {more} more", why=kind)
        self._more[folder, kind] = more

    def forget(self, what: str) -> None:
        """It is published after all."""
        self._why.pop(what, None)
        self._logged.pop(what, None)

    def sentence(self) -> str:
        """All of it in one sentence without a full stop, cut where it gets long; empty when nothing is left out."""
        items = list(self._why.items())  # at once: another thread adds to it
        said = "; ".join(f"{what} ({why})" for what, why in items[:SHOWN])
        if len(said) > LONGEST:
            said = f"{said[:LONGEST]} …"
        more = max(0, len(items) - SHOWN) + sum(list(self._more.values()))
        return said + (f"; and {more} more" if more else "")
