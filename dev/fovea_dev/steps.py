"""Run steps that depend on each other, those that don't at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fovea_dev.progress import Progress, StepFailed

Work = Callable[[list[str]], None]


@dataclass(frozen=True)
class Step:
    """One thing to do. `work` gets a list to put notes into, which are shown on the step's line."""

    name: str
    work: Work = field(compare=False)
    after: tuple[str, ...] = ()


def check_order(steps: Sequence[Step]) -> None:
    """Refuse steps that could never run: an unknown or later predecessor, or a name used twice."""
    seen: set[str] = set()
    for step in steps:
        if step.name in seen:
            raise ValueError(f"step {step.name!r} is there twice")
        for name in step.after:
            if name not in seen:
                raise ValueError(f"step {step.name!r} comes after {name!r}, which does not stand before it")
        seen.add(step.name)


class _Run:
    def __init__(self, steps: Sequence[Step], progress: Progress) -> None:
        self.progress = progress
        self.done = {step.name: threading.Event() for step in steps}
        self.failures: list[BaseException] = []
        self.stopped = threading.Event()

    def one(self, step: Step) -> None:
        try:
            for name in step.after:
                self.done[name].wait()
            if self.stopped.is_set():
                return
            with self.progress.step(step.name) as notes:
                step.work(notes)
        except BaseException as error:  # noqa: BLE001 - handed on to the caller of run_steps
            self.failures.append(error)
            self.stopped.set()
        finally:
            self.done[step.name].set()


def run_steps(steps: Sequence[Step], progress: Progress) -> None:
    """Run all steps, each when its predecessors are done; after a failure nothing new begins and it is raised."""
    check_order(steps)
    running = _Run(steps, progress)
    threads = [threading.Thread(target=running.one, args=(step,), name=step.name, daemon=True) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(timeout=1.0)
            progress.heartbeat()
    for failure in running.failures:
        if isinstance(failure, StepFailed):
            raise failure
    if running.failures:
        raise running.failures[0]
