"""What a run leaves in `$FOVEA_OUTPUT_DIR`; the marker `_SUCCESS` comes last and says that all of it is there."""

import json
from collections.abc import Mapping
from typing import Any

from fovea_api.contract import environment, metrics

from fovea_trainers import flags
from fovea_trainers.common_flags import TrainingFlags
from fovea_trainers.runtime import curves
from fovea_trainers.runtime.session import Session
from fovea_trainers.runtime.training import VALIDATION, Trained


def publish(
    session: Session,
    config: TrainingFlags,
    trained: Trained,
    *,
    main: str = "",
    about: Mapping[str, Any] | None = None,
    sets: Mapping[str, Mapping[str, Any]] | None = None,
    pictures: Mapping[str, bytes | None] | None = None,
) -> None:
    """Write evaluation.json, the learning curves and pictures, then say that the run is finished: the last thing it does.

    `main` is the metric that stands for the model, by its name without a set's prefix; by default accuracy, else loss.
    `about` is what a recipe adds about its data (JSON), `sets` what it reports of each evaluated set, instead of the set's
    size and metrics. `pictures` are PNGs: "x" becomes x.png, None removes one of an earlier run.
    """
    document = _document(session, config, trained, main, about or {}, sets or _sets(trained))
    output = session.workspace.output
    (output / environment.EVALUATION_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    measured = trained.position.last_metrics() | dict(trained.metrics)
    names = dict.fromkeys(name.removeprefix(f"{VALIDATION}_") for name in measured)
    drawn = {name: curves.draw(trained.position.history, name) for name in names} | dict(pictures or {})
    for name, png in drawn.items():
        path = output / f"{name}.png"
        path.unlink(missing_ok=True)  # of an earlier run in the same directory
        if png is not None:
            path.write_bytes(png)
    session.reporter.end(trained.position, dict(trained.metrics) | trained.evaluated())
    (output / environment.SUCCESS_MARKER).touch()


def _sets(trained: Trained) -> dict[str, dict[str, Any]]:
    return {name: {"examples": e.examples, **e.metrics} for name, e in trained.evaluations.items()}


def _document(
    session: Session,
    config: TrainingFlags,
    trained: Trained,
    main_metric: str,
    about: Mapping[str, Any],
    sets: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """evaluation.json, whose `metrics` a ModelVersion records.

    `exportedEpoch` is the epoch whose weights the model has (null: those of the last step, within an epoch), and
    `exportedStep` the number of updates they have seen in this run. `bestEpoch` has the lowest validation loss; it is
    another one only where the best weights were not kept (ADR 40). `gpus` are those of the chief, by their products.
    """
    position, headline = trained.position, trained.headline()
    return {
        "recipe": session.recipe,
        "metrics": headline,
        "mainMetric": metrics.main(headline, main_metric),
        **about,
        "epochs": position.epoch,
        "steps": position.done,
        "seconds": round(position.seconds, 3),
        "stoppedEarly": trained.stopped_early,
        "bestEpoch": position.best_epoch,
        "exportedEpoch": trained.exported_epoch,
        "exportedStep": trained.exported_step,
        "gpus": [gpu.name for gpu in session.gpus],
        "sets": dict(sets),
        "history": position.history,
        "flags": flags.values(config),
    }
