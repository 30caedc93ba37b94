"""Distributed trainings as processes on loopback, a working directory for each: what a job's pods see of each other."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fovea.sdk.local_training import LocalTraining, Member
from support import training, warm_trainers
from support.polling import until

SECONDS = 240


class Distributed:
    """A training under way, and all that its processes have said."""

    def __init__(self, root: Path, roles: dict[str, int], *command: str, **more: str) -> None:
        self.root = root
        self.lines: list[str] = []
        self.training = LocalTraining(
            warm_trainers.command(*command),
            roles,
            variables=training.variables(root, **more),
            write=self.lines.append,
            leaving_seconds=SECONDS,  # all that are not frozen end by themselves, on a busy machine not at once
        )

    def member(self, name: str) -> Member:
        """Such as `worker 1`."""
        return next(member for member in self.training.members if member.name == name)

    def process(self, name: str) -> int:
        """The number of the trainer's process."""
        return warm_trainers.trainer_of(self.member(name).process.pid)

    def kill(self, name: str) -> None:
        """As the kernel's OOM killer does: the trainer and its parent."""
        self.signal(name, signal.SIGKILL)

    def signal(self, name: str, number: signal.Signals) -> None:
        """To the trainer itself."""
        os.kill(self.process(name), number)

    def said(self, text: str) -> list[str]:
        """Lines with a text."""
        return [line for line in self.lines if text in line]

    def until(self, condition: Any, what: str) -> None:
        """Poll; fails with what was said when the chief ends before."""

        def probe() -> object:
            met = condition()
            ended = self.training.chief.process.poll()
            assert met or ended is None, f"the chief ended with {ended}: " + "\n".join(self.lines[-40:])
            return met

        until(probe, seconds=SECONDS, what=what, every=0.02)

    def named_and_ended(self, name: str) -> int:
        """The chief's exit code, once it has given up the frozen process, which ends now."""
        code = self.training.chief.process.wait(timeout=SECONDS)
        self.kill(name)
        self.codes()
        assert self.said(f"{name} has not answered for"), self.lines
        return code

    def step(self, number: int) -> None:
        """Wait for a checkpoint of at least this step."""
        self.until(lambda: max(training.checkpoints(self.root), default=0) >= number, f"checkpoint {number}")

    def codes(self) -> dict[str, int]:
        """Exit codes of all by name, once they have ended."""
        self.training.wait()
        return {member.name: member.process.returncode for member in self.training.members}


@contextmanager
def distributed(root: Path, roles: dict[str, int], *command: str, **more: str) -> Iterator[Distributed]:
    """Start, and leave nothing behind."""
    run = Distributed(root, roles, *command, **more)
    try:
        yield run
    except BaseException:
        print("\n".join(run.lines))  # an assertion shortens them
        raise
    finally:
        for member in run.training.members:
            if member.process.poll() is None:
                member.process.send_signal(signal.SIGCONT)
                member.process.kill()
