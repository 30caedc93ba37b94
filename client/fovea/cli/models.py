"""`fovea models`: list, describe."""

import click

from .options import Where, cluster_options, complete_model, examples, format_option
from .output import document, show, utc_now


@click.group()
def models() -> None:
    """See models: their versions and what serves them."""


@models.command("list", epilog=examples("fovea models list -n vision"))
@format_option
@cluster_options
@click.pass_context
def list_(ctx: click.Context, format_: str) -> None:
    """List models: versions, the newest approved one, the one that is serving."""
    from . import model_text

    client = (ctx.find_object(Where) or Where()).client()
    found = client.models.list()
    if not found and format_ == "table":
        click.echo(f"No models in namespace {client.namespace}.", err=True)
        return
    documents = [
        {
            "name": model.name,
            "versions": [version.dump() for version in model.versions],
            "deployments": [deployment.dump() for deployment in model.deployments],
        }
        for model in found
    ]
    show(documents, model_text.models_table(found, utc_now()), format_)


@models.command(epilog=examples("fovea models describe digits"))
@click.argument("name", shell_complete=complete_model)
@format_option
@cluster_options
@click.pass_context
def describe(ctx: click.Context, name: str, format_: str) -> None:
    """Say all about one model: versions, deployments, endpoint, what to try next."""
    from . import model_text

    model = (ctx.find_object(Where) or Where()).client().models.get(name)
    if format_ == "table":
        click.echo(model_text.model_description(model, utc_now()))
        return
    versions = [version.dump() for version in model.versions]
    deployments = [deployment.dump() for deployment in model.deployments]
    click.echo(document({"name": name, "versions": versions, "deployments": deployments}, format_))
