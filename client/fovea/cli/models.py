"""`fovea models`: list, describe."""

from typing import TYPE_CHECKING, Any

import click

from .options import client_of, cluster_options, complete_model, examples, format_option
from .output import show, show_list, utc_now

if TYPE_CHECKING:
    from fovea.sdk.models import Model


@click.group()
def models() -> None:
    """See models: their versions and what serves them."""


@models.command("list", epilog=examples("fovea models list -n vision"))
@format_option
@cluster_options
@click.pass_context
def list_(ctx: click.Context, format_: str) -> None:
    """List models.

    With their versions, the newest approved one and the one that is serving.
    """
    from . import model_text

    client = client_of(ctx)
    found = client.models.list()
    show_list(
        [_document(model) for model in found],
        lambda: model_text.models_table(found, utc_now()),
        format_,
        empty=f"No models in namespace {client.namespace}.",
    )


@models.command(epilog=examples("fovea models describe digits"))
@click.argument("name", shell_complete=complete_model)
@format_option
@cluster_options
@click.pass_context
def describe(ctx: click.Context, name: str, format_: str) -> None:
    """Show all about one model, and what to try next.

    That is its versions, deployments and endpoint.
    """
    from . import model_text

    model = client_of(ctx).models.get(name)
    show(_document(model), lambda: model_text.model_description(model, utc_now()), format_)


def _document(model: "Model") -> dict[str, Any]:
    return {
        "name": model.name,
        "versions": [version.dump() for version in model.versions],
        "deployments": [deployment.dump() for deployment in model.deployments],
    }
