"""`fovea predictions`: submit, list, describe, wait, stream-logs, cancel, delete, download."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import exit_codes
from .each import delete_each, each, yes_option
from .log_following import log_options, print_lines
from .options import (
    Where,
    client_of,
    cluster_options,
    complete_model,
    complete_prediction,
    examples,
    format_option,
    seconds,
    store_options,
)
from .output import document, documents, show_list, utc_now
from .submitting import of_file, send
from .transfer import download_options, downloaded, folder_argument

if TYPE_CHECKING:
    from fovea_api.v1alpha1 import BatchPrediction

    from fovea.sdk.logs import LogLine
    from fovea.sdk.predictions import Predictions

CONTAINERS = ("predict", "batch", "fovea-fetch-model")
INPUT_FORMATS = ("images", "jsonl", "tfrecord", "csv")
OUTPUT_FORMATS = ("jsonl", "tfrecord", "csv", "kaggle")


@click.group()
def predictions() -> None:
    """Score whole folders with a model, and follow the progress."""


@predictions.command(
    epilog=examples(
        "fovea predictions submit examples/batch-prediction.yaml --wait",
        "fovea predictions submit scores --model cats --input s3://fovea/vision/datasets/test \\",
        "    --input-format images --output-format kaggle --workers 4",
    ),
)
@click.argument("names", metavar="NAME|FILE…", nargs=-1, required=True)
@click.option("--model", metavar="MODEL", default="", shell_complete=complete_model, help="Model that answers.")
@click.option(
    "--version", metavar="N", type=click.IntRange(min=1), help="Its version. Default: the newest approved one."
)
@click.option(
    "--input", "input_", metavar="URI", default="", help="Folder or object with the records: s3://bucket/path."
)
@click.option("--input-format", type=click.Choice(INPUT_FORMATS), help="How the records are written.")
@click.option(
    "--output",
    metavar="URI",
    default="",
    help="Folder for the answers: s3://bucket/path. Default: one of the namespace.",
)
@click.option("--output-format", type=click.Choice(OUTPUT_FORMATS), help="How the answers are written. Default: jsonl.")
@click.option("--workers", metavar="N", type=click.IntRange(1, 1000), help="Number of workers (pods). Default: 1.")
@click.option(
    "--machine-type", metavar="NAME", default="", help="MachineType of the workers. Default: the default one."
)
@click.option(
    "--max-error-ratio",
    metavar="RATIO",
    type=click.FloatRange(0, 1),
    help="Largest part of the records that may remain without an answer. Default: 0.1.",
)
@click.option("--wait", is_flag=True, help="Show progress until it has ended; the exit code then says how.")
@click.option("--dry-run", is_flag=True, help="Have the cluster check it and print it; nothing is created.")
@click.option("--print", "print_", is_flag=True, help="Print it as it would be sent, without a cluster.")
@click.option(
    "--timeout", metavar="TIME", callback=seconds, help="With --wait: stop this long after the submission; it goes on."
)
@format_option
@cluster_options
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    names: tuple[str, ...],
    wait: bool,
    dry_run: bool,
    print_: bool,
    timeout: float | None,
    format_: str,
    **flags: Any,
) -> None:
    """Submit predictions from files, or one from flags.

    With --model the first word is the new prediction's NAME; otherwise every word is a FILE of YAML (- reads standard
    input). Ctrl-C during --wait leaves the prediction running.
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout is how long --wait goes on: pass --wait too")
    where = ctx.find_object(Where) or Where()
    manifests = _manifests(names, flags, where.namespace or "")
    if wait and len(manifests) != 1:
        raise click.UsageError(f"--wait follows one prediction, these are {len(manifests)}")
    as_document = "yaml" if format_ == "table" and (print_ or dry_run) else format_
    if print_:
        click.echo(documents(manifests, as_document, several=len(manifests) > 1))
        return
    source = where.client().predictions
    submitting = partial(source.submit, dry_run=dry_run)
    code, _ = send("prediction", manifests, submitting, lambda made: made.dump(), as_document)
    if not code and wait and not dry_run:
        metadata = manifests[0]["metadata"]
        source = source.within(metadata["namespace"]) if metadata.get("namespace") else source
        # Beside a document, how it ended is no part of the result.
        code = _wait_for(source, metadata["name"], timeout=timeout, quiet=False, to_stderr=format_ != "table")
    ctx.exit(code)


def _manifests(names: tuple[str, ...], flags: dict[str, Any], namespace: str) -> list[dict[str, Any]]:
    """The predictions that the words of the command line mean; raises UsageError where they contradict each other."""
    from fovea_api.v1alpha1 import BatchPrediction

    given = [f"--{name.strip('_').replace('_', '-')}" for name, value in flags.items() if value not in (None, "")]
    if not flags["model"]:
        if given:
            raise click.UsageError(f"{', '.join(given)}: a prediction from flags needs --model too")
        for name in names:
            if name != "-" and not {".", "/"} & set(name) and not Path(name).exists():
                raise click.UsageError(
                    f"there is no file {name}: a prediction of that name from flags needs --model too"
                )
        found = (of_file("prediction", BatchPrediction.KIND, name, namespace) for name in names)
        return [_within(namespace, manifest) for manifests in found for manifest in manifests]
    if len(names) != 1:
        raise click.UsageError(f"with --model exactly one NAME is expected, not {' '.join(names)}")
    if not flags["input_"] or not flags["input_format"]:
        raise click.UsageError("a prediction from flags needs --input and --input-format too")
    return [_of_flags(names[0], flags, namespace)]


def _within(namespace: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """With the namespace of the command line, where it names one."""
    return manifest | {"metadata": manifest["metadata"] | {"namespace": namespace}} if namespace else manifest


def _of_flags(name: str, flags: dict[str, Any], namespace: str) -> dict[str, Any]:
    from fovea_api.v1alpha1 import API_VERSION, BatchPrediction

    from fovea.sdk import object_names

    output = {"uri": flags["output"], "format": flags["output_format"]}
    spec = {
        "model": flags["model"],
        "version": flags["version"],
        "input": {"uri": flags["input_"], "format": flags["input_format"]},
        "output": {key: value for key, value in output.items() if value},
        "parallelism": flags["workers"],
        "machineType": flags["machine_type"],
        "maxErrorRatio": flags["max_error_ratio"],
    }
    metadata = {"name": object_names.new("prediction", name)} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": API_VERSION,
        "kind": BatchPrediction.KIND,
        "metadata": metadata,
        "spec": {key: value for key, value in spec.items() if value not in (None, "", {})},
    }


@predictions.command("list", epilog=examples("fovea predictions list -n vision"))
@format_option
@cluster_options
@click.pass_context
def list_(ctx: click.Context, format_: str) -> None:
    """List predictions, newest first.

    LEFT is the time until the last record is answered, at the present pace.
    """
    from . import prediction_text

    client = client_of(ctx)
    found = client.predictions.list()
    show_list(
        [each.dump() for each in found],
        lambda: prediction_text.predictions_table(found, utc_now()),
        format_,
        empty=f"No predictions in namespace {client.namespace}.",
    )


@predictions.command(epilog=examples("fovea predictions describe scores"))
@click.argument("name", shell_complete=complete_prediction)
@format_option
@cluster_options
@click.pass_context
def describe(ctx: click.Context, name: str, format_: str) -> None:
    """Show all about one prediction, and what to try next."""
    from . import prediction_text

    source = client_of(ctx).predictions
    if format_ == "table":
        click.echo(prediction_text.description(source.get(name), utc_now()))
    else:
        click.echo(document(source.raw(name), format_))


@predictions.command(
    epilog=examples(
        "fovea predictions wait scores --timeout 2h",
        "fovea predictions wait scores && fovea predictions download scores",
    )
)
@click.argument("names", metavar="NAME…", nargs=-1, required=True, shell_complete=complete_prediction)
@click.option(
    "--timeout", metavar="TIME", callback=seconds, help="Give up waiting, for example 90s, 15m or 2h; they go on."
)
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@cluster_options
@click.pass_context
def wait(ctx: click.Context, names: Sequence[str], timeout: float | None, quiet: bool) -> None:
    """Wait until the predictions have ended, showing progress.

    Exit code: 0 SUCCEEDED, 1 FAILED, 3 CANCELLED, 124 not ended within --timeout, 130 Ctrl-C (the prediction goes on).
    With several, the command waits for all, and the first one without success sets the exit code.
    """
    import time

    begun = time.monotonic()
    source = client_of(ctx).predictions

    def one(name: str) -> int:
        return _wait_for(source, name, timeout=timeout, begun=begun, quiet=quiet)

    ctx.exit(each(names, one))


def _wait_for(
    source: "Predictions",
    name: str,
    *,
    timeout: float | None,
    quiet: bool,
    begun: float | None = None,
    to_stderr: bool = False,
) -> int:
    """Wait for the end, a line for each change; the exit code that says how it ended."""
    from fovea.sdk.errors import WaitTimeoutError
    from fovea.sdk.predictions import state

    from . import prediction_text

    said, last = "", None
    try:
        for last in source.follow(name, timeout=timeout, begun=begun):
            line = f"{name}: {prediction_text.line(last)}"
            if not quiet and line != said:
                click.echo(line, err=True)
                said = line
    except WaitTimeoutError as error:
        click.echo(f"TIMEOUT: {error}", err=True)
        return exit_codes.TIMEOUT
    assert last is not None  # noqa: S101 - following yields at least once or raises
    click.echo(f"Prediction {name} {state(last)}.", err=to_stderr)
    if quiet and state(last) != "SUCCEEDED" and last.status.message:
        click.echo(last.status.message, err=True)
    return exit_codes.of_state(state(last))


@predictions.command(
    "stream-logs",
    epilog=examples(
        "fovea predictions stream-logs scores",
        "fovea predictions stream-logs scores --task-name worker-1 --attempt 0",
        "fovea predictions stream-logs scores --no-follow --container batch",
    ),
)
@click.argument("name", shell_complete=complete_prediction)
@log_options("prediction", "worker-0", CONTAINERS)
@click.pass_context
def stream_logs(ctx: click.Context, /, name: str, container: str, **how: Any) -> None:
    """Print the logs of a prediction's workers across their attempts.

    Each line begins with worker and attempt, [worker-0/1]. The log of a worker goes with its pod: pods that failed stay until
    the prediction is deleted, those that were drained are gone.
    """
    from . import prediction_text

    source = client_of(ctx).predictions
    nothing = (
        f"No log of container {container}: it has not started, or printed nothing, or its pods are deleted. "
        "What the agent did is in --container batch and fovea-fetch-model."
    )

    def stream(say: "Callable[[BatchPrediction], None]") -> "Iterable[LogLine]":
        return source.stream_logs(name, container=container, seen=say, **how)

    def state(seen: "BatchPrediction") -> str:
        return f"{name}: {prediction_text.line(seen)}"

    print_lines(stream, state, nothing)


@predictions.command(epilog=examples("fovea predictions cancel scores"))
@click.argument("names", metavar="NAME…", nargs=-1, required=True, shell_complete=complete_prediction)
@cluster_options
@click.pass_context
def cancel(ctx: click.Context, names: Sequence[str]) -> None:
    """Cancel predictions for good. Their workers are stopped."""
    source = client_of(ctx).predictions

    def one(name: str) -> None:
        source.cancel(name)
        click.echo(f"Cancelling prediction {name}.")

    ctx.exit(each(names, one))


@predictions.command(epilog=examples("fovea predictions delete scores --yes"))
@click.argument("names", metavar="NAME…", nargs=-1, required=True, shell_complete=complete_prediction)
@yes_option
@cluster_options
@click.pass_context
def delete(ctx: click.Context, names: Sequence[str], yes: bool) -> None:
    """Delete predictions with their workers. Published output stays in the object store."""
    source = client_of(ctx).predictions

    def one(name: str) -> str:
        source.delete(name)
        return f"Deleted prediction {name}. What it published stays in the object store."

    ctx.exit(delete_each(names, one, yes=yes))


@predictions.command(
    epilog=examples("fovea predictions download scores", "fovea predictions download scores ./answers -n vision")
)
@click.argument("name", metavar="NAME", shell_complete=complete_prediction)
@folder_argument
@download_options
@format_option
@store_options
@cluster_options
@click.pass_context
def download(ctx: click.Context, /, name: str, folder: Path | None, quiet: bool, format_: str, **how: Any) -> None:
    """Download the output of a prediction.

    It goes into DIR, by default ./NAME-output. Records without an answer are in errors.jsonl. Files are verified by their
    digests. Files that are there already with the same content are skipped: repeat the command to go on after a failure.
    """
    fetch = partial(client_of(ctx).predictions.download, name, folder, **how)
    downloaded(f"Output of prediction {name}", fetch, quiet=quiet, format_=format_)
