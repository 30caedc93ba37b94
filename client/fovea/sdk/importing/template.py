"""A pod template of a TFJob's role: its program, its volumes, its place in the cluster."""

import re
from collections.abc import Callable, Mapping

from fovea_api.contract import labels
from fovea_api.v1alpha1.affinity import Affinity
from fovea_api.v1alpha1.common import Toleration
from fovea_api.v1alpha1.container import LocalReference
from fovea_api.v1alpha1.pod import DEFAULT_ACCOUNT

from . import program, scheduling
from .draft import CONTAINER, MACHINE, POD, RUN_POLICY, Draft
from .fitting import fitted
from .source import Field

_OWN_KEYS = (labels.MANAGED_BY, labels.COMPONENT)
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
GRACE_SECONDS = 600
"""The chart's default of training.graceSeconds."""

_HOST = "A pod of Fovea does not share the node's namespaces."
_NETWORK = "Fovea sets host names and DNS of the pods, so that the pods of a job find each other."
_NODE = "Which nodes a pod may run on is a matter of its MachineType."
DROPPED: Mapping[str, tuple[str, str]] = {
    "initContainers": (
        "A pod of Fovea has one program and no init containers of the user.",
        "Name the data in spec.inputs: Fovea fetches it before the program starts. What else they prepare belongs into the image.",
    ),
    "ephemeralContainers": ("They are added to running pods only.", ""),
    "restartPolicy": ("A TFJob overwrites it by the role's own restartPolicy.", ""),
    "activeDeadlineSeconds": (
        "The deadline of a TrainingJob is the job's, not a pod's.",
        "Set spec.runPolicy.maxRunningSeconds.",
    ),
    "hostNetwork": (_HOST, ""),
    "hostPID": (_HOST, ""),
    "hostIPC": (_HOST, "For shared memory, set spec.trainer.container.sharedMemory."),
    "hostUsers": (_HOST, ""),
    "shareProcessNamespace": ("The agent's containers and the program do not see each other's processes.", ""),
    "hostname": (_NETWORK, ""),
    "subdomain": (_NETWORK, ""),
    "setHostnameAsFQDN": (_NETWORK, ""),
    "dnsPolicy": (_NETWORK, ""),
    "dnsConfig": (_NETWORK, "Ask the platform team, if the program needs another DNS server."),
    "hostAliases": (_NETWORK, "Use names that the cluster's DNS knows."),
    "nodeName": (_NODE, "Name a MachineType whose node selector finds the node."),
    "schedulerName": (
        "Fovea uses the cluster's default scheduler. For gangs, it uses the one that the chart names (training.volcanoScheduler, "
        "training.coschedulingScheduler).",
        "",
    ),
    "schedulingGates": ("Pods of Fovea have no scheduling gates.", ""),
    "topologySpreadConstraints": (
        "A TrainingJob has no such field.",
        "Spread the pods by spec.pod.affinity.podAntiAffinity.",
    ),
    "priority": ("Kubernetes sets it from the priority class.", "Set spec.pod.priorityClassName."),
    "preemptionPolicy": ("Kubernetes sets it from the priority class.", ""),
    "overhead": ("Kubernetes sets it from the RuntimeClass.", ""),
    "readinessGates": ("Nothing waits for a training pod to be ready.", ""),
    "os": ("Pods of Fovea run on Linux.", ""),
    "resourceClaims": ("A MachineType has no resource claims.", "Ask the platform team for a MachineType with gpus."),
    "resources": ("Resources of the pod as a whole have no field.", "Ask the platform team for a MachineType of that size."),
}  # fmt: skip
"""Fields of a pod that a TrainingJob has not: why, and what to do."""


def translate(template: Field, draft: Draft) -> None:
    """All of a template, into the manifest's container and pod options and the MachineType's fields."""
    if metadata := template.get("metadata"):
        _metadata(metadata, draft)
    spec = template.get("spec")
    if spec is None:
        raise template.error("has no spec: the program's container is missing")
    container = program.of(spec)
    if volumes := spec.get("volumes"):
        program.take_volumes(volumes, program.mounted_volumes(container), draft)
    program.take(container, draft)
    program.drop_others(spec, container, draft)
    given = dict(spec.items())
    for key, take in TAKEN.items():  # in this order: a token goes with an account
        if key in given:
            take(given[key], draft)
    for key, why in DROPPED.items():
        if key in given:
            draft.drop_unless_off(given[key], *why)


def _metadata(metadata: Field, draft: Draft) -> None:
    for key, field in metadata.items():
        if key in ("labels", "annotations"):
            take_pairs(field, (*POD, key), draft)
        elif key == "name":
            draft.drop(field, "Fovea names the pods after the job.")
        elif key == "namespace":
            draft.drop(field, "The pods are in the job's namespace.")


def take_pairs(field: Field, key: tuple[str, ...], draft: Draft) -> None:
    """Labels or annotations, each by itself. Those that Fovea sets are not the user's to set."""
    for name, value in field.items():
        text = value.value if isinstance(value.value, str) else str(value.value)
        if name.startswith(f"{labels.GROUP}/") or (key[0] == "spec" and name in _OWN_KEYS):
            draft.drop(value, "Fovea sets it itself.")
        elif name == "kubectl.kubernetes.io/last-applied-configuration":
            draft.drop(value, "kubectl wrote it.")
        elif name.startswith(scheduling.KUEUE):
            scheduling.take_label(name, value, draft, of_job=key == ("metadata", "labels"))
        elif key[-1] == "labels" and not (len(text) <= 63 and _LABEL.fullmatch(text)):
            draft.drop(value, f"{text!r} is no value of a label of Kubernetes.", "Keep it in metadata.annotations.")
        else:
            draft.take(value, *key, name, value=text)


def _affinity(field: Field, draft: Draft) -> None:
    value = fitted(field, Affinity, draft)
    if value is not None:
        draft.take(field, *POD, "affinity", value=value)


def _tolerations(field: Field, draft: Draft) -> None:
    found = [one for entry in field.entries() if (one := fitted(entry, Toleration, draft)) is not None]
    if found:
        draft.take(field, MACHINE, "tolerations", value=found)


def _node_selector(field: Field, draft: Draft) -> None:
    for name, value in field.items():
        draft.take(value, MACHINE, "nodeSelector", name)


def _runtime_class(field: Field, draft: Draft) -> None:
    draft.take(field, MACHINE, "runtimeClassName", value=field.text())


def _pull_secrets(field: Field, draft: Draft) -> None:
    for entry in field.entries():
        value = fitted(entry, LocalReference, draft)
        if value is not None:
            draft.take(entry, *CONTAINER, "imagePullSecrets", value["name"], value=value)


def _account(field: Field, draft: Draft) -> None:
    name = field.text()
    if name == DEFAULT_ACCOUNT:
        draft.keep(field, "It is the account of pods that name none.")
        return
    ask = f"Ask the platform team to allow the account: podOptions.serviceAccounts: [{name}] in the chart's values."
    draft.take(field, *POD, "serviceAccountName", next=ask)


def _token(field: Field, draft: Draft) -> None:
    if (*POD, "serviceAccountName") in draft.values:
        draft.take(field, *POD, "automountServiceAccountToken", value=field.true())
    elif not field.true():
        draft.keep(field, "A program has no token of an account that the job does not name.")
    else:
        draft.drop(
            field,
            "A program gets the token of an account only if the job names the account.",
            "If the program calls the API server, set spec.pod.serviceAccountName.",
        )


def _grace(field: Field, draft: Draft) -> None:
    seconds = field.whole()
    if seconds > GRACE_SECONDS:
        draft.take(
            field,
            *RUN_POLICY,
            "publishSeconds",
            value=min(seconds, 604_800),
            why="In this time Fovea also publishes the results of a pod that ends.",
        )
    else:
        draft.drop(
            field,
            f"In this time Fovea also publishes the results of a pod that ends: the chart's training.graceSeconds "
            f"({GRACE_SECONDS} by default) applies.",
        )


def _security(field: Field, draft: Draft) -> None:
    program.take_security(field, draft)


def _service_links(field: Field, draft: Draft) -> None:
    if field.true():
        draft.drop(
            field, "Pods of Fovea get no variables of the namespace's Services.", "Use the names of the Services."
        )
    else:
        draft.keep(field, "Pods of Fovea get no variables of the namespace's Services.")


TAKEN: Mapping[str, Callable[[Field, Draft], None]] = {
    "serviceAccountName": _account,
    "serviceAccount": _account,
    "automountServiceAccountToken": _token,
    "priorityClassName": scheduling.priority_class,
    "affinity": _affinity,
    "nodeSelector": _node_selector,
    "tolerations": _tolerations,
    "runtimeClassName": _runtime_class,
    "imagePullSecrets": _pull_secrets,
    "terminationGracePeriodSeconds": _grace,
    "securityContext": _security,
    "enableServiceLinks": _service_links,
}
"""Fields of a pod that have a place, but for containers and volumes."""
