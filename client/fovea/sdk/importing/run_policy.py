"""The run policy of a TFJob, from spec.runPolicy or, as in jobs before Kubeflow's training operator, from spec itself."""

from collections.abc import Callable, Mapping

from .draft import RUN_POLICY, Draft
from .scheduling import QUEUE, take_policy
from .source import Field

SCHEDULING_POLICY = "schedulingPolicy"
_LONGEST = 31_536_000
_TTL = 315_360_000
_RETRIES = 1000


def take(spec: Field, draft: Draft, pods: int) -> None:
    """All of it, for a job of that number of pods. Where a field is in both places, the one of runPolicy counts, as with Kubeflow's operator."""
    policy = spec.get("runPolicy")
    inner = dict(policy.items()) if policy else {}
    outer = {key: field for key, field in spec.items() if key in TAKEN or key == SCHEDULING_POLICY}
    for key, field in outer.items():
        if key in inner:
            draft.drop(field, f"spec.runPolicy.{key} counts.")
    given = outer | inner
    for key, field in given.items():
        if key in TAKEN:
            TAKEN[key](field, draft)
    if policy_of_gang := given.get(
        SCHEDULING_POLICY
    ):  # last: until then, a queue in the draft is that of a label of Kueue
        take_policy(policy_of_gang, draft, pods)


def _clean(field: Field, draft: Draft) -> None:
    text = field.text()
    if text not in ("None", "Running", "All"):
        raise field.error(f"is {text!r}, one of None, Running, All is expected: correct the value")
    why = (
        "Pods that still run at the end of the job are stopped nevertheless; ended ones stay." if text == "None" else ""
    )
    draft.take(field, *RUN_POLICY, "cleanPodPolicy", why=why)


def _ttl(field: Field, draft: Draft) -> None:
    draft.take(field, *RUN_POLICY, "ttlSecondsAfterFinished", value=min(field.whole(), _TTL))


def _deadline(field: Field, draft: Draft) -> None:
    draft.take(
        field,
        *RUN_POLICY,
        "maxRunningSeconds",
        value=max(1, min(field.whole(), _LONGEST)),
        why="It counts while the program runs, in all attempts together, and not while the job waits for nodes.",
    )


def _retries(field: Field, draft: Draft) -> None:
    draft.take(
        field,
        *RUN_POLICY,
        "backoffLimit",
        value=min(field.whole(), _RETRIES),
        why="It counts new attempts after a failure, not restarts of containers; a drain or a lost node does not count.",
    )


def _suspend(field: Field, draft: Draft) -> None:
    if field.true() and QUEUE in draft.values:
        draft.keep(field, "Kueue suspends a TFJob while it waits in its queue. A TrainingJob waits there by itself.")
    elif field.true():
        draft.take(field, "spec", "suspend", next="Resume the job after it is submitted: `fovea jobs resume NAME`.")
    else:
        draft.keep(field, "A job that is not suspended starts at once.")


def _managed_by(field: Field, draft: Draft) -> None:
    other = field.text() != "kubeflow.org/training-operator"
    step = "If another controller shall run the TrainingJob, set spec.managedBy to its name." if other else ""
    draft.drop(field, "It names a controller of TFJobs. Fovea runs a TrainingJob without spec.managedBy.", step)


TAKEN: Mapping[str, Callable[[Field, Draft], None]] = {
    "cleanPodPolicy": _clean,
    "ttlSecondsAfterFinished": _ttl,
    "activeDeadlineSeconds": _deadline,
    "backoffLimit": _retries,
    "suspend": _suspend,
    "managedBy": _managed_by,
}
"""Fields of a run policy beside its schedulingPolicy."""
