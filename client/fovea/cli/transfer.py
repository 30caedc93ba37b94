"""Progress of uploads and downloads on standard error (a bar on a terminal, nothing elsewhere), and what they say then."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .output import document, size

if TYPE_CHECKING:
    from fovea.sdk.download import Downloaded
    from fovea.sdk.parallel import Progress

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def shown(work: "Callable[[Callable[[Progress], None]], T]", *, quiet: bool = False, doing: str = "uploading") -> T:
    """Run `work` with a progress callback and return its result."""
    if quiet or not sys.stderr.isatty():
        return work(lambda _: None)
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None)

        def show(progress: "Progress") -> None:
            bar.update(
                task,
                total=progress.bytes,
                completed=progress.bytes_done,
                description=f"{doing} {progress.files_done}/{progress.files}",
            )

        return work(show)


def shown_count(work: "Callable[[Callable[[int, int], None]], T]", *, quiet: bool, doing: str) -> T:
    """Run `work` with a callback (done, all), and return its result."""
    if quiet or not sys.stderr.isatty():
        return work(lambda _done, _all: None)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None)
        return work(lambda done, everything: bar.update(task, completed=done, total=everything))


def parallel_option(command: F) -> F:
    """--parallel N."""
    option = click.option(
        "--parallel", type=click.IntRange(1, 64), default=8, show_default=True, help="Files on the way at once."
    )
    return option(command)


def quiet_option(command: F) -> F:
    """--quiet."""
    return click.option("-q", "--quiet", is_flag=True, help="Show no progress.")(command)


def download_options(command: F) -> F:
    """What every download takes: --force, --parallel, --quiet."""
    force = click.option("--force", is_flag=True, help="Replace files of the folder that have other content.")
    return force(parallel_option(quiet_option(command)))


folder_argument = click.argument(
    "folder", metavar="[DIR]", required=False, type=click.Path(file_okay=False, path_type=Path)
)
"""Where a download goes; each command says what its default is."""


def downloaded(what: str, fetch: "Callable[..., Downloaded]", *, quiet: bool, format_: str) -> "Downloaded":
    """Run a download of the SDK with progress and notices, and say on standard output what it did."""
    done = shown(lambda progress: fetch(progress=progress, notice=notice), quiet=quiet, doing="downloading")
    _say(what, done, format_)
    return done


def _say(what: str, done: "Downloaded", format_: str) -> None:
    if format_ != "table":
        result = {
            "folder": str(done.folder),
            "files": len(done.names),
            "fetched": done.fetched,
            "skipped": done.skipped,
            "bytes": done.bytes,
        }
        click.echo(document(result, format_))
        return
    there = f", {done.skipped} were there already" if done.skipped else ""
    click.echo(f"{what}: {done.fetched} files fetched to {done.folder} ({size(done.bytes)}){there}.")


def notice(text: str) -> None:
    """A line on standard error."""
    click.echo(text, err=True)
