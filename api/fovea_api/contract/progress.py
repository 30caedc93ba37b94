"""One line of the trainer's progress file (`$FOVEA_PROGRESS_FILE`), JSON: step, steps, epoch, epochs, metrics."""

import json
from dataclasses import asdict, dataclass, field
from typing import Self


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
        return json.dumps({k: v for k, v in asdict(self).items() if v is not None}, sort_keys=True)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read a line; raises ValueError. Any framework may write it, so unknown fields are ignored."""
        document = json.loads(line)
        if not isinstance(document, dict) or not isinstance(document.get("step"), int):
            raise ValueError(f"progress line {line[:200]!r} is not an object with an integer step")
        metrics = document.get("metrics", {})
        if not isinstance(metrics, dict):
            raise ValueError(f"progress line {line[:200]!r}: metrics is not an object")
        return cls(
            step=document["step"],
            steps=_count(document.get("steps")),
            epoch=_count(document.get("epoch")),
            epochs=_count(document.get("epochs")),
            metrics={str(name): float(value) for name, value in metrics.items()},
        )


def _count(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) else None
