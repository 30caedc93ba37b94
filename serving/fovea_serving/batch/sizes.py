"""How many records go into one run of the model."""

from typing import Final

ROWS_A_CORE: Final = 16
FEWEST, MOST = 32, 256
"""More cores want more records at once, and memory is for about so many pictures."""


def default_batch_size(cores: int) -> int:
    """Records in one run, where the command line does not say it."""
    return min(MOST, max(FEWEST, ROWS_A_CORE * cores))
