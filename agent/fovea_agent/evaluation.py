"""Which numbers of a job's output its ModelVersion records: those of `evaluation.json`."""

import json
import math
from typing import Any

from fovea_api.contract import environment

from fovea_agent import log


def metrics_of(data: bytes) -> dict[str, float]:
    """Finite numbers of the object `metrics`, or else of the document itself; {} when malformed."""
    try:
        document: Any = json.loads(data)
    except ValueError as error:
        log.warning("no metrics: the file is not JSON", file=environment.EVALUATION_FILE, error=str(error))
        return {}
    if not isinstance(document, dict):
        log.warning("no metrics: the file is not a JSON object", file=environment.EVALUATION_FILE)
        return {}
    values = document["metrics"] if isinstance(document.get("metrics"), dict) else document
    return {
        str(name): float(value)
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }
