"""How far a run has come: everything outside TensorFlow's variables that an exact resume needs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


def metrics_of(entry: Mapping[str, float]) -> dict[str, float]:
    """The metrics of an entry of the history."""
    return {name: value for name, value in entry.items() if name not in ("epoch", "step")}


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
    kept: int | None = None
    """Epoch whose weights the checkpoint holds as the best ones; None: it holds none."""
    unreadable: list[int] = field(default_factory=list)
    """Examples that were found to be unreadable, by number."""
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

    def watch(self, value: float, *, min_delta: float) -> None:
        """Count the epochs in which `value` has not fallen by more than `min_delta`."""
        if self.best is None or value < self.best - min_delta:
            self.best, self.waited = value, 0
        else:
            self.waited += 1

    def gives_up(self, patience: int | None) -> bool:
        """Early stopping; None: never. Not part of the state: another patience may be given when training goes on."""
        return patience is not None and self.waited >= patience

    def last_metrics(self) -> dict[str, float]:
        """Those of the last finished epoch; empty before."""
        return metrics_of(self.history[-1]) if self.history else {}

    def is_lowest(self) -> bool:
        """Whether the last epoch's validation loss is lower than that of the weights that are kept."""
        last = self.history[-1].get("val_loss")
        return last is not None and (self.kept is None or last < self.history[self.kept - 1]["val_loss"])

    @property
    def best_epoch(self) -> int | None:
        """The first epoch with the lowest validation loss, whether or not early stopping looks at it."""
        validated = [entry for entry in self.history if "val_loss" in entry]
        return int(min(validated, key=lambda entry: entry["val_loss"])["epoch"]) if validated else None

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; floats keep every bit."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Read; raises TypeError for unknown fields."""
        return cls(**json.loads(json.dumps(document)))
