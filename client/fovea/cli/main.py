"""The command `fovea`. Its package imports click and the standard library; the SDK is imported inside the verbs."""

import os
import sys
from typing import Any

import click

from . import exit_codes
from .completion import completion
from .data import data
from .deployments import deployments
from .jobs import jobs
from .local import local
from .models import models
from .options import cluster_options, examples
from .predict import predict
from .predictions import predictions
from .versions import versions


class _Root(click.Group):
    """Turns the SDK's errors into one line on standard error and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        from fovea.sdk.errors import FoveaError

        try:
            return super().invoke(ctx)
        except FoveaError as error:
            click.echo(f"ERROR: {error}", err=True)
            ctx.exit(exit_codes.FAILED)
        except KeyboardInterrupt:
            click.echo(
                "\nInterrupted. A submitted job goes on: `fovea jobs cancel NAME` ends it; of a prediction `fovea predictions cancel`.",
                err=True,
            )
            ctx.exit(exit_codes.INTERRUPTED)


def _version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    del parameter
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    click.echo(f"fovea {version('fovea')}")
    ctx.exit()


@click.group(
    cls=_Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog=examples(
        "fovea data upload ./digits digits",
        "fovea jobs submit examples/digits.yaml --wait",
        "fovea predict --model digits 7.png",
    ),
)
@cluster_options
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
def cli() -> None:
    """Train, register and serve models on Kubernetes.

    Which cluster: the kubeconfig's current context, as kubectl. Exit codes: 0 done, 1 failed, 2 wrong usage.
    """


for _command_group in (jobs, models, versions, deployments, predictions, data, predict, local, completion):
    cli.add_command(_command_group)


def main() -> None:
    """Entry point of the console script."""
    try:
        cli(prog_name="fovea")
    except BrokenPipeError:
        # `fovea jobs list | head`: the reader has what it wants. Standard output must not be flushed again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(exit_codes.FAILED)
