"""The command `fovea` as a user types it, run in this process: exit code, standard output and standard error apart."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner
from fovea.cli.main import cli


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output, read as JSON."""
        return json.loads(self.out)

    def ok(self) -> "Ran":
        """Itself; fails the test when the command failed."""
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        return self


Run = Callable[..., Ran]
"""`fovea …` with some of its words given already."""


def fovea(*words: object, stdin: str | None = None, environment: dict[str, str] | None = None) -> Ran:
    """Run a command; an exception that the command line does not turn into a message fails the test."""
    result = CliRunner().invoke(cli, [str(word) for word in words], input=stdin, env=environment, prog_name="fovea")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)
