"""`fovea versions`: list, describe, create, download, approve, reject."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import client_of, cluster_options, complete_model, examples, format_option, pairs, store_options
from .output import document, show_list, utc_now
from .transfer import download_options, downloaded, folder_argument, notice, quiet_option, shown

if TYPE_CHECKING:
    from fovea_api.v1alpha1 import ModelVersion


@click.group()
def versions() -> None:
    """See, register and review versions of models."""


@versions.command("list", epilog=examples("fovea versions list", "fovea versions list --model digits"))
@click.option("--model", metavar="NAME", shell_complete=complete_model, help="Only this model's.")
@format_option
@cluster_options
@click.pass_context
def list_(ctx: click.Context, model: str | None, format_: str) -> None:
    """List versions, newest first."""
    from . import model_text

    client = client_of(ctx)
    found = client.versions.list(model)
    show_list(
        [version.dump() for version in found],
        lambda: model_text.versions_table(found, utc_now()),
        format_,
        empty=f"No versions{f' of model {model}' if model else ''} in namespace {client.namespace}.",
    )


@versions.command(epilog=examples("fovea versions describe digits-v3"))
@click.argument("name", metavar="MODEL-vN")
@format_option
@store_options
@cluster_options
@click.pass_context
def describe(ctx: click.Context, name: str, format_: str) -> None:
    """Show all about one version.

    That is its files, digest, metrics and where it comes from.
    """
    from fovea.sdk.errors import FoveaError

    from . import model_text

    source = client_of(ctx).versions
    if format_ == "table":
        version = source.get(name)
        try:
            files: Any = source.files(name, brief=True)
        except FoveaError as error:
            files = f"not listed: {error}"
        click.echo(model_text.version_description(version, utc_now(), files))
    else:
        click.echo(document(source.raw(name), format_))


def _numbers(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for name, value in pairs(ctx, parameter, values).items():
        try:
            found[name] = float(value)
        except ValueError:
            raise click.BadParameter(f"'{name}={value}': {value} is no number", param=parameter) from None
    return found


@versions.command(
    epilog=examples(
        "fovea versions create --model digits --origin ./exported",
        "fovea versions create --model digits --origin ./exported --metric accuracy=0.97 --source 'notebook of 3 May'",
    )
)
@click.option(
    "--model", required=True, metavar="NAME", shell_complete=complete_model, help="The model to add a version to."
)
@click.option(
    "--origin",
    required=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the SavedModel (saved_model.pb directly in it).",
)
@click.option(
    "--metric", "metrics", metavar="NAME=NUMBER", multiple=True, callback=_numbers, help="Metric to record. Repeatable."
)
@click.option(
    "--source", metavar="TEXT", default="", help="Where it comes from, in your words. Default: the folder's path."
)
@click.option(
    "--rejected",
    is_flag=True,
    help="Register it as rejected: version Latest means it only after `fovea versions approve`.",
)
@quiet_option
@format_option
@store_options
@cluster_options
@click.pass_context
def create(
    ctx: click.Context,
    model: str,
    origin: Path,
    metrics: dict[str, float],
    source: str,
    rejected: bool,
    quiet: bool,
    format_: str,
) -> None:
    """Register an existing SavedModel as the model's next version.

    The files are uploaded, and verified by digest when they are served. Repeating the command is safe: it goes on where
    it stopped and does not register the same files twice.
    """
    client = client_of(ctx)

    def register(progress: Callable[[Any], None]) -> "ModelVersion":
        return client.versions.create(
            model,
            origin,
            metrics=metrics,
            source=source,
            approval="Rejected" if rejected else "Approved",
            progress=progress,
            notice=notice,
        )

    version = shown(register, quiet=quiet)
    if format_ == "table":
        click.echo(f"Model {model} has version {version.spec.version}: {version.metadata.name}.")
        click.echo(f"See it: fovea models describe {model} -n {client.namespace}", err=True)
    else:
        click.echo(document(version.dump(), format_))


@versions.command(
    epilog=examples("fovea versions download digits-v3", "fovea versions download digits-v3 /models/digits/3 -n vision")
)
@click.argument("name", metavar="MODEL-vN")
@folder_argument
@download_options
@format_option
@store_options
@cluster_options
@click.pass_context
def download(ctx: click.Context, /, name: str, folder: Path | None, quiet: bool, format_: str, **how: Any) -> None:
    """Download the SavedModel of a version.

    It goes into DIR, by default ./MODEL-vN, and is verified by its digest. Repeat the command to go on after a failure.
    Nothing appears in DIR before everything is fetched and verified.
    """
    source = client_of(ctx).versions
    downloaded(f"Version {name}", partial(source.download, name, folder, **how), quiet=quiet, format_=format_)


@versions.command(epilog=examples("fovea versions approve digits-v3"))
@click.argument("name", metavar="MODEL-vN")
@cluster_options
@click.pass_context
def approve(ctx: click.Context, name: str) -> None:
    """Approve a version, so that it may be served.

    Deployments of version Latest may serve it.
    """
    client_of(ctx).versions.review(name, "Approved")
    click.echo(f"Approved {name}.")


@versions.command(epilog=examples("fovea versions reject digits-v3"))
@click.argument("name", metavar="MODEL-vN")
@cluster_options
@click.pass_context
def reject(ctx: click.Context, name: str) -> None:
    """Reject a version for ModelDeployments of version Latest.

    They go back to the newest approved version. A ModelDeployment that names the number of a version serves it even if it is
    rejected.
    """
    client_of(ctx).versions.review(name, "Rejected")
    click.echo(f"Rejected {name}.")
