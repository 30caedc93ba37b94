"""What a trainer sees: directories and files, never credentials. Names of its environment variables and where they point."""

from . import names
from .cluster_spec import ClusterSpec

INPUT_DIR = "FOVEA_INPUT_DIR"
"""Inputs, one folder (or file) per name: `$FOVEA_INPUT_DIR/<name>`; their identities: `fovea_api.contract.listing`."""
CHECKPOINT_DIR = "FOVEA_CHECKPOINT_DIR"
"""A checkpoint is a sub-folder `<step>/` that appeared here by rename, or what else is named by its step; it is published while training goes on."""
MODEL_DIR = "FOVEA_MODEL_DIR"
"""The final SavedModel (`saved_model.pb` directly in it)."""
OUTPUT_DIR = "FOVEA_OUTPUT_DIR"
"""evaluation.json, pictures, anything worth keeping."""
CACHE_DIR = "FOVEA_CACHE_DIR"
"""Restored at start and published when the program left SUCCESS_MARKER or CACHE_MARKER, shared by the jobs of a namespace."""
LOG_DIR = "FOVEA_LOG_DIR"
"""TensorBoard event files."""
PROGRESS_FILE = "FOVEA_PROGRESS_FILE"
"""JSON lines, appended; see `fovea_api.contract.progress`."""

CHECKPOINT_EVERY_STEPS = "FOVEA_CHECKPOINT_EVERY_STEPS"
"""Steps between checkpoints (`spec.checkpoint.everySteps`); absent: the program's own default."""
CHECKPOINT_KEEP = "FOVEA_CHECKPOINT_KEEP"
"""How many checkpoints to keep (`spec.checkpoint.keep`)."""
GPUS = "FOVEA_GPUS"
"""How many GPUs the machine type has; absent: none."""
GPU_MEMORY_GROWS = "TF_FORCE_GPU_ALLOW_GROWTH"
"""TensorFlow's: `true` takes the memory of a GPU as it is needed, not all of it at the start."""
VISIBLE_GPUS = "NVIDIA_VISIBLE_DEVICES"
"""NVIDIA's container runtime reads it. A device plugin sets it to the GPUs that a pod was given."""

TF_CONFIG = "TF_CONFIG"
"""The tasks of a distributed job, see `fovea_api.contract.cluster_spec`; absent: one process."""
SYNC = "FOVEA_SYNC"
"""`1`: the workers of a job with parameter servers share each batch, and its update is made once (`spec.sync`). Absent: each worker
has batches of its own. Of the environment, as TF_CONFIG is, since it is the job's and no flag of a recipe."""
PS_HOSTS = "FOVEA_PS_HOSTS"
"""host:port of each parameter server, with commas between; for programs that take `--ps_hosts` and read no TF_CONFIG. Absent: none."""
WORKER_HOSTS = "FOVEA_WORKER_HOSTS"
"""host:port of the chief and of each worker, with commas between: to such a program the chief is its first worker."""
JOB_NAME = "FOVEA_JOB_NAME"
"""`worker` or `ps`: which of the two lists this process stands in."""
TASK_INDEX = "FOVEA_TASK_INDEX"
"""Its place in that list, from 0."""
PEER_SECONDS = "FOVEA_PEER_SECONDS"
"""How long another process of a distributed job may not answer before a chief gives up, with an exit code that asks for a restart (default 60)."""
CLOUD_ML_JOB = "CLOUD_ML_JOB"
CLOUD_ML_HP_METRIC_FILE = "CLOUD_ML_HP_METRIC_FILE"

PLAN = "FOVEA_PLAN"
"""Agent containers only: the JSON of `fovea_api.contract.plan`."""

WORK_MOUNT = "/fovea"
"""Mount path of the pod's working volume, in every container of a training pod."""
OBJECT_STORE_MOUNT = "/var/run/secrets/fovea/object-store"
"""Agent containers only: the keys of the Secret `fovea-object-store`, one file each."""
REPORT_TOKEN_MOUNT = "/var/run/secrets/fovea/report"  # noqa: S105 - a path
"""`sync` only: projected ServiceAccount token with its own audience, file `token`."""
MODELS_MOUNT = "/models"
"""Serving pods: `/models/<name>/<N>`."""
MODEL_CACHE_MOUNT = "/var/cache/fovea"
"""Agent containers of serving pods only, where the platform has a cache of models: the part of the namespace."""

MODEL_SERVER_DRAIN_SECONDS = "FOVEA_MODEL_SERVER_DRAIN_SECONDS"
"""Fovea's model server only: how long requests under way may take to end after SIGTERM (default 30)."""
MODEL_SERVER_WAITS = "FOVEA_MODEL_SERVER_WAIT_FOR_MODEL"
"""Fovea's model server only: `true` where the model may come after the server's start."""
MODEL_SERVER_LINGER_SECONDS = "FOVEA_MODEL_SERVER_LINGER_SECONDS"
"""Fovea's model server only: how long it still takes new connections after SIGTERM, for clients that have not heard yet (default 0)."""

EVALUATION_FILE = "evaluation.json"
"""`$FOVEA_OUTPUT_DIR/evaluation.json`: a JSON object; the numbers of its `metrics` object are what a ModelVersion records.
Its `mainMetric` may name the one that stands for the model."""

DAMAGED_PREFIX = ".damaged-"
"""A program that cannot read the checkpoint `<step>/` it began with renames it to `.damaged-<step>` or `.damaged-<step>-…`: the
next attempt begins with the one before it."""

SUCCESS_MARKER = "_SUCCESS"
"""An empty file `$FOVEA_OUTPUT_DIR/_SUCCESS` written last says that the program finished. Fovea's recipes write it; any program may.
With it a finished job is recognised even when its pod object was lost before the operator saw it end,
and exit code 0 of a pod that had to end early (drained, evicted, deleted, suspended) is believed."""

CACHE_MARKER = "_CACHE_WHOLE"
"""An empty file `$FOVEA_OUTPUT_DIR/_CACHE_WHOLE` says that $FOVEA_CACHE_DIR is whole and worth publishing now, while the program goes
on: a pod that is lost later has not worked on it in vain. The program removes the file before it changes the cache, and writes it
again once that is whole."""

DIRECTORIES: dict[str, str] = {
    INPUT_DIR: f"{WORK_MOUNT}/inputs",
    CHECKPOINT_DIR: f"{WORK_MOUNT}/checkpoints",
    MODEL_DIR: f"{WORK_MOUNT}/model",
    OUTPUT_DIR: f"{WORK_MOUNT}/output",
    CACHE_DIR: f"{WORK_MOUNT}/cache",
    LOG_DIR: f"{WORK_MOUNT}/logs",
}
PROGRESS_PATH = f"{WORK_MOUNT}/progress/progress.jsonl"

AGENT_MOUNT = "/var/lib/fovea-agent"
"""Agent containers only: the state that the agents of a pod share and that its program must not reach. Not below
/run: embedded clusters have their run folders there (`fovea`, `fovea-<name>`), which an agent started by hand would write into."""
SYNC_READY = f"{AGENT_MOUNT}/sync-ready"
"""Appears when `sync` handles signals, and in a pod without `fetch` once `sync` has done its part. A SIGTERM before that would be lost (as
process 1 a program without a handler is not sent it): the trainer starts only once this file is there."""
END_BEGAN = f"{AGENT_MOUNT}/end-began"
"""Written when the end of the pod begins, by the preStop hook of `sync`: a copy of `/proc/uptime`. SIGTERM reaches `sync` only after
the program has ended, which may have used most of the pod's grace period by then."""


def of_trainer(
    job: str,
    *,
    checkpoint_every_steps: int | None = None,
    checkpoint_keep: int | None = None,
    gpus: int = 0,
    cluster: ClusterSpec | None = None,
    sync: bool = False,
) -> dict[str, str]:
    """Environment of the trainer container, beyond what the user's own `env` adds."""
    variables = dict(DIRECTORIES)
    variables[PROGRESS_FILE] = PROGRESS_PATH
    variables[CLOUD_ML_JOB] = job
    variables[CLOUD_ML_HP_METRIC_FILE] = f"{WORK_MOUNT}/progress/metrics.json"
    if checkpoint_every_steps is not None:
        variables[CHECKPOINT_EVERY_STEPS] = str(checkpoint_every_steps)
    if checkpoint_keep is not None:
        variables[CHECKPOINT_KEEP] = str(checkpoint_keep)
    if gpus:
        variables[GPUS] = str(gpus)
    variables |= of_gpus(gpus)
    if cluster is not None:
        variables |= _of_cluster(cluster)
    if sync:
        variables[SYNC] = "1"
    return variables


def of_gpus(count: int) -> dict[str, str]:
    """Variables of trainers and model servers about the GPUs of their machine type.

    Images built for CUDA ask for all GPUs of a node (`NVIDIA_VISIBLE_DEVICES=all`), which its runtime grants also to a pod without
    any. With GPUs the variable stays the device plugin's: a value of the pod's would win over it.
    """
    return {GPU_MEMORY_GROWS: "true"} if count else {VISIBLE_GPUS: "void"}


def _of_cluster(spec: ClusterSpec) -> dict[str, str]:
    if spec.role == names.ROLE_EVALUATOR:
        return {TF_CONFIG: spec.to_env()}  # it stands in neither list
    workers = tuple(address for role in (names.ROLE_CHIEF, names.ROLE_WORKER) for address in spec.cluster.get(role, ()))
    servers = spec.cluster.get(names.ROLE_PS, ())
    is_server = spec.role == names.ROLE_PS
    variables = {
        TF_CONFIG: spec.to_env(),
        WORKER_HOSTS: ",".join(workers),
        JOB_NAME: names.ROLE_PS if is_server else names.ROLE_WORKER,
        TASK_INDEX: str((servers if is_server else workers).index(spec.cluster[spec.role][spec.index])),
    }
    return variables | ({PS_HOSTS: ",".join(servers)} if servers else {})
