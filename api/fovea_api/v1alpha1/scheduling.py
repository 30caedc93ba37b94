"""How a job's pods get their nodes: through a queue, and all together or one by one."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from .common import Model, ObjectName, rule, rules

Gang = Literal["Auto", "Always", "Never"]


class Scheduling(Model):
    """Queue, priority in it, and whether the pods start all together."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.priority) || has(self.queue)",
                "scheduling.priority is a priority in a queue: add scheduling.queue, or set spec.pod.priorityClassName for the "
                "scheduler",
                field=".priority",
            )
        )
    )

    queue: ObjectName | None = None
    """LocalQueue of Kueue in the job's namespace. The job has pods only while Kueue grants it quota. Absent: no queue."""
    priority: ObjectName | None = None
    """WorkloadPriorityClass of Kueue. Absent: priority 0."""
    gang: Gang = "Auto"
    """Whether the pods of the job get nodes all together or not at all. Auto: jobs of several pods, where the cluster has an API
    for this (PodGroup). Always: also a job of one pod; without such an API the job waits. Never: each pod for itself."""
    gang_timeout_seconds: Annotated[int, Field(ge=10, le=604_800)] = 300
    """Seconds for which some pods of the job may hold nodes while others get none. Then the job gives its nodes back, and tries again
    after a pause. This is no retry. It has no effect with gang: Never."""
