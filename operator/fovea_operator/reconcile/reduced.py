"""Statuses with less in them, for an API server that refuses the whole one: no text, number or size holds up an end."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Status = Mapping[str, Any]

_REASON = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")
_UNKNOWN = "Unknown"
MEMORY = frozenset(
    {
        "state",
        "attempts",
        "retries",
        "nextAttemptTime",
        "queueTime",
        "startTime",
        "runningSeconds",
        "endTime",
        "stable",
        "candidate",
        "draining",
        "failed",
        "observedGeneration",
    }
)
"""Fields that later decisions build on."""


def statuses(status: Status) -> Iterator[dict[str, Any]]:
    """First the status without the words and numbers of others, then the least that an object can be left with."""
    plain = _without_words(status)
    yield plain
    yield {key: value for key, value in plain.items() if key in MEMORY or key in ("conditions", "message")}


def _without_words(status: Status) -> dict[str, Any]:
    kept = {key: value for key, value in status.items() if key not in ("metrics", "progress")}
    said = [_plain(condition) for condition in status.get("conditions") or ()]
    if said:
        kept["conditions"] = said
    if status.get("lastFailure"):
        kept["lastFailure"] = _plain(status["lastFailure"])
    if status.get("message"):
        newest = max(said, key=lambda condition: str(condition.get("lastTransitionTime")), default={})
        kept["message"] = _sentence(newest.get("reason", _UNKNOWN))
    return kept


def _plain(item: Status) -> dict[str, Any]:
    reason = item["reason"] if _REASON.fullmatch(item["reason"]) else _UNKNOWN
    return {**item, "reason": reason, "message": _sentence(reason)}


def _sentence(reason: str) -> str:
    return (
        f"{reason}. The API server refused the status with its full text, so the text and the metrics are left out; an "
        "Event of this object has the refusal, and the logs of the pods have the text."
    )
