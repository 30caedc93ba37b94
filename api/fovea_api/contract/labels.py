"""Labels, annotations and the field manager that Fovea puts on what it creates."""

from collections.abc import Mapping

GROUP = "fovea.dev"
FIELD_MANAGER = "fovea-operator"

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY_VALUE = "fovea"
NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"
COMPONENT_TRAINER = "trainer"
COMPONENT_MODEL_SERVER = "model-server"
COMPONENT_COMPARATOR = "comparator"
COMPONENT_BATCH_WORKER = "batch-worker"
COMPONENT_OBJECT_STORE = "object-store"
PART_OF = "app.kubernetes.io/part-of"
PART_OF_VALUE = "fovea"

JOB = f"{GROUP}/training-job"
ROLE = f"{GROUP}/role"
INDEX = f"{GROUP}/index"
ATTEMPT = f"{GROUP}/attempt"
MODEL = f"{GROUP}/model"
VERSION = f"{GROUP}/version"
MODEL_DEPLOYMENT = f"{GROUP}/model-deployment"
BATCH_PREDICTION = f"{GROUP}/batch-prediction"
BATCH_PREDICTION_UID = f"{GROUP}/batch-prediction-uid"
"""On its Job and the pods of that: a pod whose Job is gone does not say otherwise whose it was."""
REVISION = f"{GROUP}/revision"
"""On a version's Deployment, Service and pods: the hash that is the end of the Deployment's name."""

ENDED_AS = f"{GROUP}/ended-as"
"""Of the Kubernetes Event that tells how a job ended: the state. It outlives a job that is deleted at its end."""

COMPARES = f"{GROUP}/compares"
"""On a comparator's Deployment and pods: the two versions, stable and candidate."""

PASSED_ON = f"{GROUP}/passed-on"
"""Annotation of a Service: what of it its ModelDeployment's user has said (labels, annotations, fields)."""

POD_DEADLINE = f"{GROUP}/active-deadline-seconds"
"""Annotation of a training pod: the activeDeadlineSeconds that the operator has given it for runPolicy.maxRunningSeconds. A pod
whose spec has another number got that from somebody else."""

OF_TOOLS = (
    GROUP,
    "kubernetes.io",  # with applyset., addonmanager. and app.
    "k8s.io",
    "x-k8s.io",
    "helm.sh",
    "argoproj.io",
    "fluxcd.io",
    "cattle.io",  # Rancher, Fleet
    "k14s.io",  # kapp
    "carvel.dev",
    "kpt.dev",
    "kluctl.io",
    "oam.dev",  # KubeVela
    "configsync.gke.io",
    "configmanagement.gke.io",
    "open-cluster-management.io",
    "operators.coreos.com",
    "crossplane.io",
    "projectsveltos.io",
    "skaffold.dev",
)
"""Domains (with what is below them) of labels by which Fovea, Kubernetes and tools of delivery keep their books: they would take
a pod with theirs for one that they made themselves, and delete it, since it is in none of their manifests."""

OBJECT_STORE = f"{GROUP}/object-store"
"""Label of a namespace: whether it has a key of the embedded object store (its Secret `fovea-object-store`)."""
OBJECT_STORE_ENABLED = "enabled"
OBJECT_STORE_DISABLED = "disabled"
"""The key is withdrawn from the store. Without the label nothing is done: a key that is there goes on to work."""

MANAGED = f"{GROUP}/managed"
"""On every pod, Deployment, Service and route that the operator makes: by this label it watches them. The common label `managed-by`
is the tools' to overwrite."""
MANAGED_VALUE = "true"
MANAGED_SELECTOR = f"{MANAGED}={MANAGED_VALUE}"

COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
"""Label that Kubernetes puts on each pod of an Indexed Job: its number, from 0."""
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"
"""Annotation that Kubernetes puts on such a pod, where the Job has backoffLimitPerIndex: how many of its number failed before it."""
CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
"""Label that Kubernetes puts on each pod of a Job: the Job's uid."""

_DIGITS = 9
"""A version's number has no more."""


def is_embedded_store(of_service: Mapping[str, str]) -> bool:
    """Whether a Service with these labels is that of the chart's own object store."""
    return of_service.get(PART_OF) == PART_OF_VALUE and of_service.get(COMPONENT) == COMPONENT_OBJECT_STORE


def passed_on(own: Mapping[str, str]) -> dict[str, str]:
    """Labels of a TrainingJob or ModelDeployment that its pods, Deployments and Service get as well: but for those of OF_TOOLS."""
    return {key: value for key, value in own.items() if not _is_of_tools(key.rpartition("/")[0])}


def _is_of_tools(domain: str) -> bool:
    return any(domain == tools or domain.endswith(f".{tools}") for tools in OF_TOOLS)


def of_training_pod(job: str, role: str, index: int, attempt: int) -> dict[str, str]:
    """Labels of one training pod."""
    return {
        MANAGED: MANAGED_VALUE,
        MANAGED_BY: MANAGED_BY_VALUE,
        COMPONENT: COMPONENT_TRAINER,
        JOB: job,
        ROLE: role,
        INDEX: str(index),
        ATTEMPT: str(attempt),
    }


def of_job(job: str) -> dict[str, str]:
    """Labels of what is made once for all pods of a job: its Service, its NetworkPolicy, its place in a queue."""
    return {MANAGED: MANAGED_VALUE, MANAGED_BY: MANAGED_BY_VALUE, JOB: job}


def training_selector(job: str) -> dict[str, str]:
    """Selector of the training pods of a job, whatever their role and attempt."""
    return {COMPONENT: COMPONENT_TRAINER, JOB: job}


def of_model_server(model_deployment: str, model: str, version: int, revision: str) -> dict[str, str]:
    """Labels of one version's Deployment, its Service and its pods."""
    return {
        MANAGED: MANAGED_VALUE,
        MANAGED_BY: MANAGED_BY_VALUE,
        COMPONENT: COMPONENT_MODEL_SERVER,
        MODEL_DEPLOYMENT: model_deployment,
        MODEL: model,
        VERSION: str(version),
        REVISION: revision,
    }


def of_model_deployment(model_deployment: str, model: str) -> dict[str, str]:
    """Labels of what is made once for all versions of a ModelDeployment: the clients' Service, its routes."""
    return {MANAGED: MANAGED_VALUE, MANAGED_BY: MANAGED_BY_VALUE, MODEL_DEPLOYMENT: model_deployment, MODEL: model}


def of_batch_prediction(prediction: str, uid: str, model: str, version: int) -> dict[str, str]:
    """Labels of a BatchPrediction's Job and its pods."""
    return {
        MANAGED: MANAGED_VALUE,
        MANAGED_BY: MANAGED_BY_VALUE,
        COMPONENT: COMPONENT_BATCH_WORKER,
        BATCH_PREDICTION: prediction,
        BATCH_PREDICTION_UID: uid,
        MODEL: model,
        VERSION: str(version),
    }


def of_comparator(model_deployment: str, model: str, compares: str) -> dict[str, str]:
    """Labels of the Deployment and the pods that compare the answers of two versions."""
    held = of_model_deployment(model_deployment, model)
    return {**held, COMPONENT: COMPONENT_COMPARATOR, COMPARES: compares}


def comparator_selector(model_deployment: str) -> dict[str, str]:
    """Selector of these pods, whatever they compare."""
    return {MODEL_DEPLOYMENT: model_deployment, COMPONENT: COMPONENT_COMPARATOR}


def serving_selector(model_deployment: str, version: int, revision: str) -> dict[str, str]:
    """Selector by which a Service reaches exactly one version's pods."""
    return {MODEL_DEPLOYMENT: model_deployment, VERSION: str(version), REVISION: revision}


def version_of(held: Mapping[str, str]) -> tuple[int, str] | None:
    """The version and the revision that labels or a selector name; None where somebody edited them."""
    number, revision = held.get(VERSION, ""), held.get(REVISION, "")
    is_number = number.isascii() and number.isdigit() and len(number) <= _DIGITS
    return (int(number), revision) if is_number and revision else None
