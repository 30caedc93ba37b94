"""Failures in a row at the same step: the next attempt will hardly get further, and the job says so.

The memory is the status (`failingStep`): numbers only, so nothing depends on what messages say or on which operator wrote them.
"""

import math

from fovea_api.v1alpha1.conditions import JobReason
from fovea_api.v1alpha1.training_job_status import FailingStepStatus

from fovea_operator.reconcile.shared.counts import counted
from fovea_operator.reconcile.training.outcome import Failure
from fovea_operator.reconcile.training.view import View

LATE = 5.0
"""Seconds by which a last report may be late: two ends at the same step look that many seconds of steps apart."""
HOPELESS = 3
"""So many failures in a row at a step are no chance."""
_OF_PROGRAMS = (JobReason.PROGRAM_FAILED, JobReason.OUT_OF_MEMORY)


def after(view: View, failure: Failure) -> FailingStepStatus | None:
    """What the status says of it after a failure. One that says nothing about the program, such as a disruption, changes nothing."""
    before = view.status.failing_step
    if failure.disruption or failure.reason not in _OF_PROGRAMS:
        return before
    step, saved = _reached(view), _saved(view)
    again = before is not None and before.checkpoint_step == saved and _same(view, before.step, step)
    return FailingStepStatus(step=step, checkpoint_step=saved, failures=before.failures + 1 if again and before else 1)


def sentence(view: View, failure: Failure) -> str:
    """A sentence, with a space before it, from the second failure in a row at a step on; empty before and for other failures."""
    found = after(view, failure)
    if found is None or found is view.status.failing_step or found.failures < 2:
        return ""
    where = "before the first step" if found.step is None else f"at step {found.step}"
    saved = "no checkpoint" if found.checkpoint_step is None else f"newest checkpoint: step {found.checkpoint_step}"
    said = f" The job failed {where} for the {ordinal(found.failures)} time in a row ({saved})."
    if found.failures < HOPELESS:
        return said
    return f"{said} Another attempt will hardly get further: look at what the program does there, for example with one broken or very large example."


def ordinal(number: int) -> str:
    """second, third, 4th, …, 21st."""
    words = {1: "first", 2: "second", 3: "third"}
    ends = {1: "st", 2: "nd", 3: "rd"}
    ending = "th" if 10 <= number % 100 <= 20 else ends.get(number % 10, "th")
    return words.get(number, f"{number}{ending}")


def _reached(view: View) -> int | None:
    """The last step that the chief reported in this attempt; where its report was lost, the last one in the status."""
    report = view.last_report
    if report is not None:
        return counted(report.step)
    return view.status.progress.step if view.status.progress is not None else None


def _saved(view: View) -> int | None:
    report = view.last_report
    step = counted(report.checkpoint_step) if report is not None else None
    if step is not None:
        return step
    return view.status.checkpoint.step if view.status.checkpoint is not None else None


def _same(view: View, before: int | None, step: int | None) -> bool:
    if before is None or step is None:
        return before is step
    progress = view.status.progress
    pace = (progress.steps_per_second if progress is not None else None) or 0.0
    return abs(step - before) <= math.ceil(pace * LATE)
