"""Command lines of what `fovea-train` does beside running a recipe."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from fovea_trainers.errors import FlagError


class Parser(argparse.ArgumentParser):
    """Argparse whose complaints are FlagErrors that end with one line of usage; the text of --help is the command's."""

    def __init__(self, usage: str) -> None:
        super().__init__(add_help=False, allow_abbrev=False, exit_on_error=False)
        self._line = usage

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """Raises FlagError."""
        try:
            return self.parse_args(list(argv))
        except argparse.ArgumentError as error:
            raise FlagError(f"{error}: {self._line}") from error

    def error(self, message: str) -> NoReturn:
        """Never print argparse's own usage and exit."""
        raise FlagError(f"{message}: {self._line}")
