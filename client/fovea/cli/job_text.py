"""How jobs read: a table of many, a description of one, a line of progress. Pure; golden files hold them."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from fovea_api.contract.manifest import Entry
from fovea_api.v1alpha1 import JobState, TrainingJob
from fovea_api.v1alpha1.conditions import JobReason
from fovea_api.v1alpha1.roles import pods_by_role
from fovea_api.v1alpha1.training_job import TrainingJobSpec
from fovea_api.v1alpha1.training_job_status import FailureStatus, MemberStatus, PublicationStatus

from fovea.sdk.pods import Pod

from .files_text import files_section
from .output import age, duration, fields, indented, number, parse_time, size, table, when


def state(job: TrainingJob) -> JobState:
    """Its state; QUEUED while the operator has not looked at it."""
    return job.status.state or JobState.QUEUED


def jobs_table(jobs: Sequence[tuple[TrainingJob, float | None]], now: datetime) -> str:
    """One row per job, each with the seconds since its progress was reported, or since its status was written."""
    headers = ("NAME", "STATE", "QUEUED", "RUNNING", "PROGRESS", "AS OF", "VERSION", "AGE")
    rows = [
        (
            job.metadata.name,
            state(job),
            _queued(job, now),
            _running(job, now),
            progress(job),
            _ago(seconds),
            job.status.model_version,
            age(job.metadata.creation_timestamp, now),
        )
        for job, seconds in jobs
    ]
    return table(headers, rows)


def progress(job: TrainingJob) -> str:
    """`epoch 2/10, step 90/450`; empty before the first report."""
    seen = job.status.progress
    if seen is None:
        return ""
    counts = [("epoch", seen.epoch, seen.epochs), ("step", seen.step, seen.steps)]
    return ", ".join(
        f"{word} {done}" + (f"/{total}" if total else "") for word, done, total in counts if done is not None
    )


def pace(job: TrainingJob) -> str:
    """`4.2 steps/s, about 1m25s left`; empty where it is not known."""
    seen = job.status.progress
    if seen is None or seen.steps_per_second is None:
        return ""
    rate = seen.steps_per_second
    words = f"{number(rate)} steps/s" if rate >= 0.1 or rate == 0 else f"{duration(1 / rate)} per step"
    left = seen.remaining_seconds
    return words if left is None or state(job).ended else f"{words}, about {duration(left)} left"


def listed(metrics: Mapping[str, float], main: str = "", between: str = ", ") -> str:
    """Names and values; the one that stands for the model comes first."""
    names = sorted(metrics, key=lambda name: name != main)  # stable: the others stay in their order
    return between.join(f"{name} {number(metrics[name])}" for name in names)


def metrics(job: TrainingJob) -> str:
    """`loss 0.31, accuracy 0.91 and 3 more`: the final ones, else the latest."""
    where = job.status if job.status.metrics else job.status.progress
    if where is None or not where.metrics:
        return ""
    more = f" and {where.metrics_left_out} more" if where.metrics_left_out else ""
    return listed(where.metrics, (job.status.main_metric or "") if where is job.status else "") + more


def line(job: TrainingJob) -> str:
    """One line on where the job stands."""
    rate = pace(job) if state(job) == JobState.RUNNING else ""
    now_known = [part for part in (progress(job), rate, metrics(job)) if part]
    text = ": " + "; ".join(now_known) if now_known else ""
    if not now_known or state(job) != JobState.RUNNING:
        text += f" - {job.status.message}" if job.status.message else ""
    return f"{state(job)}{text}"


def description(
    job: TrainingJob,
    pods: Sequence[Pod] | str,
    now: datetime,
    output: Sequence[Entry] | str = (),
    seconds: float | None = None,
) -> str:
    """Everything about one job. `pods` and the files of the `output` may be a sentence on why they are not known.

    `seconds` since its progress was reported, or since its status was written; None where that is not known or does not matter.
    """
    parts = [fields(_facts(job, now, _ago(seconds)))]
    if job.status.conditions:
        rows = [
            (c.type, c.status, c.reason, age(c.last_transition_time, now), c.message) for c in job.status.conditions
        ]
        parts.append("Conditions:\n" + indented(table(("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"), rows)))
    if job.status.members:
        parts.append("Members:\n" + indented(_members(job, now)))
    if isinstance(pods, str):
        parts.append(f"Pods: {pods}")
    elif pods:
        members = [(pod.name, pod.task, pod.attempt, pod.summary, pod.node, age(pod.created, now)) for pod in pods]
        parts.append("Pods:\n" + indented(table(("NAME", "TASK", "ATTEMPT", "STATUS", "NODE", "AGE"), members)))
    if section := files_section("Output files", output):
        parts.append(section)
    parts.append("Next:\n" + "\n".join(f"  {step}" for step in next_steps(job)))
    return "\n\n".join(parts)


def _members(job: TrainingJob, now: datetime) -> str:
    headers = ("MEMBER", "STATE", "NODE", "ATTEMPT", "STEP", "SINCE", "NOTE")
    rows = [
        (key, each.state, each.node, str(each.attempt), each.step, age(each.since, now), _note(job, key, each))
        for key, each in (job.status.members or {}).items()
    ]
    return table(headers, rows)


def _note(job: TrainingJob, key: str, member: MemberStatus) -> str:
    if member.behind_percent is not None:
        return f"straggler: {member.behind_percent} % behind the median"
    failure = job.status.last_failure
    if failure is not None and failure.member == key and failure.attempt in (member.attempt, member.attempt - 1):
        return f"attempt {failure.attempt} failed: {failure.reason}"
    return ""


def next_steps(job: TrainingJob) -> list[str]:
    """What to try next, by state and reason."""
    name = job.metadata.name
    flag = f" -n {job.metadata.namespace}" if job.metadata.namespace else ""
    logs, wait = f"fovea jobs stream-logs {name}{flag}", f"fovea jobs wait {name}{flag}"
    cancel = f"fovea jobs cancel {name}{flag}"
    if job.status.state is None:
        return [
            "the operator has not looked at it yet; if that lasts: kubectl get pods -A -l app.kubernetes.io/name=fovea",
            wait,
        ]
    match state(job):
        case JobState.SUCCEEDED:
            model, download = job.spec.model, f"fovea jobs download {name}{flag}"
            results = [download] if job.status.output and job.status.output.files else []
            if model is None:
                return [*results, *([f"{download} --what model"] if job.status.model else [])] or [logs]
            described = f"fovea models describe {model.name}{flag}"
            used = [f"fovea predict --model {model.name}{flag} IMAGE…"] if model.deploy else []
            return [described, *used, *results]
        case JobState.FAILED:
            return [_remedy(job), logs]
        case JobState.CANCELLED | JobState.CANCELLING:
            return [
                f"submit it again with --checkpoint-from {name} (under its own name: {name}@latest, once it is deleted): "
                "it goes on from the last checkpoint"
            ]
        case JobState.RUNNING:
            return [logs, wait]
        case _ if job.spec.suspend:
            return [f"fovea jobs resume {name}{flag}", cancel]
        case _:
            return [wait, cancel]


_REMEDIES = {
    JobReason.INVALID_SPEC: "correct what the message names and submit it again (a spec cannot be changed)",
    JobReason.PROGRAM_FAILED: "the program itself failed: its last lines say why",
    JobReason.BACKOFF_LIMIT_EXCEEDED: "the last failure is the cause; a higher --backoff-limit gives it more attempts",
    JobReason.INPUT_MISSING: "upload the input (`fovea data upload DIR NAME`) or correct its URI, then submit it again",
    JobReason.KEY_MISSING: "ask the platform team for a key of the object store in this namespace, as the message says, then submit it again",
    JobReason.KEY_REFUSED: "ask the platform team to renew the Secret fovea-object-store of this namespace",
    JobReason.STORE_UNREACHABLE: "ask the platform team whether the object store is up, then submit it again",
    JobReason.MAX_RUNNING_SECONDS: "submit it again with a higher --max-running and --checkpoint-from this job",
    JobReason.MAX_WAIT_SECONDS: "submit it again with a smaller --machine-type or a higher --max-wait",
    JobReason.OUTPUT_MISSING: "the program ended well but nothing was published: see the log of --container fovea-sync",
}


def _remedy(job: TrainingJob) -> str:
    reason = next((c.reason for c in job.status.conditions or [] if c.type == "Failed" and c.status == "True"), "")
    return (
        _REMEDIES.get(JobReason(reason), "the message says why")
        if reason in list(JobReason)
        else "the message says why"
    )


def _facts(job: TrainingJob, now: datetime, reported: str) -> list[tuple[str, object]]:
    spec, status = job.spec, job.status
    trainer = f"recipe {spec.trainer.recipe}" if spec.trainer.recipe else ""
    if spec.trainer.container:
        trainer = f"image {spec.trainer.container.image}"
    failure = status.last_failure
    checkpoint = status.checkpoint
    return [
        ("Name", job.metadata.name),
        ("Namespace", job.metadata.namespace),
        ("State", f"{state(job)} (suspended)" if spec.suspend and not state(job).ended else state(job)),
        ("Message", status.message),
        ("Trainer", trainer),
        ("Arguments", " ".join(f"--{name}={_word(value)}" for name, value in (spec.args or {}).items())),
        ("Inputs", _inputs(spec)),
        ("Machine", _machines(job)),
        ("Distribution", _distribution(job)),
        ("Queue", _queue(job)),
        ("UID", job.metadata.uid),
        ("Created", when(job.metadata.creation_timestamp, now)),
        ("Started", when(status.start_time, now)),
        ("Ended", when(status.end_time, now)),
        ("Queued for", _queued(job, now)),
        ("Running for", _running(job, now)),
        ("Progress", progress(job) + (f" ({reported})" if reported and progress(job) else "")),
        ("Pace", pace(job)),
        ("Metrics", metrics(job)),
        ("Checkpoint", f"step {checkpoint.step} {when(checkpoint.time, now)}".rstrip() if checkpoint else ""),
        ("Best", _best(job)),
        ("Cost", f"{number(status.cost.total)} (machine hours × costWeight)" if status.cost else ""),
        ("Output", _publication(status.output)),
        ("Model", _publication(status.model)),
        ("Version", status.model_version),
        ("Retries", f"{status.retries} of {spec.run_policy.backoff_limit}" if status.retries else ""),
        ("Disruptions", str(status.disruptions) if status.disruptions else ""),
        ("Last failure", _failure(failure) if failure else ""),
    ]


def _best(job: TrainingJob) -> str:
    best = job.status.best_checkpoint
    return f"checkpoint {best.step} by the evaluator: {best.metric} {number(best.value)}" if best else ""


def _failure(failure: FailureStatus) -> str:
    of = f" of {failure.member}" if failure.member else ""
    return f"attempt {failure.attempt}{of}: {failure.reason}: {failure.message}"


def _machines(job: TrainingJob) -> str:
    """The machine type, or what each role has of which."""
    spec = job.spec
    roles = pods_by_role(spec.distribution, spec.scale_tier, spec.roles)
    if len(roles) == 1:
        return (spec.roles.chief.machine_type if spec.roles else None) or spec.scale_tier or _DEFAULT_MACHINE
    return ", ".join(f"{role}: {pods.count} × {pods.machine_type or _DEFAULT_MACHINE}" for role, pods in roles.items())


def _distribution(job: TrainingJob) -> str:
    if job.spec.distribution == "Single":
        return ""
    return f"{job.spec.distribution}{', synchronous' if job.spec.sync else ''}"


def _queue(job: TrainingJob) -> str:
    scheduling, place = job.spec.scheduling, job.status.queue_position
    if scheduling is None or scheduling.queue is None:
        return ""
    priority = f", priority {scheduling.priority}" if scheduling.priority else ""
    return f"{scheduling.queue}{priority}{f', place {place}' if place else ''}"


_DEFAULT_MACHINE = "the default machine type"


def _ago(seconds: float | None) -> str:
    return "" if seconds is None else f"{duration(seconds)} ago"


def _publication(published: PublicationStatus | None) -> str:
    if published is None:
        return ""
    return f"{published.uri} ({published.files} files, {size(published.bytes)})"


def _inputs(spec: TrainingJobSpec) -> str:
    modes = spec.input_modes or {}
    lines = (
        f"{name}={uri}" + (" (streamed)" if modes.get(name) == "Stream" else "")
        for name, uri in (spec.inputs or {}).items()
    )
    return "\n".join(lines)


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _queued(job: TrainingJob, now: datetime) -> str:
    """How long it waits or waited for its program to start."""
    since = parse_time(job.status.queue_time or job.metadata.creation_timestamp or None)
    if since is None:
        return ""
    started = parse_time(job.status.start_time)
    if started and started < since:
        return ""  # It runs again after a suspension: the first wait is history.
    until = started or parse_time(job.status.end_time) or now
    return duration((until - since).total_seconds())


def _running(job: TrainingJob, now: datetime) -> str:
    started = parse_time(job.status.start_time)
    if started is None:
        return ""
    until = parse_time(job.status.end_time) or now
    return duration((until - started).total_seconds())
