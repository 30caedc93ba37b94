"""Which numbers of a job's output its ModelVersion records: those of `evaluation.json`."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

from fovea_api.contract import environment
from fovea_api.contract.metrics import chosen, main

from fovea_agent import log

LARGEST = 4 << 20
"""Bytes of an `evaluation.json` that is read: parsed it takes many times as much memory, of which the agent has little."""


@dataclass(frozen=True)
class Measured:
    """The metrics that are kept, how many more there are, and the name of the one that stands for the model."""

    metrics: dict[str, float] = field(default_factory=dict)
    left_out: int = 0
    main: str = ""


def too_large(size: int) -> bool:
    """Whether a file of `size` bytes is too large to be read; logs it then."""
    if size <= LARGEST:
        return False
    log.warning("no metrics: the file is too large", file=environment.EVALUATION_FILE, bytes=size, most=LARGEST)
    return True


def metrics_of(data: bytes) -> Measured:
    """Numbers of the object `metrics`, or else of the document itself, as far as a status holds them.

    None when malformed.
    """
    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        log.warning("no metrics: the file is not JSON", file=environment.EVALUATION_FILE, error=str(error))
        return Measured()
    if not isinstance(document, dict):
        log.warning("no metrics: the file is not a JSON object", file=environment.EVALUATION_FILE)
        return Measured()
    values = document["metrics"] if isinstance(document.get("metrics"), dict) else document
    given = {str(name): value for name, value in values.items() if _is_number(value)}
    numbers = {name: number for name, value in given.items() if (number := _finite(value)) is not None}
    named = document.get("mainMetric", "")
    if not isinstance(named, str) or (named and named not in numbers):
        log.warning("mainMetric names no metric", file=environment.EVALUATION_FILE, mainMetric=str(named)[:100])
        named = ""
    kept = chosen(numbers, first=named)
    return Measured(kept, len(given) - len(kept), main(kept, named))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:  # an integer that no float can hold
        return None
    return number if math.isfinite(number) else None
