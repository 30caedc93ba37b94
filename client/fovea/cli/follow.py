"""Live progress on standard error: a bar on a terminal, one line per change elsewhere."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from . import job_text

if TYPE_CHECKING:
    from fovea.sdk.job import Job


_BAR_SECONDS = 2.0
_LINE_SECONDS = 5.0


def pause() -> float:
    """Seconds without a change after which newer progress is worth a question: a bar may move more often than lines."""
    return _BAR_SECONDS if sys.stderr.isatty() else _LINE_SECONDS


def watch(jobs: Iterable["Job"], *, quiet: bool = False) -> "Job":
    """Show the job's changes until they end; returns the job as it was seen last."""
    if quiet:
        return _last(jobs)
    if sys.stderr.isatty():
        return _bar(jobs)
    return _lines(jobs)


def _last(jobs: Iterable["Job"]) -> "Job":
    last = None
    for last in jobs:  # noqa: B007 - a list of them all would grow for days
        pass
    assert last is not None  # noqa: S101 - following yields at least once or raises
    return last


def _lines(jobs: Iterable["Job"]) -> "Job":
    said = ""
    last = None
    for last in jobs:
        line = f"{last.name}: {job_text.line(last.resource)}"
        if line != said:
            click.echo(line, err=True)
            said = line
    assert last is not None  # noqa: S101 - following yields at least once or raises
    return last


def _bar(jobs: Iterable["Job"]) -> "Job":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    last = None
    # Messages are text: brackets in them are no markup.
    title, detail_column = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[detail]}"))
    columns = (SpinnerColumn(), title, BarColumn(), detail_column)
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, detail="")
        for last in jobs:
            seen = last.status.progress
            detail = "; ".join(
                part for part in (job_text.progress(last.resource), job_text.metrics(last.resource)) if part
            )
            bar.update(
                task,
                description=f"{last.name} {last.state}",
                total=seen.steps if seen and seen.steps else None,
                completed=seen.step or 0 if seen else 0,
                detail=detail or last.status.message or "",
            )
    assert last is not None  # noqa: S101 - following yields at least once or raises
    click.echo(f"{last.name}: {job_text.line(last.resource)}", err=True)
    return last
