"""`fovea jobs`: submit, resubmit, list, describe, wait, stream-logs, cancel, suspend, resume, delete; job_import.py has import."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from .each import delete_each, each, yes_option
from .job_following import print_logs, wait_for
from .job_import import import_
from .log_following import log_options
from .options import client_of, cluster_options, complete_job, examples, format_option, seconds, store_options
from .output import document, documents, show_list, utc_now
from .resubmit import resubmit
from .submit_flags import UserArguments, manifests_of, submit_options
from .submitting import send
from .transfer import download_options, downloaded, folder_argument
from .viewer import open_pictures

CONTAINERS = ("trainer", "fovea-fetch", "fovea-sync")
RESULTS = ("output", "model", "logs", "checkpoints")
STATES = ("QUEUED", "PREPARING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLING", "CANCELLED")


@click.group()
def jobs() -> None:
    """Submit and follow training jobs."""


jobs.add_command(resubmit)


jobs.add_command(import_)


@jobs.command(
    cls=UserArguments,
    epilog=examples(
        "fovea jobs submit examples/digits.yaml --wait",
        "fovea jobs submit digits --recipe image-classifier \\",
        "    --input data=s3://fovea/vision/datasets/digits --model digits --deploy --epochs 10 --optimizer sgd",
        "fovea jobs submit digits-2 --config examples/digits.yaml --arg learning-rate=0.02",
        "fovea jobs submit my-job --image registry.example.com/train:3 --stream-logs -- --epochs=10",
    ),
)
@click.argument("names", metavar="NAME|FILE…", nargs=-1, required=True)
@submit_options
@click.option("--wait", is_flag=True, help="Show progress until the job has ended; the exit code then says how.")
@click.option(
    "--stream-logs", is_flag=True, help="Print the job's log until it has ended; the exit code then says how."
)
@click.option("--dry-run", is_flag=True, help="Have the cluster check the job and print it; nothing is created.")
@click.option("--print", "print_", is_flag=True, help="Print the job as it would be sent, without a cluster.")
@click.option(
    "--timeout",
    metavar="TIME",
    callback=seconds,
    help="With --wait or --stream-logs: stop this long after the submission; the job goes on.",
)
@format_option
@cluster_options
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    names: tuple[str, ...],
    wait: bool,
    stream_logs: bool,
    dry_run: bool,
    print_: bool,
    timeout: float | None,
    format_: str,
    **flags: Any,
) -> None:
    """Submit jobs from files, or one from flags.

    With --recipe, --image or --config the first word is the new job's NAME; otherwise every word is a FILE of YAML (-
    reads standard input). Flags of the recipe stand among the command's own or after --; those of an image of your own,
    and what the command has under the same name, stand after --. Ctrl-C during --wait or --stream-logs leaves
    the job running.
    """
    from fovea.sdk import submission

    if wait and stream_logs:
        raise click.UsageError("--wait and --stream-logs exclude each other: both go on until the job has ended")
    if timeout is not None and not (wait or stream_logs):
        raise click.UsageError("--timeout is how long --wait or --stream-logs goes on: pass one of them too")
    manifests = manifests_of(ctx, names, flags)
    if (wait or stream_logs) and len(manifests) != 1:
        raise click.UsageError(f"--wait and --stream-logs follow one job, these are {len(manifests)}")
    for manifest in manifests:
        for warning in submission.warnings(manifest):
            click.echo(f"WARNING: {manifest['metadata']['name']}: {warning}", err=True)
    as_document = "yaml" if format_ == "table" and (print_ or dry_run) else format_
    if print_:
        click.echo(documents(manifests, as_document, several=len(manifests) > 1))
        return
    client = client_of(ctx)
    submitting = partial(client.jobs.submit, dry_run=dry_run)
    code, submitted = send("job", manifests, submitting, lambda job: dict(job.raw), as_document)
    if not code and not dry_run and (wait or stream_logs):
        job = submitted[0]
        source = client.jobs.within(job.namespace)
        how: dict[str, Any] = {"timeout": timeout, "logs": stream_logs, "quiet": stream_logs, "job": job}
        # Beside a document, how it ended is no part of the result.
        code = wait_for(source, job.name, **how, to_stderr=format_ != "table")
    ctx.exit(code)


@jobs.command("list", epilog=examples("fovea jobs list", "fovea jobs list --state RUNNING --state QUEUED -n vision"))
@click.option(
    "--state",
    "states",
    type=click.Choice(STATES, case_sensitive=False),
    multiple=True,
    help="Only jobs in this state. Repeatable.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", default=500, show_default=True, help="At most N, the newest."
)
@format_option
@cluster_options
@click.pass_context
def list_(ctx: click.Context, states: tuple[str, ...], limit: int, format_: str) -> None:
    """List jobs, newest first.

    AS OF says when the program of a running job last reported to the operator. If the operator cannot be asked, PROGRESS is
    from the job's status, and AS OF says when that status was last written: the progress may be older. The number of older jobs
    that are left out goes to standard error.
    """
    from fovea_api.v1alpha1 import JobState

    from . import job_text

    client = client_of(ctx)
    found, older = client.jobs.newest(limit, states=frozenset(JobState(state) for state in states))

    def table() -> str:
        seen = list(zip(found, client.jobs.progress(found), strict=True))
        return job_text.jobs_table([(job.at(far).resource, far.age_seconds) for job, far in seen], utc_now())

    show_list(
        [job.raw for job in found],
        table,
        format_,
        empty=f"No jobs in namespace {client.namespace}.",
    )
    if older:
        click.echo(f"{older:,} older jobs are not shown: raise --limit, or choose with --state.", err=True)


@jobs.command(epilog=examples("fovea jobs describe digits", "fovea jobs describe digits --format yaml"))
@click.argument("name", shell_complete=complete_job)
@format_option
@store_options
@cluster_options
@click.pass_context
def describe(ctx: click.Context, name: str, format_: str) -> None:
    """Show all about one job, and what to try next.

    That is its state, message, conditions, progress, pods and the files of its output.
    """
    from fovea.sdk.errors import ForbiddenError, FoveaError

    from . import job_text

    source = client_of(ctx).jobs
    job = source.get(name)
    if format_ != "table":
        click.echo(document(job.raw, format_))
        return
    try:
        pods: Any = job.pods()
    except ForbiddenError:
        pods = "you may not list pods in this namespace"
    output: Any = ()
    if job.status.output and job.status.output.files:
        try:
            output = source.files(name, brief=True)
        except FoveaError as error:
            output = f"not listed: {error}"
    far = job.progress()
    click.echo(job_text.description(job.at(far).resource, pods, utc_now(), output, far.age_seconds))


@jobs.command(
    epilog=examples(
        "fovea jobs download digits --open",
        "fovea jobs download digits ./model --what model -n vision",
        "fovea jobs download digits --what checkpoints --step 400",
        "fovea jobs download digits@latest --what logs && tensorboard --logdir digits-logs",
    )
)
@click.argument("name", metavar="NAME", shell_complete=complete_job)
@folder_argument
@click.option(
    "--what",
    type=click.Choice(RESULTS),
    default="output",
    show_default=True,
    help="logs: the TensorBoard files of each attempt, and what the programs printed.",
)
@click.option("--attempt", type=click.IntRange(min=0), metavar="N", help="From this attempt. Default: the newest.")
@click.option("--step", type=click.IntRange(min=0), metavar="N", help="The checkpoint of this step. Default: all.")
@click.option("--open", "open_", is_flag=True, help="Open the pictures among the files.")
@download_options
@format_option
@store_options
@cluster_options
@click.pass_context
def download(
    ctx: click.Context,
    /,
    name: str,
    folder: Path | None,
    what: str,
    attempt: int | None,
    step: int | None,
    open_: bool,
    quiet: bool,
    format_: str,
    **how: Any,
) -> None:
    """Download what a job published.

    It goes into DIR, by default ./NAME-output, ./NAME-model and so on.

    For a deleted job: NAME@latest, or NAME@UID. Files are verified by their digests. Files that are there already with
    the same content are skipped: repeat the command to go on after a failure. Nothing appears in DIR before everything
    is fetched and verified.
    """
    fetch = partial(client_of(ctx).jobs.download, name, folder, what=what, attempt=attempt, step=step, **how)
    done = downloaded(f"{what.capitalize()} of job {name}", fetch, quiet=quiet, format_=format_)
    if open_:
        open_pictures(done)


@jobs.command(
    epilog=examples(
        "fovea jobs wait digits", "fovea jobs wait digits --timeout 2h && fovea predict --model digits 7.png"
    )
)
@click.argument("names", metavar="NAME…", nargs=-1, required=True, shell_complete=complete_job)
@click.option(
    "--timeout", metavar="TIME", callback=seconds, help="Give up waiting, for example 90s, 15m or 2h; the jobs go on."
)
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@cluster_options
@click.pass_context
def wait(ctx: click.Context, names: Sequence[str], timeout: float | None, quiet: bool) -> None:
    """Wait until the jobs have ended, showing progress.

    NAME@UID (`describe` shows the uid) waits for exactly that job, even if it is deleted: its Events show for an hour how
    it ended. With NAME alone, a job that is not there is an error, even if a deleted job of that name has succeeded.

    Exit code: 0 SUCCEEDED, 1 FAILED, 3 CANCELLED, 124 not ended within --timeout, 130 Ctrl-C (the job goes on). With
    several jobs, the command waits for all, and the first one without success sets the exit code.
    """
    import time

    begun = time.monotonic()
    source = client_of(ctx).jobs

    def one(name: str) -> int:
        return wait_for(source, name, timeout=timeout, begun=begun, quiet=quiet)

    ctx.exit(each(names, one))


@jobs.command(
    "stream-logs",
    epilog=examples(
        "fovea jobs stream-logs digits",
        "fovea jobs stream-logs digits --task-name worker-1 --attempt 0",
        "fovea jobs stream-logs digits --no-follow --container fovea-sync",
    ),
)
@click.argument("name", shell_complete=complete_job)
@log_options("job", "chief-0", CONTAINERS)
@store_options
@click.pass_context
def stream_logs(ctx: click.Context, name: str, task: str, container: str, attempt: int | None, follow: bool) -> None:
    """Print a job's log across its attempts.

    Each line begins with task and attempt, [chief-0/1]. Where the pod of an attempt is gone, what its program printed comes
    from the object store.
    """
    source = client_of(ctx).jobs
    print_logs(source, name, follow=follow, container=container, task=task, attempt=attempt)


@jobs.command(epilog=examples("fovea jobs cancel digits"))
@click.argument("names", metavar="NAME…", nargs=-1, required=True, shell_complete=complete_job)
@cluster_options
@click.pass_context
def cancel(ctx: click.Context, names: Sequence[str]) -> None:
    """Cancel jobs for good. Their programs are stopped; records and checkpoints stay."""
    source = client_of(ctx).jobs

    def one(name: str) -> None:
        source.cancel(name)
        click.echo(f"Cancelling job {name}.")

    ctx.exit(each(names, one))


@jobs.command(epilog=examples("fovea jobs suspend digits"))
@click.argument("names", metavar="NAME…", nargs=-1, required=True, shell_complete=complete_job)
@cluster_options
@click.pass_context
def suspend(ctx: click.Context, names: Sequence[str]) -> None:
    """Suspend jobs after a checkpoint; resume goes on from there."""
    source = client_of(ctx).jobs

    def one(name: str) -> None:
        job = source.suspend(name)
        resume = f"fovea jobs resume {name} -n {job.namespace}"
        click.echo(f"Suspended job {name}: `{resume}` goes on from its last checkpoint.")

    ctx.exit(each(names, one))


@jobs.command(epilog=examples("fovea jobs resume digits"))
@click.argument("names", metavar="NAME…", nargs=-1, required=True, shell_complete=complete_job)
@cluster_options
@click.pass_context
def resume(ctx: click.Context, names: Sequence[str]) -> None:
    """Resume suspended jobs from their last checkpoints."""
    source = client_of(ctx).jobs

    def one(name: str) -> None:
        source.resume(name)
        click.echo(f"Resumed job {name}.")

    ctx.exit(each(names, one))


@jobs.command(epilog=examples("fovea jobs delete digits --yes"))
@click.argument("names", metavar="NAME…", nargs=-1, required=True, shell_complete=complete_job)
@yes_option
@cluster_options
@click.pass_context
def delete(ctx: click.Context, names: Sequence[str], yes: bool) -> None:
    """Delete jobs with their pods. Published output and logs, model versions and deployments stay."""
    source = client_of(ctx).jobs

    def one(name: str) -> str:
        uid = source.delete(name)
        bare = name.partition("@")[0]
        return f"Deleted job {bare}. What it published stays: job://{bare}@{uid}"

    ctx.exit(delete_each(names, one, yes=yes))
