"""`fovea data`: upload, list, download, delete; convert and show files."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import exit_codes
from .convert import convert, show
from .each import each, yes_option
from .options import client_of, cluster_options, examples, format_option, store_options
from .output import age, document, show_list, size, table, utc_now
from .transfer import (
    download_options,
    downloaded,
    folder_argument,
    notice,
    parallel_option,
    quiet_option,
    shown,
)

if TYPE_CHECKING:
    from fovea.sdk.data import Uploaded


@click.group()
def data() -> None:
    """Convert, show, upload, list, download and delete data sets."""


data.add_command(convert)
data.add_command(show)


@data.command(
    epilog=examples(
        "fovea data upload ./digits digits",
        "fovea data upload ./digits digits --exclude '.DS_Store' --delete",
    )
)
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("name")
@click.option("--delete", is_flag=True, help="Remove from the data set what the folder does not have.")
@click.option(
    "--exclude", metavar="GLOB", multiple=True, help="Leave out files and folders by name or path. Repeatable."
)
@parallel_option
@quiet_option
@format_option
@store_options
@cluster_options
@click.pass_context
def upload(
    ctx: click.Context,
    folder: Path,
    name: str,
    delete: bool,
    exclude: tuple[str, ...],
    parallel: int,
    quiet: bool,
    format_: str,
) -> None:
    """Upload a folder as the data set NAME of the namespace.

    Files that are there already (same size and ETag) are skipped: repeat the command to go on after a failure, or to
    upload changes.
    """
    client = client_of(ctx)

    def send(progress: Callable[[Any], None]) -> "Uploaded":
        return client.data.upload(
            folder,
            name,
            delete=delete,
            exclude=exclude,
            parallel=parallel,
            progress=progress,
            notice=notice,
        )

    done = shown(send, quiet=quiet)
    if format_ != "table":
        click.echo(document(asdict(done) | {"foreign": list(done.foreign)}, format_))
        return
    click.echo(f"{done.uri}: {done.sent} files sent ({size(done.bytes)}), {done.skipped} were there already.")
    if done.deleted:
        click.echo(f"{done.deleted} objects removed that the folder does not have.")
    if done.foreign:
        click.echo(
            f"{len(done.foreign)} objects of the data set are not in the folder: --delete removes them.", err=True
        )
    step = f"fovea jobs submit NAME --recipe RECIPE --input data={done.uri} -n {client.namespace}"
    click.echo(f"Use it: {step}", err=True)


@data.command("list", epilog=examples("fovea data list", "fovea data list -n vision --format json"))
@format_option
@store_options
@cluster_options
@click.pass_context
def list_(ctx: click.Context, format_: str) -> None:
    """List the namespace's data sets.

    With their files, sizes and addresses.
    """
    client = client_of(ctx)
    found = client.data.list(notice=notice)
    now = utc_now()
    stamps = [one.modified.isoformat() if one.modified else None for one in found]
    rows = [
        (one.name, one.files, size(one.bytes), age(stamp, now), one.uri)
        for one, stamp in zip(found, stamps, strict=True)
    ]
    documents = [asdict(one) | {"modified": stamp} for one, stamp in zip(found, stamps, strict=True)]
    empty = f"No data sets in namespace {client.namespace}: `fovea data upload DIR NAME` makes one."
    show_list(documents, lambda: table(("NAME", "FILES", "SIZE", "CHANGED", "URI"), rows), format_, empty=empty)


@data.command(
    epilog=examples("fovea data download digits", "fovea data download digits ./pictures --parallel 32 -n vision")
)
@click.argument("name")
@folder_argument
@download_options
@format_option
@store_options
@cluster_options
@click.pass_context
def download(ctx: click.Context, /, name: str, folder: Path | None, quiet: bool, format_: str, **how: Any) -> None:
    """Download the data set NAME into DIR (by default ./NAME).

    Files that are there already with the same content are skipped: repeat the command to go on after a failure.
    Nothing appears in DIR before everything is fetched and verified.
    """
    source = client_of(ctx).data
    downloaded(f"Data set {name}", partial(source.download, name, folder, **how), quiet=quiet, format_=format_)


@data.command(epilog=examples("fovea data delete digits", "fovea data delete digits pets --yes -n vision"))
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@yes_option
@click.option(
    "--force", is_flag=True, help="Delete even if the cluster cannot say whether something uses the data set."
)
@store_options
@cluster_options
@click.pass_context
def delete(ctx: click.Context, names: tuple[str, ...], yes: bool, force: bool) -> None:
    """Delete data sets of the namespace, for good.

    The command refuses to delete a data set while a job that has not ended uses it, or while a model version has its files
    there. It looks at jobs and versions of all namespaces, or of this one only if you may not list the others.
    """
    source = client_of(ctx).data

    def one(name: str) -> int:
        if not yes:
            found = source.get(name, notice=notice)
            question = f"Delete data set {name} ({found.files} files, {size(found.bytes)}, {found.uri}) for good?"
            if not click.confirm(question, err=True):
                click.echo(f"Kept data set {name}.", err=True)
                return exit_codes.FAILED
        gone = source.delete(name, force=force, notice=notice)
        click.echo(f"Deleted data set {name}: {gone.files} files ({size(gone.bytes)}) at {gone.uri}.")
        return exit_codes.OK

    ctx.exit(each(names, one))
