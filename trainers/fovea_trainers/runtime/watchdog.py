"""Whether the other processes of a job are alive: looked at all the time, each by a thread of its own.

TensorFlow waits without end for a process that is frozen, or whose machine is gone. This asks past TensorFlow, whose
wait for one task may hold up everything that it says to others.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from fovea_trainers.errors import PeerLost
from fovea_trainers.runtime.lifeline import Sign, look

BEAT_SECONDS = 1.0
PATIENCE_SECONDS = 3.0
"""For so long the main thread may find out by itself, and end in good order."""
_AGAIN = "training goes on from the last checkpoint when the job starts again"


class Watchdog:
    """Looks at tasks, given by names such as `worker 1` and addresses host:port."""

    def __init__(
        self,
        tasks: Mapping[str, str],
        limit: float,
        *,
        patient: bool,
        guards_ends: bool = False,
        clock: Callable[[], float] = time.monotonic,
        look: Callable[[str], Sign] = look,
        end: Callable[[str], object] | None = None,
    ) -> None:
        """`limit` are the seconds that a task may be silent, or away.

        `patient`: the job goes on without a worker that has ended, as long as there is another one. `guards_ends`: the main
        thread waits for all in TensorFlow, where it may not notice such an end. `end` gets the reason and ends the process.
        """
        self._limit = limit
        self._patient = patient
        self._guards_ends = guards_ends
        self._clock = clock
        self._look = look
        self._end = end or _end
        self._signs: dict[str, tuple[Sign, float]] = dict.fromkeys(tasks, (Sign.ANSWERS, clock()))
        """What a task is like, and since when."""
        for name, address in tasks.items():
            threading.Thread(target=self._watch, args=(name, address), daemon=True, name=f"watch {name}").start()
        threading.Thread(target=self._guard, daemon=True, name="watchdog").start()

    def check(self) -> None:
        """For one who waits: raise PeerLost when a task that is needed has ended, or is silent, for too long."""
        if silent := self._since(Sign.SILENT, self._limit):
            raise PeerLost(self._words(silent))
        gone = self._since(Sign.REFUSES, self._limit)
        workers = {name for name in self._signs if name.startswith("worker")}
        if gone and (not self._patient or workers <= set(gone)):
            raise PeerLost(self._words_of_end(gone))

    def _watch(self, name: str, address: str) -> None:
        while True:
            sign = self._look(address)
            if sign is not self._signs[name][0]:
                self._signs[name] = sign, self._clock()
            time.sleep(BEAT_SECONDS)

    def _guard(self) -> None:
        """The end of a process whose main thread is in TensorFlow, and waits there for the task that is silent, or has ended."""
        while True:
            time.sleep(BEAT_SECONDS)
            if silent := self._since(Sign.SILENT, self._limit + PATIENCE_SECONDS):
                self._end(self._words(silent))
            if self._guards_ends and (gone := self._since(Sign.REFUSES, self._limit + PATIENCE_SECONDS)):
                self._end(self._words_of_end(gone))

    def _since(self, wanted: Sign, limit: float) -> list[str]:
        now = self._clock()
        return [name for name, (sign, since) in self._signs.items() if sign is wanted and now - since > limit]

    def _words(self, silent: Sequence[str]) -> str:
        return (
            f"{' and '.join(silent)} has not answered for {self._limit:.0f} s: frozen, or its machine is gone; {_AGAIN}"
        )

    def _words_of_end(self, gone: Sequence[str]) -> str:
        return f"{' and '.join(gone)} has ended and was not back within {self._limit:.0f} s; {_AGAIN}"


def _end(words: str) -> NoReturn:
    os.write(2, f"fovea-train: {words}\n".encode())
    os._exit(PeerLost.exit_code)
