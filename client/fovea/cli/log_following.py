"""`stream-logs` of jobs and of batch predictions: its options, and the printing of the lines."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .options import cluster_options

if TYPE_CHECKING:
    from fovea.sdk.logs import LogLine

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def log_options(noun: str, task: str, containers: Sequence[str]) -> Callable[[F], F]:
    """--task-name, --container, --attempt and --follow. The first container is the program, the others are the agent."""

    def decorate(command: F) -> F:
        for option in (
            cluster_options,
            click.option(
                "--follow/--no-follow", default=True, show_default=True, help=f"Go on until the {noun} has ended."
            ),
            click.option("--attempt", type=click.IntRange(min=0), metavar="N", help="Only this attempt. Default: all."),
            click.option(
                "--container",
                type=click.Choice(containers),
                default=containers[0],
                show_default=True,
                help=f"{containers[0]} is the program, the others are the agent.",
            ),
            click.option(
                "--task-name", "task", metavar="TASK", default="", help=f"Only this task, for example {task}."
            ),
        ):
            command = option(command)
        return command

    return decorate


def print_lines(
    stream: Callable[[Callable[[T], None]], "Iterable[LogLine]"], state: Callable[[T], str], nothing: str
) -> T | None:
    """Print the lines of `stream`, and each new state of what it shows; what it showed last. `nothing` is said if there is no line."""
    said, printed = "", False
    last: T | None = None

    def say(seen: T) -> None:
        nonlocal said, last
        last = seen
        if (text := state(seen)) != said:
            click.echo(text, err=True)
            said = text

    for line in stream(say):
        click.echo(f"[{line.task}/{line.attempt}] {line.text}")
        printed = True
    if not printed:
        click.echo(nothing, err=True)
    return last
