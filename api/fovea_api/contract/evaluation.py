"""What an evaluator leaves of each checkpoint that it has measured: a folder `$FOVEA_OUTPUT_DIR/<step>/` that appears by rename.

`evaluation.json` in it has `metrics`, as that of a whole run, and as `best` which checkpoint is the best so far. A checkpoint
is followed by the next one when its folder is there.
"""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Self

BEST = "best"
"""The field of `evaluation.json`."""


@dataclass(frozen=True)
class Best:
    """The best checkpoint so far, and the metric that says so."""

    step: int
    metric: str
    value: float

    def document(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self | None:
        """Of an `evaluation.json`; None where it names none. Any program may write it, so anything may stand there."""
        try:
            found = json.loads(text)[BEST]
            step, metric, value = found["step"], found["metric"], found["value"]
        except (ValueError, RecursionError, KeyError, TypeError, IndexError):
            return None
        right = isinstance(step, int) and not isinstance(step, bool) and isinstance(metric, str) and metric
        if not right or isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        try:
            number = float(value)
        except OverflowError:
            return None
        return cls(step, metric[:128], number) if step >= 0 and math.isfinite(number) else None
