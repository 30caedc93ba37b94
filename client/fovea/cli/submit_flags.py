"""The flags of `fovea jobs submit`, the words after `--`, and the manifests that they make."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .options import Where, pairs, seconds


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
        "--scale-tier",
        type=click.Choice(("BASIC", "BASIC_GPU", "CUSTOM")),
        help="Size of the job; CUSTOM with --machine-type.",
    ),
    click.option("--machine-type", metavar="NAME", default="", help="MachineType of the job's pod."),
    click.option("--model", metavar="NAME", default="", help="Register the trained model as its next version."),
    click.option("--deploy", is_flag=True, help="Serve the model's newest version."),
    click.option("--cache", metavar="NAME", default="", help="Cache shared with other jobs of the namespace."),
    click.option(
        "--checkpoint-from",
        metavar="JOB",
        default="",
        help="Begin with another job's newest checkpoint; for a deleted job: JOB@latest or JOB@UID.",
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
    from fovea.sdk import submission

    where = ctx.find_object(Where) or Where()
    words = submission.arguments(ctx.meta.get("user_args", ()))
    if not (flags["recipe"] or flags["image"] or flags["config"]):
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
        return [manifest for name in names for manifest in _of_file(name, where.namespace)]
    if flags["recipe"] and flags["image"]:
        raise click.UsageError("--recipe and --image exclude each other: a recipe has its own image")
    if len(names) != 1:
        raise click.UsageError(
            f"with --recipe, --image or --config exactly one NAME is expected, not {' '.join(names)}"
        )
    base: dict[str, Any] = {}
    if flags["config"]:
        base, *more = submission.load(flags["config"])
        if more:
            raise click.UsageError(f"--config {flags['config']} holds {len(more) + 1} jobs, one is expected")
    checkpoint_from = flags["checkpoint_from"]
    return [
        submission.Submission(
            name=names[0],
            namespace=where.namespace or "",
            base=base,
            recipe=flags["recipe"],
            image=flags["image"],
            command=flags["command"],
            args={**{name: submission.scalar(value) for name, value in flags["args"].items()}, **words},
            inputs=flags["inputs"],
            scale_tier=flags["scale_tier"] or "",
            machine_type=flags["machine_type"],
            model=flags["model"],
            deploy=flags["deploy"],
            cache=flags["cache"],
            checkpoint_from=f"job://{checkpoint_from.removeprefix('job://')}" if checkpoint_from else "",
            checkpoint_every_steps=flags["checkpoint_every"],
            backoff_limit=flags["backoff_limit"],
            max_running_seconds=None if flags["max_running"] is None else int(flags["max_running"]),
            max_wait_seconds=None if flags["max_wait"] is None else int(flags["max_wait"]),
            labels=flags["labels"],
            suspend=flags["suspend"],
        ).manifest()
    ]


def _of_file(name: str, namespace: str | None) -> list[dict[str, Any]]:
    """The jobs of a file, refused as by kubectl where it names another namespace than the command line."""
    from fovea.sdk import submission

    found = submission.load(name)
    for manifest in found:
        own = manifest["metadata"].get("namespace")
        if own and namespace and own != namespace:
            raise click.UsageError(
                f"{name} puts job {manifest['metadata']['name']} into namespace {own}, --namespace says {namespace}: "
                f"pass --namespace {own}, or take the namespace out of the file"
            )
    return found


def _option(ctx: click.Context, name: str) -> str:
    return next(parameter.opts[-1] for parameter in ctx.command.params if parameter.name == name)
