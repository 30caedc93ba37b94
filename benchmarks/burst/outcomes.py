"""How the program of a pod ends: for all by default well, in a storm for some with a failure, the same ones each time."""

import zlib
from dataclasses import dataclass

KILLED, WRONG = 137, 1
ENDLESS = "endless-"
"""What the names of jobs begin with whose programs go on until somebody ends them."""


@dataclass(frozen=True)
class Outcomes:
    """Percent of the pods whose program is killed (137, which is tried again), and percent that end with 1, which is not."""

    killed: int = 0
    wrong: int = 0

    def code(self, pod: str) -> int | None:
        """The exit code of a pod's program, by its name (an attempt of its own has a fate of its own); None: it goes on."""
        if pod.startswith(ENDLESS):
            return None
        drawn = zlib.crc32(pod.encode()) % 100
        if drawn < self.killed:
            return KILLED
        return WRONG if drawn < self.killed + self.wrong else 0
