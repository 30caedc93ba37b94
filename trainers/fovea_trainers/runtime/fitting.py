"""How any classifier of pictures is trained, evaluated and published; a recipe says which network, data and schedule."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fovea_trainers.data.sets import Sets
from fovea_trainers.errors import NonFiniteLoss
from fovea_trainers.runtime import export, loop, results
from fovea_trainers.runtime.checkpoints import Checkpoints, Run
from fovea_trainers.runtime.classification import Learner
from fovea_trainers.runtime.interruption import Interruption
from fovea_trainers.runtime.metrics import Evaluation
from fovea_trainers.runtime.position import Position
from fovea_trainers.runtime.progress import Reporter, say
from fovea_trainers.runtime.strategy import Strategy
from fovea_trainers.runtime.workspace import Workspace


def reporter(workspace: Workspace, schedule: loop.Schedule, batch_size: int) -> Reporter:
    """Says how far a run with this schedule is."""
    return Reporter(workspace.progress, schedule.steps, schedule.steps_per_epoch, schedule.epochs, batch_size)


def fit(
    learner: Learner,
    sets: Sets,
    schedule: loop.Schedule,
    *,
    batches: Callable[[int, int], Iterable[tuple[Any, ...]]],
    batch_size: int,
    run: Run,
    strategy: Strategy,
    workspace: Workspace,
    report: Reporter,
    interruption: Interruption,
) -> Position:
    """Train from where checkpoints.py says to the end of the schedule; `batches` as in `loop.Training`."""

    def validate() -> dict[str, float]:
        if "val" not in sets.evaluated():
            return {}
        return _evaluate(learner, sets, "val", batch_size, interruption.check).metrics("val_")

    return loop.train(
        loop.Training(
            batches=batches,
            step=learner.train_step(strategy),
            running=learner.running,
            validate=validate,
            keep_best=learner.best.keep if learner.best else None,
            unreadable=sets.images.unreadable,
        ),
        schedule,
        strategy=strategy,
        checkpoints=Checkpoints(
            workspace.checkpoints, run=run, keep=workspace.checkpoint_keep, variables=learner.variables()
        ),
        reporter=report,
        logs=workspace.logs,
        interruption=interruption,
    )


def publish(
    learner: Learner,
    sets: Sets,
    schedule: loop.Schedule,
    position: Position,
    *,
    batch_size: int,
    recipe: str,
    exif_orientation: bool,
    flags: Mapping[str, Any],
    workspace: Workspace,
    report: Reporter,
    interruption: Interruption,
) -> None:
    """Evaluate, export, and say that it is done; raises NonFiniteLoss instead of publishing a diverged model.

    While early stopping is on, the weights of the best epoch are what is evaluated and exported.
    """
    if learner.best is not None and position.kept is not None:
        learner.best.restore()
        if position.history[position.kept - 1]["step"] != position.step:
            say(f"the weights of epoch {position.kept}, which has the lowest validation loss, are exported")
    check = interruption.check
    evaluations = {name: _evaluate(learner, sets, name, batch_size, check) for name in sets.evaluated()}
    for name, evaluation in evaluations.items():
        if not math.isfinite(evaluation.loss):
            raise NonFiniteLoss(f"the {name} loss", position.step)
    trained = learner.running.read() if position.batch else position.last_metrics()
    export.export_classifier(
        learner.model, learner.classes, sets.images.size, workspace.model, exif_orientation=exif_orientation
    )
    results.write_classifier(
        workspace,
        recipe=recipe,
        sets=sets,
        evaluations=evaluations,
        trained=trained,
        position=position,
        stopped_early=position.gives_up(schedule.patience),
        flags=flags,
    )
    report.end(position, trained | results.prefixed(evaluations))
    results.mark_success(workspace)


def _evaluate(learner: Learner, sets: Sets, name: str, batch_size: int, check: Callable[[], None]) -> Evaluation:
    return learner.evaluate(sets.images.batches(sets.evaluated()[name], batch_size), check)
