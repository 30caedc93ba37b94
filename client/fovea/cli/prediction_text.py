"""How batch predictions read: a table of many, a description of one, a line of progress. Pure; golden files hold them."""

from collections.abc import Sequence
from datetime import datetime

from fovea_api.v1alpha1 import BatchPrediction, JobState

from fovea.sdk.predictions import ended, state

from .output import age, duration, fields, indented, number, parse_time, size, table, when


def predictions_table(predictions: Sequence[BatchPrediction], now: datetime) -> str:
    """One row per prediction."""
    headers = ("NAME", "STATE", "MODEL", "PROGRESS", "RECORDS", "ERRORS", "RECORDS/S", "LEFT", "AGE")
    return table(headers, [_row(each, now) for each in predictions])


def _row(prediction: BatchPrediction, now: datetime) -> tuple[object, ...]:
    status, seen = prediction.status, prediction.status.progress
    rate = seen.records_per_second if seen else None
    return (
        prediction.metadata.name,
        state(prediction),
        model(prediction),
        seen.summary if seen else "",
        seen.records if seen else "",
        seen.errors if seen else "",
        "" if rate is None or ended(prediction) else number(rate),
        duration(seen.eta_seconds) if seen and seen.eta_seconds is not None and status.end_time is None else "",
        age(prediction.metadata.creation_timestamp, now),
    )


def model(prediction: BatchPrediction) -> str:
    """`digits v3`; without a version while none is chosen."""
    version = prediction.status.version
    return prediction.spec.model + (f" v{version}" if version is not None else "")


def progress(prediction: BatchPrediction) -> str:
    """`40%, 1200 records, 3 errors, 85.2 records/s, about 1m25s left`; empty before the first report."""
    seen = prediction.status.progress
    if seen is None:
        return ""
    parts = [f"{seen.percent}%"] if seen.percent is not None else []
    parts += [f"{seen.records} records", f"{seen.errors} errors"]
    if seen.records_per_second is not None and not ended(prediction):
        parts.append(f"{number(seen.records_per_second)} records/s")
    if seen.eta_seconds is not None and not ended(prediction):
        parts.append(f"about {duration(seen.eta_seconds)} left")
    return ", ".join(parts)


def line(prediction: BatchPrediction) -> str:
    """One line on where the prediction stands."""
    far = progress(prediction)
    text = f": {far}" if far else ""
    if not far or state(prediction) != JobState.RUNNING:
        text += f" - {prediction.status.message}" if prediction.status.message else ""
    return f"{state(prediction)}{text}"


def description(prediction: BatchPrediction, now: datetime) -> str:
    """Everything about one prediction."""
    status = prediction.status
    parts = [fields(_facts(prediction, now))]
    if status.conditions:
        rows = [(c.type, c.status, c.reason, age(c.last_transition_time, now), c.message) for c in status.conditions]
        parts.append("Conditions:\n" + indented(table(("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"), rows)))
    parts.append("Next:\n" + "\n".join(f"  {step}" for step in _next_steps(prediction)))
    return "\n\n".join(parts)


def _facts(prediction: BatchPrediction, now: datetime) -> list[tuple[str, object]]:
    spec, status = prediction.spec, prediction.status
    output, workers, last = status.output, status.workers, status.last_failure
    retries = sum((status.failures or {}).values())
    return [
        ("Name", prediction.metadata.name),
        ("Namespace", prediction.metadata.namespace),
        ("State", state(prediction)),
        ("Message", status.message),
        ("Model", model(prediction)),
        ("Input", f"{spec.input.uri} ({spec.input.format})"),
        ("Output", f"{output.uri} ({output.files} files, {size(output.bytes)})" if output else spec.output.uri),
        ("Format", spec.output.format),
        ("Digest", output.digest if output else ""),
        ("Progress", progress(prediction)),
        ("Shards", _shards(prediction)),
        ("Errors", _errors(prediction)),
        (
            "Workers",
            f"{workers.active} active, {workers.succeeded} done, {workers.failed} failed"
            if workers
            else spec.parallelism,
        ),
        ("Retries", f"{retries} (at most {spec.run_policy.backoff_limit} of each worker)" if retries else ""),
        ("Last failure", f"worker {last.worker}, pod {last.pod}: {last.reason}: {last.message}" if last else ""),
        ("Created", when(prediction.metadata.creation_timestamp, now)),
        ("Started", when(status.start_time, now)),
        ("Ended", when(status.end_time, now)),
        ("Took", _took(prediction)),
    ]


def _shards(prediction: BatchPrediction) -> str:
    seen = prediction.status.progress
    if seen is None or seen.shards.total is None:
        return ""
    return f"{seen.shards.done} of {seen.shards.total}"


def _errors(prediction: BatchPrediction) -> str:
    seen = prediction.status.progress
    if seen is None:
        return ""
    return f"{seen.errors} ({seen.error_ratio:.2%}, at most {prediction.spec.max_error_ratio:.2%})"


def _took(prediction: BatchPrediction) -> str:
    start, end = parse_time(prediction.status.start_time), parse_time(prediction.status.end_time)
    return duration((end - start).total_seconds()) if start and end else ""


def _next_steps(prediction: BatchPrediction) -> list[str]:
    name, namespace = prediction.metadata.name, prediction.metadata.namespace
    flag = f" -n {namespace}" if namespace else ""
    steps = []
    if not ended(prediction):
        steps += [f"fovea predictions wait {name}{flag}", f"fovea predictions cancel {name}{flag}"]
    if prediction.status.output is not None:
        steps.append(f"fovea predictions download {name}{flag}")
    if (last := prediction.status.last_failure) is not None:
        steps.append(f"fovea predictions stream-logs {name} --task-name worker-{last.worker}{flag}")
    return steps or [f"kubectl describe bp {name}{flag}"]
