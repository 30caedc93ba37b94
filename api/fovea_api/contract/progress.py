"""One line of the trainer's progress file (`$FOVEA_PROGRESS_FILE`), JSON: step, steps, epoch, epochs, metrics."""

import json
from dataclasses import asdict, dataclass, field
from typing import Self

MAX_COUNT = 2**53
"""No count is greater: what reads JSON elsewhere keeps numbers as doubles, which are exact up to here."""


@dataclass(frozen=True)
class Progress:
    """Where a training run stands. Steps and epochs count from 0 = nothing done; metrics are the latest values by name."""

    step: int
    steps: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line without the newline."""
        return json.dumps({k: v for k, v in asdict(self).items() if v is not None})

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read a line; raises ValueError. Any framework may write it, so unknown fields are ignored."""
        try:
            document = json.loads(line)
        except RecursionError as error:
            raise ValueError(f"progress line {line[:200]!r} is nested too deeply") from error
        if not isinstance(document, dict) or not isinstance(document.get("step"), int):
            raise ValueError(f"progress line {line[:200]!r} is not an object with an integer step")
        metrics = document.get("metrics", {})
        if not isinstance(metrics, dict):
            raise ValueError(f"progress line {line[:200]!r}: metrics is not an object")
        try:
            return cls(
                step=_bounded(document["step"]),
                steps=_count(document.get("steps")),
                epoch=_count(document.get("epoch")),
                epochs=_count(document.get("epochs")),
                metrics={str(name): float(value) for name, value in metrics.items()},
            )
        except (OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"progress line {line[:200]!r}: {error}") from error


def _count(value: object) -> int | None:
    return _bounded(value) if isinstance(value, (int, float)) else None


def _bounded(value: float) -> int:
    if not abs(value) <= MAX_COUNT:  # also of NaN
        raise ValueError(f"a step or epoch is a whole number of at most {MAX_COUNT}, not NaN, infinite or greater")
    return int(value)
