"""Verbs that take several names: each is reported as it happens, and one that fails does not keep the rest."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import click

from . import exit_codes

T = TypeVar("T")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


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


def delete_each(names: Sequence[str], delete: Callable[[str], str], *, yes: bool) -> int:
    """Ask unless `yes` is given, and delete each by its name; `delete` returns what is said of it."""
    if not yes:
        click.confirm(f"Delete {', '.join(names)}?", abort=True, err=True)
    return each(names, lambda name: click.echo(delete(name)))
