"""What changes all the time and is worth no write of its own: it rides along when a status is written anyway."""

from typing import Any

from fovea_api.v1alpha1.training_job_status import ProgressStatus, TrainingJobStatus

from fovea_operator.reconcile.shared.observed import Pace
from fovea_operator.reconcile.training import cost, members, pace
from fovea_operator.reconcile.training.view import View


def of(view: View, new: TrainingJobStatus, *, running: bool) -> dict[str, Any]:
    """Fields that ride along with the status that is about to be written; `running`: whether the program runs by it."""
    riding: dict[str, Any] = {}
    states = members.states(view, new)
    if states is not None:
        riding["members"] = {key: state.dump() for key, state in states.items()}
    found = cost.cost(view, new)
    if found is not None:
        riding["cost"] = found.dump()
    if new.progress is not None:
        riding["progress"] = _progress(view, new.progress, running=running).dump()
    return riding


def _progress(view: View, said: ProgressStatus, *, running: bool) -> ProgressStatus:
    # An operator that has just started knows no pace yet: until then the last one holds.
    before = view.status.progress.steps_per_second if view.status.progress is not None else None
    found = view.observed.pace or (Pace(before) if before is not None else None)
    paced = pace.progress_with(said, found)
    return paced if running else paced.model_copy(update={"remaining_seconds": None})
