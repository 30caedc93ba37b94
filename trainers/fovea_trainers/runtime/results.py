"""What a run leaves in `$FOVEA_OUTPUT_DIR`; the marker `_SUCCESS` comes last and says that all of it is there."""

import json
from collections.abc import Mapping
from typing import Any

from fovea_api.contract import environment
from fovea_trainers.data.sets import Sets
from fovea_trainers.runtime import curves
from fovea_trainers.runtime.metrics import Evaluation
from fovea_trainers.runtime.position import Position
from fovea_trainers.runtime.workspace import Workspace


def prefixed(evaluations: Mapping[str, Evaluation]) -> dict[str, float]:
    """Metrics of each set by name: val_loss, …, test_accuracy."""
    metrics: dict[str, float] = {}
    for name, evaluation in evaluations.items():
        metrics |= evaluation.metrics(f"{name}_")
    return metrics


def headline(evaluations: Mapping[str, Evaluation], trained: Mapping[str, float]) -> dict[str, float]:
    """What a ModelVersion records: metrics of each set, and as `loss` and `accuracy` those of the last set there is.

    That is the test set, else the validation set, else what training last saw (`trained`).
    """
    last = next((evaluation.metrics() for evaluation in reversed(list(evaluations.values()))), dict(trained))
    return prefixed(evaluations) | last


def write_classifier(
    workspace: Workspace,
    *,
    recipe: str,
    sets: Sets,
    evaluations: Mapping[str, Evaluation],
    trained: Mapping[str, float],
    position: Position,
    stopped_early: bool,
    flags: Mapping[str, Any],
) -> None:
    """Write evaluation.json, whose `metrics` a ModelVersion records, and the learning curves.

    `exportedEpoch` is the epoch whose weights the model has (null: those of the last step, within an epoch), and
    `exportedStep` the number of updates they have seen in this run. `bestEpoch` has the lowest validation loss; it is
    another one only where the best weights were not kept (ADR 40).
    """
    classes = list(sets.images.classes)
    last = position.epoch if position.batch == 0 else None
    exported = last if position.kept is None else position.kept
    exported_step = position.step if position.kept is None else int(position.history[position.kept - 1]["step"])
    document = {
        "recipe": recipe,
        "metrics": headline(evaluations, trained),
        "classes": classes,
        "images": {
            "train": sets.readable(sets.train),
            "val": sets.readable(sets.validation),
            "test": sets.readable(sets.test),
        },
        "unreadable": len(sets.images.unreadable),
        "epochs": position.epoch,
        "steps": position.done,
        "seconds": round(position.seconds, 3),
        "stoppedEarly": stopped_early,
        "bestEpoch": position.best_epoch,
        "exportedEpoch": exported,
        "exportedStep": exported_step - position.start,
        "sets": {name: evaluation.to_json(classes) for name, evaluation in evaluations.items()},
        "history": position.history,
        "flags": dict(flags),
    }
    text = json.dumps(document, indent=2) + "\n"
    (workspace.output / environment.EVALUATION_FILE).write_text(text, encoding="utf-8")
    for metric in ("loss", "accuracy"):
        curves.draw(position.history, metric, workspace.output / f"{metric}.png")


def mark_success(workspace: Workspace) -> None:
    """The run is finished: the last thing it does."""
    (workspace.output / environment.SUCCESS_MARKER).touch()
