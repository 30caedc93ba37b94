"""`fovea jobs resubmit`: a new job with the spec of another one."""

import click

from .options import client_of, cluster_options, complete_job, examples, pairs
from .submit_flags import UserArguments


@click.command(
    cls=UserArguments,
    epilog=examples(
        "fovea jobs resubmit digits --arg learning-rate=0.02",
        "fovea jobs resubmit digits --name digits-more --from-checkpoint --arg epochs=20",
    ),
)
@click.argument("job", metavar="NAME", shell_complete=complete_job)
@click.option(
    "--name", metavar="NEW", default="", help="Name of the new job. Default: the next free one of NAME-2, NAME-3, …"
)
@click.option(
    "--arg",
    "args",
    metavar="NAME=VALUE",
    multiple=True,
    callback=pairs,
    help="Flag of the program, instead of the one of that job. Repeatable; also after --.",
)
@click.option("--from-checkpoint", is_flag=True, help="Begin with the newest checkpoint of that job.")
@click.option("--train-from-scratch", is_flag=True, help="Begin without the checkpoint that that job began with.")
@cluster_options
@click.pass_context
def resubmit(
    ctx: click.Context, job: str, name: str, args: dict[str, str], from_checkpoint: bool, train_from_scratch: bool
) -> None:
    """Submit a job's spec again, as a new job with other flags.

    The new job begins as that job began: from scratch, or with the checkpoint that its spec names.
    """
    from fovea.sdk import submission

    if from_checkpoint and train_from_scratch:
        raise click.UsageError("--from-checkpoint and --train-from-scratch exclude each other")
    words = submission.arguments(ctx.meta.get("user_args", ()))
    given = {**{key: submission.scalar(value) for key, value in args.items()}, **words}
    source = client_of(ctx).jobs
    how = {"from_checkpoint": from_checkpoint, "train_from_scratch": train_from_scratch}
    made = source.resubmit(job, as_name=name, args=given, **how)
    click.echo(f"Job {made.name} submitted to namespace {made.namespace}.")
    click.echo(f"See it: fovea jobs describe {made.name} -n {made.namespace}", err=True)
