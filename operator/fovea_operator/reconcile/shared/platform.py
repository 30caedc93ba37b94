"""What the platform team grants to pods, and the messages where it is missing: machine types, accounts, priorities, quotas."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from fovea_api.v1alpha1 import MachineType
from fovea_api.v1alpha1.pod import DEFAULT_ACCOUNT, SYSTEM_CLASSES, PodOptions

from fovea_operator.settings import Settings

_NOT_THERE = {
    "ServiceAccount": re.compile(r'serviceaccounts? "(?P<name>[^"]*)" not found'),
    "PriorityClass": re.compile(r"no PriorityClass with name (?P<name>\S+) was found"),
    "RuntimeClass": re.compile(r'RuntimeClass "(?P<name>[^"]*)" not found'),
}
_UNSPECIFIED = re.compile(r"failed quota: (?P<quota>[^:\s]+): must specify (?P<wanted>.*)")
_RESOURCE = re.compile(r"\b(?:limits|requests)\.[a-z.-]+|\b(?:cpu|memory|ephemeral-storage)(?= for:)")
_EXCEEDED = re.compile(r"exceeded quota: (?P<quota>[^,:\s]+)")
_COUNTS_ENDED = re.compile(r"requested: [^:]*\bcount/pods=")
_TERMINATING = "because it is being terminated"
_WEBHOOK = re.compile(r'failed calling webhook "(?P<name>[^"]*)"')
_LIMIT_RANGE = re.compile(r"(usage|limit to request ratio) per (Container|Pod)", re.IGNORECASE)
_ABOVE_LIMIT = re.compile(r"must be less than or equal to [a-z-]+ limit", re.IGNORECASE)
"""Fovea never makes such a pod: the limit was added by the defaults of a LimitRange."""


def machine_type(name: str | None, machine_types: Mapping[str, MachineType]) -> MachineType | None:
    """The machine type of a name, or the default one; of several defaults the first by name."""
    if name is not None:
        return machine_types.get(name)
    defaults = sorted(n for n, machine in machine_types.items() if machine.spec.default)
    return machine_types[defaults[0]] if defaults else None


def machine_type_missing(
    name: str | None, machine_types: Mapping[str, MachineType], unreadable: Mapping[str, str]
) -> str:
    """The sentence for a machine type that does not exist, or cannot be read: why not, by name."""
    if name is not None and name in unreadable:
        return f"MachineType {name!r} exists and cannot be read; this is for the platform team: {unreadable[name]}."
    there = ", ".join(sorted(machine_types)) or "none"
    if name is None:
        return f"There is no default MachineType: ask the platform team to set spec.default on one (there is: {there})."
    meant = _meant(name, machine_types)
    ask = f"; did you mean {meant}? Ask" if meant else ": ask"
    return f"There is no MachineType {name!r}{ask} the platform team for it, or submit with one that exists ({there})."


def _meant(name: str, there: Iterable[str]) -> str | None:
    """The name that this one is a misspelling of."""
    # A user who writes standard-gpu did not mean standard: that is another machine, not another spelling.
    others = [other for other in sorted(there) if not name.startswith(f"{other}-")]
    near = difflib.get_close_matches(name, others, n=1, cutoff=0.7)
    return near[0] if near else None


def not_allowed(options: PodOptions | None, settings: Settings) -> str:
    """Why no pod is made with these options, in sentences; empty: they are allowed."""
    if options is None:
        return ""
    account, priority = options.service_account_name, options.priority_class_name
    found = []
    if account is not None and not _matches(account, (DEFAULT_ACCOUNT, *settings.service_accounts)):
        there = ", ".join((DEFAULT_ACCOUNT, *settings.service_accounts))
        found.append(_not_allowed("serviceAccountName", account, there, "podOptions.serviceAccounts"))
    if priority is not None and priority.startswith(SYSTEM_CLASSES):
        found.append(
            f"spec.pod.priorityClassName {priority!r} is never allowed: classes of the system ({SYSTEM_CLASSES}*) are not for "
            "jobs and models."
        )
    elif priority is not None and not _matches(priority, settings.priority_classes):
        there = ", ".join(settings.priority_classes) or "none"
        found.append(_not_allowed("priorityClassName", priority, there, "podOptions.priorityClasses"))
    return " ".join(found)


def _not_allowed(field: str, value: str, allowed: str, key: str) -> str:
    return (
        f"spec.pod.{field} {value!r} is not allowed here (allowed: {allowed}): name one of these, remove it, or ask the "
        f"platform team to add it to {key} in the chart's values."
    )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def is_out_of_quota(said: str) -> bool:
    """Whether the API server refuses since a quota is used up, so that there may be room once another pod has ended."""
    return _EXCEEDED.search(said) is not None


def cause_of_refusal(said: str, machine_type: str) -> str:
    """What is missing, or which limit of the namespace the words are about, and what to change; empty: neither."""
    ask = "Ask the platform team to change it"
    for kind, pattern in _NOT_THERE.items():
        if found := pattern.search(said):
            return _missing(kind, found["name"], machine_type)
    if found := _UNSPECIFIED.search(said):
        missing = ", ".join(dict.fromkeys(_RESOURCE.findall(found["wanted"])))
        return (
            f"ResourceQuota {found['quota']} of the namespace wants {missing} of every container. Ask the platform team to "
            f"set it: for the program in MachineType {machine_type} (spec.cpuLimit for limits.cpu), for Fovea's agents with "
            "the chart's values agent.* (agent.cpuLimit), or spec.agent of the MachineType."
        )
    if _TERMINATING in said:
        return "The namespace is being deleted: nothing new can be made in it."
    if found := _WEBHOOK.search(said):
        return f"Webhook {found['name']} of the cluster does not answer: ask the platform team to look after it."
    if (found := _EXCEEDED.search(said)) and _COUNTS_ENDED.search(said):
        return (
            f"ResourceQuota {found['quota']} of the namespace counts pods that have ended as well, and is used up: delete jobs that "
            "have ended, let their pods go with runPolicy.cleanPodPolicy: All, or ask the platform team for more."
        )
    if found := _EXCEEDED.search(said):
        return (
            f"ResourceQuota {found['quota']} of the namespace is used up: wait until other pods have ended, ask the platform "
            f"team for more, submit with a smaller machine type than {machine_type}, or cancel the job."
        )
    if _LIMIT_RANGE.search(said):
        return (
            "A LimitRange of the namespace is the cause (see: kubectl describe limitrange): it bounds what every container "
            f"or pod may request. {ask}, or the resources of MachineType {machine_type}, or, where Fovea's agents are "
            "outside its bounds, the chart's values agent.* (agent.cpuLimit), or spec.agent of the MachineType."
        )
    if _ABOVE_LIMIT.search(said):
        return (
            "A LimitRange of the namespace is the cause (see: kubectl describe limitrange): its default limit is less than "
            f"what is requested. {ask}, or to set the limit (spec.cpuLimit) in MachineType {machine_type}, or, for Fovea's "
            "agents, the chart's values agent.* (agent.cpuLimit), or spec.agent of the MachineType."
        )
    return ""


def _missing(kind: str, name: str, machine_type: str) -> str:
    make = f"There is no {kind} {name}"
    if kind == "ServiceAccount":
        return (
            f"{make} in the namespace: create it (kubectl create serviceaccount {name}), or name another in spec.pod (of a "
            "job: cancel it and submit a new one)."
        )
    if kind == "PriorityClass":
        return f"{make}: it comes from MachineType {machine_type} (platform team) or from spec.pod. Create it, or correct the name."
    return f"{make}: ask the platform team to correct spec.runtimeClassName of MachineType {machine_type}, or to create it."
