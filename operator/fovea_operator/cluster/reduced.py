"""Shorter statuses, for an API server that refuses the full one: no text, number or size keeps a job from ending."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

Status = Mapping[str, Any]

_REASON = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")
_UNKNOWN = "Unknown"
_PROBLEM = "it is not a SavedModel (the API server refused the words that say more)"
NEEDED = frozenset(
    {
        "state",
        "attempts",
        "retries",
        "disruptions",
        "nextAttemptTime",
        "nextAttemptTimes",
        "queueTime",
        "startTime",
        "runningSeconds",
        "cost",
        "suspending",
        "storeUnreachable",
        "failingStep",
        "evaluatorFailures",
        "endedPrograms",
        "endTime",
        "places",
        "scaling",
        "version",
        "digest",
        "failures",
        "reruns",
        "observedGeneration",
    }
)
"""Fields that the next decision depends on."""
MEMORY = NEEDED | {
    "resolvedInputs",
    "checkpoint",
    "output",
    "model",
    "modelProblem",
    "modelVersion",
    "replicas",
    "selector",
    "endpoint",
}
"""NEEDED, and the fields that later attempts, other objects and autoscalers read. They contain addresses, some of which users wrote."""
_SAID = frozenset({"conditions", "message"})
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


def statuses(status: Status) -> Iterator[dict[str, Any]]:
    """The shorter statuses, the longest first: without texts and metrics; then only MEMORY; then only NEEDED."""
    plain = _without_words(status)
    yield plain
    for kept in (MEMORY, NEEDED):
        yield {key: value for key, value in plain.items() if key in kept | _SAID}


def offence(status: Status) -> str:
    """The part of a status that the API server may refuse, as one text: all of it except times, numbers and the states of members."""
    return json.dumps(_without_numbers({**status, "members": None}), sort_keys=True)


def _without_numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_numbers(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_numbers(held) for held in value]
    if isinstance(value, str):
        return "" if _TIME.fullmatch(value) else value
    return value if value is None or isinstance(value, bool) else 0


def _without_words(status: Status) -> dict[str, Any]:
    kept = {key: value for key, value in status.items() if key not in ("metrics", "mainMetric", "bestCheckpoint")}
    if status.get("progress"):
        kept["progress"] = {key: value for key, value in status["progress"].items() if key != "metrics"}
    said = [_plain(condition) for condition in status.get("conditions") or ()]
    if said:
        kept["conditions"] = said
    if status.get("lastFailure"):
        kept["lastFailure"] = _plain(status["lastFailure"])
    if status.get("modelProblem"):
        kept["modelProblem"] = _PROBLEM
    if status.get("places"):
        kept["places"] = [_wordless_place(place) for place in status["places"]]
    if status.get("scaling"):
        kept["scaling"] = {key: value for key, value in status["scaling"].items() if key != "unavailable"}
    if status.get("history"):
        kept["history"] = [
            {key: value for key, value in ended.items() if key != "message"} for ended in status["history"]
        ]
    if status.get("message"):
        newest = max(said, key=lambda condition: str(condition.get("lastTransitionTime")), default={})
        kept["message"] = _sentence(newest.get("reason", _UNKNOWN))
    return kept


def _wordless_place(place: Status) -> dict[str, Any]:
    kept = {key: value for key, value in place.items() if key != "message"}
    if place.get("shift"):
        kept["shift"] = {key: value for key, value in place["shift"].items() if key != "waitsFor"}
    return kept


def _plain(item: Status) -> dict[str, Any]:
    reason = item["reason"] if _REASON.fullmatch(item["reason"]) else _UNKNOWN
    return {**item, "reason": reason, "message": _sentence(reason)}


def _sentence(reason: str) -> str:
    return (
        f"{reason}. The API server refused the status with its full text, so the text and the metrics are left out; an "
        "Event of this object has the refusal, and the logs of the pods have the text."
    )
