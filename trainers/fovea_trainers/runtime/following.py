"""The evaluator: measures the checkpoints of the others as they come, the newest first, and says which one is the best.

It trains nothing and waits for nobody, and nobody waits for it. What it finds out of each checkpoint is a folder of
`$FOVEA_OUTPUT_DIR` (`fovea_api.contract.evaluation`). It goes on until it is asked to stop: only the chief knows the end.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from fovea_api.contract import environment
from fovea_api.contract.evaluation import BEST, Best
from fovea_api.contract.metrics import main

from fovea_trainers.errors import CheckpointDamaged, CheckpointError, Interrupted, TrainerError
from fovea_trainers.runtime import curves
from fovea_trainers.runtime.checkpoints import Run
from fovea_trainers.runtime.evaluation import Evaluation
from fovea_trainers.runtime.position import Position
from fovea_trainers.runtime.session import Session
from fovea_trainers.runtime.summaries import VALIDATION_PREFIX, Summaries
from fovea_trainers.runtime.training import VALIDATION, Training

KEPT = 10
"""Folders of evaluations that stay: the newest one has the numbers of all."""
LOOK_SECONDS = 0.5
_LOWER_IS_BETTER = ("loss", "mae")
_STAGING = ".evaluation-"
Entry = Mapping[str, float]


@dataclass(frozen=True)
class Following:
    """One run of the evaluator; `evaluate` measures the weights as they are, None without a validation set."""

    session: Session
    run: Run
    training: Training
    evaluate: Callable[[], Evaluation] | None

    def follow(self) -> NoReturn:
        """Until a stop is requested: raises Interrupted. Raises TrainerError without a validation set."""
        if self.evaluate is None:
            raise TrainerError(
                f"the evaluator has nothing to measure checkpoints on: {self.training.unvalidated}; give the job validation data, "
                "or remove roles.evaluator"
            )
        self.session.interruption.saves = True  # between two evaluations it ends at once by itself
        history, best = _found(self.session.workspace.output)
        passed_over: set[int] = set()
        with Summaries(self.session.workspace.logs, history) as summaries:
            while True:
                step = self._next(history, passed_over)
                position = self._read(step)
                if position is None:
                    passed_over.add(step)
                    continue
                started = time.monotonic()
                evaluation = self.evaluate()
                metrics = {name: value for name, value in evaluation.metrics.items() if math.isfinite(value)}
                prefixed = {f"{VALIDATION_PREFIX}{name}": value for name, value in metrics.items()}
                history.append({"epoch": position.epoch, "step": step, **prefixed})
                best = better(best, step, metrics, self.training.main)
                self._leave(history, evaluation, metrics, best, time.monotonic() - started)
                summaries.write(history[-1])
                self.session.reporter.measured(step, prefixed)

    def _next(self, history: list[dict[str, float]], passed_over: set[int]) -> int:
        """The newest checkpoint that is newer than all that were measured; waits for it."""
        newest = int(history[-1]["step"]) if history else -1
        while True:
            found = [step for step in self.session.checkpoints.steps() if step > newest and step not in passed_over]
            if found:
                return found[-1]
            if self.session.interruption.requested:
                raise Interrupted("asked to stop; all checkpoints that came are measured")
            time.sleep(LOOK_SECONDS)

    def _read(self, step: int) -> Position | None:
        """Restore a checkpoint; None for one that cannot be read, or was removed meanwhile."""
        checkpoints = self.session.checkpoints
        try:
            return checkpoints.read(step, self.run, self.training.weights)
        except CheckpointDamaged as error:
            self.session.reporter.warn(f"passed over: {error}")
            if (
                self.session.workspace.job
            ):  # the folder is this pod's own, and the next checkpoint comes once it is out of the way
                place = checkpoints.directory / str(step)
                place.rename(place.with_name(f"{environment.DAMAGED_PREFIX}{step}-{time.time_ns()}"))
        except CheckpointError:
            if step in checkpoints.steps():
                raise
        return None

    def _leave(
        self, history: list[dict[str, float]], evaluation: Evaluation, metrics: Entry, best: Best | None, seconds: float
    ) -> None:
        """The folder of the newest entry of the history."""
        output, step = self.session.workspace.output, int(history[-1]["step"])
        document = {
            "recipe": self.session.recipe,
            "step": step,
            "epoch": history[-1]["epoch"],
            "metrics": metrics,
            "mainMetric": main(metrics, self.training.main),
            BEST: best.document() if best else None,
            "seconds": round(seconds, 3),
            "sets": {VALIDATION: {"examples": evaluation.examples, **metrics}},
            "history": history,
        }
        staging = output / f"{_STAGING}{step}"
        staging.mkdir(exist_ok=True)
        (staging / environment.EVALUATION_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        for name in metrics:
            picture = curves.draw(history, name, across="step")
            if picture is not None:
                (staging / f"{name}.png").write_bytes(picture)
        staging.rename(output / str(step))
        for old in _folders(output)[:-KEPT]:
            _remove(old)


def better(best: Best | None, step: int, metrics: Entry, named: str) -> Best | None:
    """The best checkpoint once these metrics of a step are known: by the main metric, of two equal ones the earlier."""
    name = main(metrics, named)
    if not name:
        return best
    found = Best(step, name, metrics[name])
    if best is None or best.metric != name:
        return found
    lower = name in _LOWER_IS_BETTER
    return found if (found.value < best.value if lower else found.value > best.value) else best


def _found(output: Path) -> tuple[list[dict[str, float]], Best | None]:
    """History and best of an attempt before this one, as the newest folder has them."""
    for folder in reversed(_folders(output)):
        try:
            text = (folder / environment.EVALUATION_FILE).read_text(encoding="utf-8")
            return list(json.loads(text)["history"]), Best.from_json(text)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return [], None


def _folders(output: Path) -> list[Path]:
    return sorted((path for path in output.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink(missing_ok=True)
    folder.rmdir()
