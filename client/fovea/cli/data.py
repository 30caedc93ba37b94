"""`fovea data`: upload."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import Where, cluster_options, examples, format_option, store_options
from .output import document, size
from .transfer import shown

if TYPE_CHECKING:
    from fovea.sdk.data import Uploaded


@click.group()
def data() -> None:
    """Bring data to the object store."""


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
@click.option("--parallel", type=click.IntRange(1, 64), default=8, show_default=True, help="Files on the way at once.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
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

    Files that are there already (same size and ETag) are skipped: repeat the command to go on after a failure or to
    bring changes.
    """
    client = (ctx.find_object(Where) or Where()).client()

    def send(progress: Callable[[Any], None]) -> "Uploaded":
        return client.data.upload(
            folder,
            name,
            delete=delete,
            exclude=exclude,
            parallel=parallel,
            progress=progress,
            notice=lambda text: click.echo(text, err=True),
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
