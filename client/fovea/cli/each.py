"""Verbs that take several names: each is reported as it happens, and one that fails does not keep the rest."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import click

from . import exit_codes

T = TypeVar("T")


def each(items: Iterable[T], act: Callable[[T], int | None]) -> int:
    """Do it for each; an exit code that is not 0, or an error, of the first that has one is the answer."""
    from fovea.sdk.errors import FoveaError

    result = exit_codes.OK
    for item in items:
        try:
            code = act(item) or exit_codes.OK
        except FoveaError as error:
            click.echo(f"ERROR: {error}", err=True)
            code = exit_codes.FAILED
        result = result or code
    return result
