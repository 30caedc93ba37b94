"""`fovea deployments`: list, describe, pause, resume, promote, abort, history."""

from typing import TYPE_CHECKING

import click

from .options import client_of, cluster_options, complete_deployment, examples, format_option
from .output import document, show_list, utc_now

if TYPE_CHECKING:
    from fovea.sdk.client import Client


def _see(client: "Client", name: str) -> None:
    click.echo(f"See it: fovea deployments describe {name} -n {client.namespace}", err=True)


@click.group()
def deployments() -> None:
    """See and steer the rollouts of ModelDeployments."""


@deployments.command("list", epilog=examples("fovea deployments list -n vision"))
@format_option
@cluster_options
@click.pass_context
def list_(ctx: click.Context, format_: str) -> None:
    """List ModelDeployments and their rollouts.

    With the version that serves, and the candidate: the version that is being rolled out, its percentage of the requests,
    its step, and the time until the next one. NEXT is "paused" if the rollout is paused, and "waits" if the step waits for
    more than its time.
    """
    from . import deployment_text

    client = client_of(ctx)
    found = client.deployments.list()
    show_list(
        [deployment.dump() for deployment in found],
        lambda: deployment_text.deployments_table(found, utc_now()),
        format_,
        empty=f"No ModelDeployments in namespace {client.namespace}.",
    )


@deployments.command(epilog=examples("fovea deployments describe digits"))
@click.argument("name", shell_complete=complete_deployment)
@format_option
@cluster_options
@click.pass_context
def describe(ctx: click.Context, name: str, format_: str) -> None:
    """Show all about one, and what to try next.

    That is its versions with their requests, the present step and what it waits for, how far the answers to mirrored
    requests differ, its conditions and its last rollouts.
    """
    from . import deployment_text

    source = client_of(ctx).deployments
    if format_ == "table":
        click.echo(deployment_text.deployment_description(source.get(name), utc_now()))
    else:
        click.echo(document(source.raw(name), format_))


@deployments.command(epilog=examples("fovea deployments pause digits"))
@click.argument("name", shell_complete=complete_deployment)
@cluster_options
@click.pass_context
def pause(ctx: click.Context, name: str) -> None:
    """Keep a rollout at its present step.

    The new version is still rolled back if it fails.
    """
    from . import deployment_steps

    click.echo(deployment_steps.paused(client_of(ctx).deployments.pause(name)))


@deployments.command(epilog=examples("fovea deployments resume digits"))
@click.argument("name", shell_complete=complete_deployment)
@cluster_options
@click.pass_context
def resume(ctx: click.Context, name: str) -> None:
    """Let a paused rollout go on."""
    from . import deployment_steps

    click.echo(deployment_steps.resumed(client_of(ctx).deployments.resume(name)))


@deployments.command(
    epilog=examples("fovea deployments promote digits", "fovea deployments promote digits --version 4")
)
@click.argument("name", shell_complete=complete_deployment)
@click.option(
    "--version",
    metavar="N",
    type=click.IntRange(min=1),
    help="Promote this version, and no other one. Default: the one that is being rolled out, or that was given up.",
)
@cluster_options
@click.pass_context
def promote(ctx: click.Context, name: str, version: int | None) -> None:
    """Give the new version all requests now.

    It gets them as soon as its pods are ready, without steps and analysis. A version that was rolled back is tried again.
    A paused rollout is resumed.
    """
    from . import deployment_steps

    client = client_of(ctx)
    click.echo(deployment_steps.promoted(client.deployments.promote(name, version)))
    _see(client, name)


@deployments.command(epilog=examples("fovea deployments abort digits"))
@click.argument("name", shell_complete=complete_deployment)
@cluster_options
@click.pass_context
def abort(ctx: click.Context, name: str) -> None:
    """End a rollout: the old version gets all requests.

    `fovea deployments promote` tries the new version again: it gets all requests, without steps and analysis.
    """
    from . import deployment_steps

    client = client_of(ctx)
    click.echo(deployment_steps.aborted(client.deployments.abort(name)))
    _see(client, name)


@deployments.command(
    epilog=examples("fovea deployments history digits", "fovea deployments history digits --format json")
)
@click.argument("name", shell_complete=complete_deployment)
@format_option
@cluster_options
@click.pass_context
def history(ctx: click.Context, name: str, format_: str) -> None:
    """List the rollouts that are over, newest first.

    With their last count of requests, where the gateway counted them.
    """
    from . import deployment_text

    client = client_of(ctx)
    ended = deployment_text.newest_first(client.deployments.get(name))
    show_list(
        [rollout.dump() for rollout in ended],
        lambda: deployment_text.history_table(ended, utc_now()),
        format_,
        empty=f"No rollout of ModelDeployment {name} in namespace {client.namespace} is over.",
    )
