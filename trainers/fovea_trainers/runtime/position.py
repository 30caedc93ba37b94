"""How far a run has come: everything outside TensorFlow's variables that an exact resume needs."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass
class Position:
    """Step, place in the epoch, early-stopping state and the curves so far.

    Order and distortion are functions of (seed, epoch, place), so `epoch` and `batch` are the whole state of the input.
    """

    step: int = 0
    """Updates these weights have seen, earlier runs included: the name of the next checkpoint."""
    start: int = 0
    """Value of `step` when this run began: 0, or the step of the given checkpoint."""
    epoch: int = 0
    """Finished epochs of this run."""
    batch: int = 0
    """Finished batches of the current epoch."""
    best: float | None = None
    """Lowest validation loss so far."""
    waited: int = 0
    """Epochs since then."""
    stopped_early: bool = False
    seconds: float = 0.0
    """Training time of all attempts."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One entry per epoch: epoch, step, and the metrics by name."""

    @property
    def done(self) -> int:
        """Steps of this run."""
        return self.step - self.start

    def advance(self) -> None:
        """One more step."""
        self.step += 1
        self.batch += 1

    def close_epoch(self, metrics: dict[str, float]) -> None:
        """The epoch's last batch and its validation are done."""
        self.epoch += 1
        self.batch = 0
        self.history.append({"epoch": self.epoch, "step": self.step, **metrics})

    def watch(self, value: float, *, min_delta: float, patience: int) -> None:
        """Early stopping: give up when `value` has not fallen by more than `min_delta` for `patience` epochs."""
        if self.best is None or value < self.best - min_delta:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        self.stopped_early = self.waited >= patience

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; floats keep every bit."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Read; raises TypeError for unknown fields."""
        return cls(**json.loads(json.dumps(document)))
