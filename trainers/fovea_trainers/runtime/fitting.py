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
from fovea_trainers.runtime.progress import Reporter
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
        return _evaluate(learner, sets, "val", batch_size).metrics("val_")

    return loop.train(
        loop.Training(batches=batches, step=learner.train_step(), running=learner.running, validate=validate),
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
    flags: Mapping[str, Any],
    workspace: Workspace,
    report: Reporter,
) -> None:
    """Evaluate, export, and say that it is done; raises NonFiniteLoss instead of publishing a diverged model."""
    evaluations = {name: _evaluate(learner, sets, name, batch_size) for name in sets.evaluated()}
    for name, evaluation in evaluations.items():
        if not math.isfinite(evaluation.loss):
            raise NonFiniteLoss(f"the {name} loss", position.step)
    trained = learner.running.read() if position.batch else position.last_metrics()
    export.export_classifier(learner.model, learner.classes, sets.images.size, workspace.model)
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


def _evaluate(learner: Learner, sets: Sets, name: str, batch_size: int) -> Evaluation:
    return learner.evaluate(sets.images.batches(sets.evaluated()[name], batch_size))
