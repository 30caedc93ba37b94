"""Following one job: its progress or its log until it ends, and the exit code that says how."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from . import exit_codes
from .log_following import print_lines

if TYPE_CHECKING:
    from fovea.sdk.job import Job
    from fovea.sdk.jobs import Jobs
    from fovea.sdk.logs import LogLine


def wait_for(
    source: "Jobs",
    name: str,
    *,
    timeout: float | None,
    quiet: bool,
    begun: float | None = None,
    logs: bool = False,
    to_stderr: bool = False,
    job: "Job | None" = None,
) -> int:
    """Wait for the job's end, while its log is printed with `logs`; the exit code that says how it ended.

    `job` is the job as it was submitted: followed from there on, its end is seen although it is deleted then.
    """
    import time

    from fovea.sdk.errors import JobGoneError, WaitTimeoutError

    from . import follow

    # One deadline for the log and for the end that comes after it.
    begun = time.monotonic() if begun is None else begun
    try:
        last = print_logs(source, name, timeout=timeout, begun=begun, job=job) if logs else None
        if last is None or not last.ended:
            every = None if quiet else follow.pause()
            changes = source.follow(name, timeout=timeout, begun=begun, job=job, every=every)
            last = follow.watch(changes, quiet=quiet)
    except WaitTimeoutError as error:
        click.echo(f"TIMEOUT: {error}", err=True)
        return exit_codes.TIMEOUT
    except JobGoneError as error:
        click.echo(f"Job {name} {error.state}.", err=to_stderr)
        click.echo(str(error), err=True)
        return exit_codes.of_state(error.state)
    job = last
    version = f" Model version {job.model_version}." if job.model_version else ""
    click.echo(f"Job {name} {job.state}.{version}", err=to_stderr)
    if quiet and job.state != "SUCCEEDED" and job.status.message:
        click.echo(job.status.message, err=True)
    return exit_codes.of_state(job.state)


def print_logs(source: "Jobs", name: str, *, container: str = "trainer", **how: Any) -> "Job | None":
    """Print the log of a container; the job as it was seen last. The other keywords are those of `Jobs.stream_logs`."""

    def note(text: str) -> None:
        click.echo(text, err=True)

    def stream(say: "Callable[[Job], None]") -> "Iterable[LogLine]":
        return source.stream_logs(name, container=container, seen=say, notice=note, **how)

    def state(job: "Job") -> str:
        return f"{name}: {job.state}" + (f" - {job.status.message}" if job.status.message else "")

    nothing = (
        f"No log of container {container}: it has not started, or printed nothing, or its pods are deleted. "
        "What the agent did is in --container fovea-sync and, where there was something to fetch, fovea-fetch."
    )
    return print_lines(stream, state, nothing)
