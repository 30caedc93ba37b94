"""The flags of `fovea jobs submit`, the words after `--`, and the manifests that they make."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import Where, pairs, seconds
from .submitting import of_file

if TYPE_CHECKING:
    from fovea.sdk.submission import Submission

SCALE_TIERS = ("BASIC", "BASIC_GPU", "STANDARD_1", "PREMIUM_1", "CUSTOM")
DISTRIBUTIONS = ("Single", "ParameterServer", "MultiWorkerMirrored")
"""As in the API's types, which are too heavy to load for the help text."""


class UserArguments(click.Command):
    """Keeps the words after `--` and the recipe's flags before it apart from the command's own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        after: list[str] = []
        if "--" in args:
            split = args.index("--")
            args, after = args[:split], args[split + 1 :]
        if not ctx.resilient_parsing and any(word.startswith("--") for word in args):
            from . import recipe_flags

            args, flags = recipe_flags.split(self, args)
            after = [*flags, *after]
        ctx.meta["user_args"] = after
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- USER_ARGS]"]


_OPTIONS = (
    click.option("--recipe", metavar="NAME", default="", help="Recipe of the fovea-tensorflow image."),
    click.option("--image", metavar="IMAGE", default="", help="Your own image instead of a recipe."),
    click.option("--command", metavar="WORD", multiple=True, help="Entry point of your own image. Repeatable."),
    click.option(
        "-f",
        "--config",
        metavar="FILE",
        default="",
        help="File of a job to start from, for example of describe --format yaml; the other flags override it.",
    ),
    click.option(
        "--arg",
        "args",
        metavar="NAME=VALUE",
        multiple=True,
        callback=pairs,
        help="Flag of the program. Repeatable.",
    ),
    click.option(
        "--input",
        "inputs",
        metavar="NAME=URI",
        multiple=True,
        callback=pairs,
        help="Input: s3://bucket/path, job://JOB/output, model://MODEL[/VERSION]; for a deleted job: job://JOB@latest/output (or @UID). Repeatable.",
    ),
    click.option(
        "--input-mode",
        "input_modes",
        metavar="NAME=MODE",
        multiple=True,
        callback=pairs,
        help="How an input arrives: Fetch (before the program starts; the default), or Stream (shards of an s3:// address, while it runs). Repeatable.",
    ),
    click.option(
        "--scale-tier",
        type=click.Choice(SCALE_TIERS),
        help="Size of the job; CUSTOM with --machine-type, --workers or --parameter-servers.",
    ),
    click.option("--machine-type", metavar="NAME", default="", help="MachineType of the job's pod, or of its chief."),
    click.option(
        "--distribution",
        type=click.Choice(DISTRIBUTIONS),
        help="How training is spread over pods. Single: one pod, the default.",
    ),
    click.option("--sync", is_flag=True, help="With ParameterServer: the workers share each batch."),
    click.option("--workers", metavar="N", type=click.IntRange(min=1), help="Number of workers beside the chief."),
    click.option("--worker-machine-type", metavar="NAME", default="", help="MachineType of the workers."),
    click.option("--parameter-servers", metavar="N", type=click.IntRange(min=1), help="Number of parameter servers."),
    click.option(
        "--parameter-server-machine-type", metavar="NAME", default="", help="MachineType of the parameter servers."
    ),
    click.option(
        "--evaluator", is_flag=True, help="One more pod, which measures each checkpoint and names the best one."
    ),
    click.option("--evaluator-machine-type", metavar="NAME", default="", help="MachineType of the evaluator."),
    click.option(
        "--queue", metavar="NAME", default="", help="Queue of Kueue (LocalQueue) in which the job waits for quota."
    ),
    click.option(
        "--queue-priority", metavar="NAME", default="", help="Priority in the queue: a WorkloadPriorityClass of Kueue."
    ),
    click.option("--model", metavar="NAME", default="", help="Register the trained model as its next version."),
    click.option("--deploy", is_flag=True, help="Serve the model's newest version."),
    click.option("--cache", metavar="NAME", default="", help="Cache shared with other jobs of the namespace."),
    click.option(
        "--checkpoint-from",
        metavar="JOB",
        default="",
        help="Begin with another job's newest checkpoint; for a deleted job: JOB@latest or JOB@UID; of the job that trained a "
        "model: model://MODEL[/VERSION].",
    ),
    click.option(
        "--train-from-scratch", is_flag=True, help="Begin without the checkpoint that the job's file would begin with."
    ),
    click.option("--checkpoint-every", metavar="STEPS", type=click.IntRange(min=1), help="Steps between checkpoints."),
    click.option("--backoff-limit", metavar="N", type=click.IntRange(min=0), help="How many failures are retried."),
    click.option("--max-running", metavar="TIME", callback=seconds, help="Longest running time, for example 2h."),
    click.option("--max-wait", metavar="TIME", callback=seconds, help="Longest wait for a node, for example 30m."),
    click.option(
        "--labels",
        "labels",
        metavar="NAME=VALUE",
        multiple=True,
        callback=pairs,
        help="Label of the job. Repeatable.",
    ),
    click.option("--suspend", is_flag=True, help="Create it suspended; `fovea jobs resume` starts it."),
)


def submit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Flags that make or change a job's spec."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def manifests_of(ctx: click.Context, names: tuple[str, ...], flags: dict[str, Any]) -> list[dict[str, Any]]:
    """The jobs that the words of the command line mean; raises UsageError where they contradict each other."""
    from fovea_api.v1alpha1 import TrainingJob

    from fovea.sdk import submission

    where = ctx.find_object(Where) or Where()
    words = submission.arguments(ctx.meta.get("user_args", ()))
    if not (flags["recipe"] or flags["image"] or flags["config"]):
        _demand_files(ctx, names, flags, words)
        return [manifest for name in names for manifest in of_file("job", TrainingJob.KIND, name, where.namespace)]
    if flags["recipe"] and flags["image"]:
        raise click.UsageError("--recipe and --image exclude each other: a recipe has its own image")
    if len(names) != 1:
        raise click.UsageError(
            f"with --recipe, --image or --config exactly one NAME is expected, not {' '.join(names)}"
        )
    job = _submission(names[0], where.namespace or "", flags, words)
    return [job.manifest()]


def _demand_files(
    ctx: click.Context, names: tuple[str, ...], flags: Mapping[str, Any], words: Mapping[str, Any]
) -> None:
    given = [_option(ctx, name) for name, value in flags.items() if value not in (None, "", {}, (), False)]
    if given or words:
        raise click.UsageError(
            f"{', '.join(given) or 'arguments after --'}: a job from flags needs --recipe, --image or --config too"
        )
    for name in names:
        if name != "-" and not {".", "/"} & set(name) and not Path(name).exists():
            raise click.UsageError(
                f"there is no file {name}: a job of that name from flags needs --recipe, --image or --config too"
            )


def _base(config: str) -> dict[str, Any]:
    """The one job of the file that the others start from; empty without a file."""
    from fovea.sdk import submission

    if not config:
        return {}
    base, *more = submission.load(config)
    if more:
        raise click.UsageError(f"--config {config} holds {len(more) + 1} jobs, one is expected")
    return base


def _submission(name: str, namespace: str, flags: Mapping[str, Any], words: Mapping[str, Any]) -> "Submission":
    from fovea.sdk import submission

    return submission.Submission(
        name=name,
        namespace=namespace,
        base=_base(flags["config"]),
        recipe=flags["recipe"],
        image=flags["image"],
        command=flags["command"],
        args={**{name: submission.scalar(value) for name, value in flags["args"].items()}, **words},
        inputs=flags["inputs"],
        input_modes=flags["input_modes"],
        scale_tier=flags["scale_tier"] or "",
        machine_type=flags["machine_type"],
        distribution=flags["distribution"] or "",
        queue=flags["queue"],
        queue_priority=flags["queue_priority"],
        sync=flags["sync"],
        workers=flags["workers"],
        worker_machine_type=flags["worker_machine_type"],
        parameter_servers=flags["parameter_servers"],
        parameter_server_machine_type=flags["parameter_server_machine_type"],
        evaluator=flags["evaluator"],
        evaluator_machine_type=flags["evaluator_machine_type"],
        model=flags["model"],
        deploy=flags["deploy"],
        cache=flags["cache"],
        checkpoint_from=_address(flags["checkpoint_from"]),
        train_from_scratch=flags["train_from_scratch"],
        checkpoint_every_steps=flags["checkpoint_every"],
        backoff_limit=flags["backoff_limit"],
        max_running_seconds=None if flags["max_running"] is None else int(flags["max_running"]),
        max_wait_seconds=None if flags["max_wait"] is None else int(flags["max_wait"]),
        labels=flags["labels"],
        suspend=flags["suspend"],
    )


def _address(checkpoint_from: str) -> str:
    if not checkpoint_from or checkpoint_from.startswith(("job://", "model://")):
        return checkpoint_from
    return f"job://{checkpoint_from}"


def _option(ctx: click.Context, name: str) -> str:
    return next(parameter.opts[-1] for parameter in ctx.command.params if parameter.name == name)
