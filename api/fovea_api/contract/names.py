"""Names of derived objects, containers, ports and volumes, and the bounds that make every derived name fit a DNS label."""

MAX_NAME = 40
"""Longest name of a user's resource: every derived name and DNS label then fits 63 characters."""
NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"

ROLE_CHIEF = "chief"
ROLE_WORKER = "worker"
ROLE_PS = "ps"
ROLE_EVALUATOR = "evaluator"
"""In no cluster of `TF_CONFIG`: the others do not know of it."""
TRAINING_PORT = 2222
"""On which TensorFlow listens in every pod of a distributed job."""

TRAINER_CONTAINER = "trainer"
FETCH_CONTAINER = "fovea-fetch"
SYNC_CONTAINER = "fovea-sync"
FETCH_MODEL_CONTAINER = "fovea-fetch-model"
MODEL_SERVER_CONTAINER = "model-server"
MODEL_SERVER_PROGRAM = "fovea-model-server"
PREDICT_CONTAINER = "predict"
"""Of a BatchPrediction's pod: the program that answers."""
BATCH_CONTAINER = "batch"
"""Of the same pod: the sidecar that brings the records and publishes the answers."""
OWN_CONTAINERS = frozenset(
    {
        *(TRAINER_CONTAINER, FETCH_CONTAINER, SYNC_CONTAINER),
        *(FETCH_MODEL_CONTAINER, MODEL_SERVER_CONTAINER),
        *(PREDICT_CONTAINER, BATCH_CONTAINER),
    }
)
"""All that Fovea puts into pods: what has another name was added by something else (a service mesh, an agent)."""

OBJECT_STORE_SECRET = "fovea-object-store"  # noqa: S105 - the name of a Secret, not a secret
REPORT_TOKEN_AUDIENCE = "fovea-operator"  # noqa: S105 - an audience, not a token

GRPC_PORT = 8500
REST_PORT = 8501
HTTPS_PORT = 443
GRPC_PORT_NAME = "grpc"
REST_PORT_NAME = "rest"
VERSION_HEADER = "x-fovea-version"
"""By which a request at a gateway names the version that is to answer it."""
ACTIVATOR = "activator"
"""Of a route: the pin by which the activator stays known to the gateway. Requests of models without a pod wait there."""
BACKEND_HEADER = "x-fovea-backend"
"""Set by routes for the activator: DNS name of the version's Service."""
MODEL_DEPLOYMENT_HEADER = "x-fovea-model-deployment"
"""Set by routes for the activator: <namespace>/<name> of the ModelDeployment."""


def training_pod(job: str, role: str, index: int, attempt: int) -> str:
    """Name of a training pod; the attempt is part of it, so a pod stuck on a lost node never blocks its successor."""
    return f"{job}-{role}-{index}-{attempt}"


def training_host(job: str, role: str, index: int) -> str:
    """Stable hostname of a role's member, whatever the attempt."""
    return f"{job}-{role}-{index}"


def pods_service(job: str) -> str:
    """Name of the headless Service by which a job's pods find each other: never the job's, which a ModelDeployment may have."""
    return f"{job}-pods"


def workload(job: str) -> str:
    """Name of the Workload by which a job waits in a queue of Kueue."""
    return f"trainingjob-{job}"


def pod_group(job: str) -> str:
    """Name of the PodGroup of a job whose pods get their nodes together."""
    return f"trainingjob-{job}"


def pods_policy(job: str) -> str:
    """Name of the NetworkPolicy by which a job's pods are reached by each other only."""
    return f"{job}-pods"


def training_address(job: str, namespace: str, role: str, index: int) -> str:
    """host:port of a role's member in `TF_CONFIG`, whatever the attempt. Not down to the cluster's own domain, which differs."""
    return f"{training_host(job, role, index)}.{pods_service(job)}.{namespace}.svc:{TRAINING_PORT}"


def object_store_pod(service: str) -> str:
    """Name of the embedded store's one pod, by its Service's name: people may reach it without a right to list pods."""
    return f"{service}-0"


def model_version(model: str, number: int) -> str:
    """Name of the ModelVersion object of a model's version number."""
    return f"{model}-v{number}"


def prediction_job(prediction: str, rerun: int) -> str:
    """Name of the Indexed Job of a BatchPrediction. Its pods' names begin with it."""
    return f"{prediction}-batch-{rerun}"


def comparator(model_deployment: str) -> str:
    """Name of the Deployment and of the Service that compare the answers of two versions."""
    return f"{model_deployment}-comparator"


def version_deployment(model_deployment: str, version: int, revision: str) -> str:
    """Name of the Deployment that serves one version, and of the Service that reaches its pods only."""
    return f"{model_deployment}-v{version}-{revision}"
