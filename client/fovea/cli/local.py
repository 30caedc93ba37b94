"""`fovea local`: what a job does, on this machine."""

import signal
import sys
from collections.abc import Mapping
from types import FrameType

import click

from . import exit_codes
from .options import examples

SINGLE, PARAMETER_SERVER, MULTI_WORKER = "Single", "ParameterServer", "MultiWorkerMirrored"


@click.group()
def local() -> None:
    """Train on this machine, without a cluster."""


@local.command(
    epilog=examples(
        "fovea local train image-classifier -- --data=digits/train --epochs=10",
        "fovea local train --distributed --workers 2 --parameter-servers 1 image-classifier -- --data=digits/train",
        "fovea local train --strategy MultiWorkerMirrored ./my_recipe.py -- --data=line.csv",
    )
)
@click.argument("program", metavar="RECIPE|FILE.py")
@click.argument("flags", metavar="[-- FLAGS]", nargs=-1, type=click.UNPROCESSED)
@click.option("--distributed", is_flag=True, help="Several processes; the same as --strategy ParameterServer.")
@click.option(
    "--strategy",
    type=click.Choice([SINGLE, PARAMETER_SERVER, MULTI_WORKER]),
    help="As the field `distribution` of a job. Default: Single.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1, max=32),
    default=2,
    show_default=True,
    help="Processes that compute. With MultiWorkerMirrored, one of them is the chief.",
)
@click.option(
    "--parameter-servers",
    type=click.IntRange(min=1, max=32),
    default=1,
    show_default=True,
    help="Processes that hold the weights (ParameterServer).",
)
@click.option("--sync", is_flag=True, help="Workers share each batch and wait for each other (ParameterServer).")
@click.pass_context
def train(
    ctx: click.Context,
    program: str,
    flags: tuple[str, ...],
    distributed: bool,
    strategy: str | None,
    workers: int,
    parameter_servers: int,
    sync: bool,
) -> None:
    """Train RECIPE or a program of your own on this machine.

    The processes see what the pods of a job see: a recipe's flags, and TF_CONFIG if there are several. Each line of output
    begins with the name of its process. The exit code is that of the chief.

    FILE.py is a recipe of your own if it defines HELP, Config and run; any other file is run as a Python program. Ctrl-C asks
    the chief to save a checkpoint and to stop; the second Ctrl-C ends all processes at once.

    Recipes need the package fovea-trainers, which has TensorFlow.
    """
    chosen = strategy or (PARAMETER_SERVER if distributed else SINGLE)
    if distributed and strategy == SINGLE:
        raise click.UsageError("--distributed contradicts --strategy Single: leave one of them out.")
    if sync and chosen != PARAMETER_SERVER:
        raise click.UsageError(f"--sync is for --strategy ParameterServer; {chosen} is synchronous.")
    ctx.exit(_run(program, flags, _roles(chosen, workers, parameter_servers), sync=sync))


def _roles(strategy: str, workers: int, parameter_servers: int) -> Mapping[str, int]:
    if strategy == PARAMETER_SERVER:
        return {"chief": 1, "worker": workers, "ps": parameter_servers}
    return {"chief": 1, "worker": workers - 1} if strategy == MULTI_WORKER else {"chief": 1}


def _run(program: str, flags: tuple[str, ...], roles: Mapping[str, int], *, sync: bool) -> int:
    from fovea_api.contract import environment

    from fovea.sdk.local_programs import command
    from fovea.sdk.local_training import LocalTraining

    training = LocalTraining(
        command(program, flags),
        roles,
        variables={environment.SYNC: "1"} if sync else {},
        write=_line,
    )

    def stop(number: int, _frame: FrameType | None) -> None:
        del number
        training.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        code = training.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        training.kill()
    if code == exit_codes.OK:
        return code
    click.echo(f"The chief has ended with exit code {code}.", err=True)
    return code


def _line(text: str) -> None:
    sys.stderr.write(f"{text}\n")  # one write: lines of several threads do not mix
    sys.stderr.flush()
