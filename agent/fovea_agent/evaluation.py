"""Which numbers of a job's output its ModelVersion records: those of `evaluation.json`."""

import json
import math
from typing import Any

from fovea_api.contract import environment

from fovea_agent import log

LARGEST = 4 << 20
"""Bytes of an `evaluation.json` that is read: parsed it takes many times as much memory, of which the agent has little."""


def too_large(size: int) -> bool:
    """Whether a file of so many bytes is not read; says so."""
    if size <= LARGEST:
        return False
    log.warning("no metrics: the file is too large", file=environment.EVALUATION_FILE, bytes=size, most=LARGEST)
    return True


def metrics_of(data: bytes) -> dict[str, float]:
    """Finite numbers of the object `metrics`, or else of the document itself; {} when malformed."""
    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        log.warning("no metrics: the file is not JSON", file=environment.EVALUATION_FILE, error=str(error))
        return {}
    if not isinstance(document, dict):
        log.warning("no metrics: the file is not a JSON object", file=environment.EVALUATION_FILE)
        return {}
    values = document["metrics"] if isinstance(document.get("metrics"), dict) else document
    numbers = {str(name): _finite(value) for name, value in values.items()}
    return {name: number for name, number in numbers.items() if number is not None}


def _finite(value: Any) -> float | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer that no float can hold
        return None
    return number if math.isfinite(number) else None
