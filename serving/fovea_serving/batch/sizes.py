"""How many records go into one run of the model."""

from collections.abc import Mapping
from typing import Final

ROWS_A_CORE: Final = 16
FEWEST, MOST = 32, 256
"""More cores want more records at once, and memory is for about so many pictures."""

CELL: Final = 80
"""Bytes that a cell of CSV takes in memory beside its text."""


def default_batch_size(cores: int) -> int:
    """Records in one run, where the command line does not say it."""
    return min(MOST, max(FEWEST, ROWS_A_CORE * cores))


def size_of(content: bytes | Mapping[str, str]) -> int:
    """Bytes of a record in memory: a row of a few columns may have texts of many MiB, and one of many columns next to none."""
    if isinstance(content, bytes):
        return len(content)
    return sum(CELL + len(cell) for cell in content.values())
