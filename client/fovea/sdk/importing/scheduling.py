"""Queue and gang of a TFJob: labels of Kueue, and the schedulingPolicy of its run policy."""

from dataclasses import replace

from fovea_api.v1alpha1.pod import SYSTEM_CLASSES

from .draft import POD, Draft, Key, Line
from .result import Translation
from .source import Field

SCHEDULING: Key = ("spec", "scheduling")
QUEUE, PRIORITY = (*SCHEDULING, "queue"), (*SCHEDULING, "priority")
KUEUE = "kueue.x-k8s.io/"
_LABELS = {f"{KUEUE}queue-name": QUEUE, f"{KUEUE}priority-class": PRIORITY}
_SHORTEST, _LONGEST = 10, 604_800


def take_label(name: str, label: Field, draft: Draft, *, of_job: bool) -> None:
    """A label or an annotation of Kueue, of the job itself or of a pod's template."""
    if of_job and name in _LABELS:
        draft.take(label, *_LABELS[name], value=label.text())
    elif of_job:
        draft.drop(label, "Fovea takes from Kueue's labels the queue and the priority in it.")
    else:
        draft.drop(label, "Kueue admits a TrainingJob as a whole, by the queue of the job.")


def take_policy(policy: Field, draft: Draft, pods: int) -> None:
    """All of schedulingPolicy, for a job of that number of pods. The labels of the job were taken before."""
    for key, one in policy.items():
        if key == "queue":
            _queue(one, draft)
        elif key == "minAvailable":
            _gang(one, draft, pods)
        elif key == "scheduleTimeoutSeconds":
            draft.take(
                one,
                *SCHEDULING,
                "gangTimeoutSeconds",
                value=max(_SHORTEST, min(one.whole(), _LONGEST)),
                why="A job that is only partly placed for this time gives its nodes back, and tries again after a pause.",
            )
        elif key == "priorityClass":
            _priority_class(one, draft)
        elif key == "minResources":
            draft.drop(one, "A gang is all pods of the job, with what their machine types ask for.")


def _queue(field: Field, draft: Draft) -> None:
    if QUEUE in draft.values:
        draft.drop(field, f"The label {KUEUE}queue-name counts.")
        return
    draft.take(
        field,
        *QUEUE,
        value=field.text(),
        why="A queue of a TrainingJob is a LocalQueue of Kueue.",
        next="See to it that the namespace has a LocalQueue of this name, or name another one, or remove spec.scheduling.queue.",
    )


def _gang(field: Field, draft: Draft, pods: int) -> None:
    least = field.whole()
    if pods == 1:
        draft.keep(field, "A job of one pod needs no gang.")
    elif least <= 1:
        draft.take(field, *SCHEDULING, "gang", value="Never", why="Each pod starts when it gets a node.")
    else:
        part = f"A gang of a TrainingJob is all of its {pods} pods, not {least} of them. " if least < pods else ""
        why = "The pods get their nodes together, if the cluster's scheduler knows gangs; elsewhere gangTimeoutSeconds limits a partial start."
        draft.take(field, *SCHEDULING, "gang", value="Auto", why=f"{part}{why}")


def _priority_class(field: Field, draft: Draft) -> None:
    if (*POD, "priorityClassName") in draft.values:
        draft.drop(field, "The pods have a priorityClassName of their own, which counts.")
    else:
        priority_class(field, draft)


def priority_class(field: Field, draft: Draft) -> None:
    """A PriorityClass; those of the system are not for jobs."""
    if field.text().startswith(SYSTEM_CLASSES):
        draft.drop(field, "Priority classes of the system are not for jobs.", "Name another class, or none.")
    else:
        draft.take(field, *POD, "priorityClassName")


def settle(made: Translation) -> None:
    """A priority in a queue without a queue is dropped."""
    if PRIORITY in made.values and QUEUE not in made.values:
        del made.values[PRIORITY]
        made.lines = [_without_queue(line) if line.key == PRIORITY else line for line in made.lines]


def _without_queue(line: Line) -> Line:
    why = "It is a priority in a queue, and the job names no queue."
    return replace(line, action="dropped", key=(), became=None, why=why)
