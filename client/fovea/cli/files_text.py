"""How the files of a publication read: the first of them with their sizes, and the totals. Pure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .output import indented, size, table

if TYPE_CHECKING:
    from fovea_api.contract.manifest import Entry

MOST = 20
"""At most this many files are listed."""


def files_section(title: str, files: "Sequence[Entry] | str") -> str:
    """A section of a description; empty without files. `files` may be a sentence on why they are not known."""
    if isinstance(files, str):
        return f"{title}: {files}"
    if not files:
        return ""
    rows = [(entry.path, size(entry.size)) for entry in files[:MOST]]
    total = f"{len(files)} files, {size(sum(entry.size for entry in files))}"
    rest = f"\n… and {len(files) - MOST} more" if len(files) > MOST else ""
    return f"{title} ({total}):\n" + indented(table(("FILE", "SIZE"), rows) + rest)
