"""Which ServiceAccounts and PriorityClasses spec.pod may name: those of the platform team's lists, never the system's."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from fovea_api.v1alpha1.pod import DEFAULT_ACCOUNT, SYSTEM_CLASSES, PodOptions

from fovea_operator.settings import Settings


def problem(options: PodOptions | None, settings: Settings) -> str:
    """Why no pod is made with these options, in sentences; empty: they are allowed."""
    if options is None:
        return ""
    account, priority = options.service_account_name, options.priority_class_name
    found = []
    if account is not None and not _matches(account, (DEFAULT_ACCOUNT, *settings.service_accounts)):
        there = ", ".join((DEFAULT_ACCOUNT, *settings.service_accounts))
        found.append(_sentence("serviceAccountName", account, there, "podOptions.serviceAccounts"))
    if priority is not None and priority.startswith(SYSTEM_CLASSES):
        found.append(
            f"spec.pod.priorityClassName {priority!r} is never allowed: classes of the system ({SYSTEM_CLASSES}*) are not for "
            "jobs and models."
        )
    elif priority is not None and not _matches(priority, settings.priority_classes):
        there = ", ".join(settings.priority_classes) or "none"
        found.append(_sentence("priorityClassName", priority, there, "podOptions.priorityClasses"))
    return " ".join(found)


def _sentence(field: str, value: str, allowed: str, key: str) -> str:
    return (
        f"spec.pod.{field} {value!r} is not allowed here (allowed: {allowed}): name one of these, remove it, or ask the "
        f"platform team to add it to {key} in the chart's values."
    )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
