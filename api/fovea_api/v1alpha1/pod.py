"""What a user may set on the pods that Fovea makes, beyond what runs in them."""

from typing import Annotated

from pydantic import ConfigDict, Field

from .affinity import Affinity
from .common import LabelKey, LabelValue, Model, ObjectName, own_keys, rule, rules

SYSTEM_CLASSES = "system-"
"""How the names of Kubernetes' own PriorityClasses begin."""
DEFAULT_ACCOUNT = "default"
"""The ServiceAccount that every namespace has."""

Labels = Annotated[dict[LabelKey, LabelValue] | None, Field(max_length=32)]
Annotations = Annotated[dict[LabelKey, Annotated[str, Field(max_length=8192)]] | None, Field(max_length=32)]


class PodOptions(Model):
    """Labels, annotations, account and placement of the pods. Values that Fovea or the MachineType sets win over these."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            own_keys("labels"),
            own_keys("annotations"),
            rule(
                "!has(self.automountServiceAccountToken) || has(self.serviceAccountName)",
                "automountServiceAccountToken goes with serviceAccountName: name the account, or remove it (without an "
                "account there is no token)",
                field=".automountServiceAccountToken",
            ),
            rule(
                f"!has(self.priorityClassName) || !self.priorityClassName.startsWith('{SYSTEM_CLASSES}')",
                f"priority classes of the system ({SYSTEM_CLASSES}*) are not for jobs and models: name another one, or remove it",
                field=".priorityClassName",
            ),
        )
    )

    labels: Labels = None
    """Further labels."""
    annotations: Annotations = None
    """Further annotations."""
    service_account_name: ObjectName | None = None
    """ServiceAccount of the pods, for a cloud's workload identity or a program that calls the API server. The platform team must
    allow it (chart value podOptions.serviceAccounts). Absent: default, without a token."""
    automount_service_account_token: bool | None = None
    """Whether the program gets the token of serviceAccountName. Absent: yes. Fovea's own containers never get it."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the pods. The platform team must allow it (chart value podOptions.priorityClasses). Absent: the cluster's default."""
    affinity: Affinity | None = None
    """Placement of the pods. The affinity of the MachineType applies as well."""
