"""What is not published of what a program left, and why: said in the log once, and in every report."""

from fovea_agent import log

SHOWN = 3
LONGEST = 600
"""Of what a report says: so many things, and so many characters."""


class LeftOut:
    """Things that are left out, by their path."""

    def __init__(self) -> None:
        self._why: dict[str, str] = {}
        self._logged: dict[str, str] = {}

    def put(self, what: str, why: str, *, lasting: bool = True) -> None:
        """Say that something is left out; one that is not `lasting` is tried again and stands in the log only."""
        if self._logged.get(what) != why:
            self._logged[what] = why
            log.warning("left out", path=what, why=why)
        if lasting:
            self._why[what] = why

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
        return said + (f"; and {len(items) - SHOWN} more" if len(items) > SHOWN else "")
