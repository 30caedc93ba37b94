"""How ModelDeployments and their rollouts read. Pure; golden files hold them."""

from collections.abc import Sequence
from datetime import datetime

from fovea_api.v1alpha1 import ModelDeployment
from fovea_api.v1alpha1.model_deployment_status import Ended, Place, Traffic
from fovea_api.v1alpha1.rollout import CANARY_STEPS, Rollout

from .deployment_steps import next_steps
from .output import age, duration, fields, indented, number, parse_time, table, when

_LAST = 3
"""Rollouts in a description; `fovea deployments history` shows all."""


def deployments_table(deployments: Sequence[ModelDeployment], now: datetime) -> str:
    """One row per ModelDeployment."""
    headers = ("NAME", "MODEL", "SERVING", "CANDIDATE", "WEIGHT", "STEP", "NEXT", "READY", "AGE")
    return table(headers, [_row(deployment, now) for deployment in deployments])


def _row(deployment: ModelDeployment, now: datetime) -> tuple[object, ...]:
    status = deployment.status
    stable, candidate = status.stable, status.candidate
    shift = candidate.shift if candidate else None
    return (
        deployment.metadata.name,
        deployment.spec.model,
        f"v{stable.version}" if stable else "",
        f"v{candidate.version}" if candidate else "",
        f"{candidate.weight} %" if candidate else "",
        f"{shift.step}/{shift.steps}" if shift else "",
        _next(deployment, now),
        status.replicas or 0,
        age(deployment.metadata.creation_timestamp, now),
    )


def _next(deployment: ModelDeployment, now: datetime) -> str:
    candidate = deployment.status.candidate
    shift = candidate.shift if candidate else None
    if deployment.spec.rollout.paused:
        return "paused"
    if shift is None:
        return ""
    return "waits" if shift.waits_for else _until(shift.next_time, now)


def _until(stamp: str | None, now: datetime) -> str:
    then = parse_time(stamp)
    return duration((then - now).total_seconds()) if then else ""


def deployment_description(deployment: ModelDeployment, now: datetime) -> str:
    """Everything about one ModelDeployment."""
    status = deployment.status
    parts = [fields(_facts(deployment, now))]
    parts.append("Versions:\n" + indented(_places(status.places)) if status.places else "Versions: none")
    if status.candidate:
        parts.append(_candidate(deployment, status.candidate, now))
    if status.failed:
        parts.append(_failed(status.failed, now))
    if status.conditions:
        rows = [(c.type, c.status, c.reason, age(c.last_transition_time, now), c.message) for c in status.conditions]
        parts.append("Conditions:\n" + indented(table(("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"), rows)))
    if ended := newest_first(deployment)[:_LAST]:
        parts.append("Last rollouts:\n" + indented(history_table(ended, now)))
    parts.append("Next:\n" + "\n".join(f"  {step}" for step in next_steps(deployment)))
    return "\n\n".join(parts)


def _facts(deployment: ModelDeployment, now: datetime) -> list[tuple[str, object]]:
    spec, metadata = deployment.spec, deployment.metadata
    rollout = spec.rollout
    return [
        ("Name", metadata.name),
        ("Namespace", metadata.namespace),
        ("Created", when(metadata.creation_timestamp, now)),
        ("Model", spec.model),
        ("Wanted", wanted(deployment)),
        ("Strategy", _strategy(rollout)),
        ("Paused", "yes" if rollout.paused else ""),
        ("Promoted", f"v{rollout.promoted_version}" if rollout.promoted_version else ""),
        ("Aborted", f"v{rollout.aborted_version}" if rollout.aborted_version else ""),
        ("Message", deployment.status.message),
        *endpoint_facts(deployment),
    ]


def wanted(deployment: ModelDeployment) -> str:
    """The version that the spec names: Latest, or v3."""
    return "Latest" if deployment.spec.version == "Latest" else f"v{deployment.spec.version}"


def endpoint_facts(deployment: ModelDeployment) -> list[tuple[str, object]]:
    """Names and values of the addresses for clients; none before there are any."""
    endpoint = deployment.status.endpoint
    if endpoint is None:
        return []
    ports = [("gRPC", endpoint.node_port_grpc), ("REST", endpoint.node_port_rest)]
    return [
        ("gRPC", endpoint.grpc),
        ("REST", endpoint.rest),
        ("Outside", endpoint.external_grpc or ""),
        ("Over TLS", endpoint.external_grpc_tls or ""),
        ("Node ports", ", ".join(f"{name} {port}" for name, port in ports if port)),
    ]


def _strategy(rollout: Rollout) -> str:
    said: str = rollout.strategy
    if rollout.strategy == "Canary":
        said += f" ({', '.join(f'{step.weight} %' for step in rollout.steps or CANARY_STEPS)})"
    return said


def _places(places: Sequence[Place]) -> str:
    headers = ("VERSION", "ROLE", "STEP", "WEIGHT", "READY", "REQUESTS", "ERRORS", "P50", "P99")
    rows = []
    for place in places:
        seen = place.traffic
        rows.append(
            (
                f"v{place.version}",
                place.role,
                place.step,
                f"{place.weight} %",
                place.ready_replicas,
                seen.requests if seen else "",
                _errors(seen),
                _milliseconds(seen.p50_milliseconds if seen else None),
                _milliseconds(seen.p99_milliseconds if seen else None),
            )
        )
    return table(headers, rows)


def _errors(traffic: Traffic | None) -> str:
    return f"{number(traffic.error_ratio * 100)} %" if traffic else ""


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ms"


def _candidate(deployment: ModelDeployment, candidate: Place, now: datetime) -> str:
    shift = candidate.shift
    facts: list[tuple[str, object]] = [("Since", when((shift or candidate).since, now))]
    waits_for = candidate.message
    if shift:
        facts = [
            ("Step", f"{shift.step} of {shift.steps}"),
            ("Weight", f"{shift.weight} % of the requests"),
            *facts,
            ("Compared", _compared(candidate.traffic)),
            ("Next", _then(shift.next_weight, shift.next_time, now)),
        ]
        paused = "spec.rollout.paused to become false" if deployment.spec.rollout.paused else ""
        waits_for = "\n".join(part for part in (paused, shift.waits_for) if part)
    else:
        facts = [("Step", candidate.step), *facts, ("Reason", candidate.reason)]
    facts.append(("Waits for" if shift else "Message", waits_for))
    return f"Candidate v{candidate.version}:\n" + indented(fields(facts))


def _compared(traffic: Traffic | None) -> str:
    """Of mirrored requests; empty where none was compared."""
    if traffic is None or not traffic.compared:
        return ""
    return (
        f"{traffic.compared} mirrored requests, answers differ by {number(100 * (traffic.drift or 0.0))} % on average"
    )


def _then(weight: int | None, stamp: str | None, now: datetime) -> str:
    then = "it becomes the stable version" if weight is None else f"{weight} % of the requests"
    return f"{then}, at {stamp} or later (in {_until(stamp, now)})" if stamp else then


def _failed(failed: Place, now: datetime) -> str:
    facts = [
        ("Since", when(failed.since, now)),
        ("Reason", failed.reason),
        ("Message", failed.message),
        ("Next try", f"{failed.retry_time} (in {_until(failed.retry_time, now)})" if failed.retry_time else ""),
    ]
    return f"Given up v{failed.version}:\n" + indented(fields(facts))


def newest_first(deployment: ModelDeployment) -> list[Ended]:
    """The rollouts that are over, the newest first."""
    return list(reversed(deployment.status.history or ()))


def history_table(ended: Sequence[Ended], now: datetime) -> str:
    """One row per rollout that is over."""
    rows = [
        (
            f"v{rollout.version}",
            f"{age(rollout.time, now)} ago",
            rollout.reason,
            rollout.traffic.requests if rollout.traffic else "",
            _errors(rollout.traffic),
            _milliseconds(rollout.traffic.p99_milliseconds if rollout.traffic else None),
            rollout.message,
        )
        for rollout in ended
    ]
    return table(("VERSION", "ENDED", "REASON", "REQUESTS", "ERRORS", "P99", "MESSAGE"), rows)
