"""What a program said last, fit for one sentence of a status.

It comes from the container's termination message, which is the tail of its log (2 KiB, 80 lines) when the program
failed and wrote none: with colours, progress bars and the middle of a traceback.
"""

import re

_LINES = 3
_LIMIT = 500
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|.)")
"""Of a terminal: colours and cursor, titles and links, and the rest."""


def of(message: str) -> str:
    """The last lines that say something, in one line, shortened from the front."""
    lines = [plain for line in _ESCAPES.sub("", message).splitlines() if (plain := _plain(line))]
    said = " / ".join(lines[-_LINES:])
    return said if len(said) <= _LIMIT else f"…{said[-_LIMIT:]}"


def _plain(line: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in line).split())
