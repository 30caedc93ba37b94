"""`fovea jobs import`: a TFJob or a training job of Cloud ML as a TrainingJob. No cluster is asked."""

from pathlib import Path

import click

from .options import Where, examples, format_option, namespace_option, pairs
from .output import document, documents

ROLES = ("chief", "worker", "ps", "evaluator")
"""As in the SDK, which is too heavy to load for the help text."""


def _by_role(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    found = pairs(context, parameter, values)
    for role in found:
        if role not in ROLES:
            raise click.BadParameter(f"{role!r} is no role: write {', '.join(ROLES)}", param=parameter)
    return found


@click.command(
    "import",
    epilog=examples(
        "fovea jobs import examples/import/tfjob.yaml -o job.yaml",
        "fovea jobs import examples/import/tfjob.yaml --machine-type worker=standard-gpu -n vision",
        "fovea jobs import examples/import/config.yaml --name census --image registry.example.com/team/census:1",
        "fovea jobs import examples/import/tfjob.yaml --format json",
    ),
)
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--name", metavar="NAME", default="", help="Name of the job. Default: the source's.")
@click.option("--image", metavar="IMAGE", default="", help="Image of the program. Default: the source's.")
@click.option(
    "--machine-type",
    "machine_types",
    metavar="ROLE=NAME",
    multiple=True,
    callback=_by_role,
    help="MachineType of a role (chief, worker, ps or evaluator), in place of one named by its amounts. Repeatable.",
)
@click.option(
    "--machine-types", "suggest", is_flag=True, help="Print the MachineTypes that must exist as further documents."
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    default=None,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the manifest to this file, which must not exist. Default: standard output.",
)
@format_option
@namespace_option
@click.pass_context
def import_(
    ctx: click.Context,
    /,
    file: str,
    output: Path | None,
    name: str,
    image: str,
    machine_types: dict[str, str],
    suggest: bool,
    format_: str,
) -> None:
    """Make a TrainingJob of a job of another system.

    FILE (- reads standard input) holds one job: a TFJob of Kubeflow (kubeflow.org/v1), or a training job of Cloud ML (AI
    Platform), such as the config.yaml of `gcloud ai-platform jobs submit training`. YAML or JSON.

    The manifest goes to standard output; nothing is submitted. Standard error says for each field of the source what became of
    it, and what to do next. With --format json or yaml, the result is one document with both.
    """
    from fovea.sdk import import_source
    from fovea.sdk.errors import InvalidError
    from fovea.sdk.importing.imported import imported
    from fovea.sdk.importing.options import Options

    from . import import_text

    where = ctx.find_object(Where) or Where()
    source = import_source.read(file)
    options = Options(name=name, namespace=where.namespace or "", image=image, machine_types=machine_types)
    try:
        done = imported(source, options)
    except InvalidError as error:
        raise InvalidError(f"{'standard input' if file == '-' else file} cannot be imported: {error}") from error
    made = [manifest for one in done.machines if (manifest := one.manifest())] if suggest else []
    if format_ == "table":
        _write(documents([done.manifest, *made], "yaml", several=True), output)
        click.echo(import_text.report(done), err=True)
    else:
        _write(document(import_text.data(done, made), format_), output)


def _write(text: str, output: Path | None) -> None:
    """To standard output or a new file: one that is there may hold what its owner has edited since an earlier import."""
    from fovea.sdk.errors import AlreadyExistsError, InvalidError

    if output is None:
        click.echo(text)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text + "\n")
    except FileExistsError as error:
        raise AlreadyExistsError(f"{output} exists already: choose another file or remove it") from error
    except OSError as error:
        raise InvalidError(f"cannot write {output}: {error.strerror or error}") from error
