"""TrainingJob: a program, its arguments and inputs, the machine it runs on, and what happens to its model."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from fovea_api.contract import names

from .common import NAME_RULE, Column, Kind, LabelKey, Model, Name, Resource, immutable, kept, rule, rules
from .container import Container
from .pod import PodOptions
from .roles import Distribution, Roles, ScaleTier
from .scheduling import Scheduling
from .training_job_status import TrainingJobStatus

_NAMED = rf"[a-z]([-a-z0-9]{{0,{names.MAX_NAME - 2}}}[a-z0-9])?"
"""A job's or model's name within an address: a longer name can never exist, and the job would wait for ever."""


_UID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_VERSION = rf"model://{_NAMED}(/[1-9][0-9]{{0,8}})?"
_JOB = rf"job://{_NAMED}(@(latest|{_UID}))?"


class Trainer(Model):
    """What runs: a recipe of the fovea-tensorflow image, or a container of the user's own."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.recipe) != has(self.container)",
                "spec.trainer needs exactly one of recipe (a recipe of the fovea-tensorflow image) and container (your own image)",
            )
        )
    )

    recipe: Name | None = None
    """Name of a recipe, for example image-classifier; its flags go into spec.args."""
    container: Container | None = None
    """A program of your own."""


class Checkpoint(Model):
    """When checkpoints are written, how many are kept, and which checkpoint the job begins with. Each attempt begins with
    the job's own newest checkpoint, if there is one.
    """

    every_steps: Annotated[int | None, Field(ge=1, le=1_000_000_000)] = None
    """Number of steps between checkpoints ($FOVEA_CHECKPOINT_EVERY_STEPS). Absent: the program's own default."""
    keep: Annotated[int, Field(ge=1, le=100)] = 3
    """Number of checkpoints that are kept. Older ones are removed."""
    from_: Annotated[str | None, Field(alias="from", max_length=256, pattern=rf"^({_JOB}|{_VERSION})$")] = None
    """Begin with the newest checkpoint of another job in this namespace: job://NAME. The field has no effect once the job has
    a checkpoint of its own.

    For a deleted job: job://NAME@UID, or job://NAME@latest for the newest job of that name that left a checkpoint.
    model://NAME (newest approved) or model://NAME/VERSION: of the job that trained that version.
    """
    train_from_scratch: bool = False
    """true: begin without the checkpoint that `from` names. The job's own checkpoints are resumed all the same."""


class Cache(Model):
    """A folder that jobs of a namespace share ($FOVEA_CACHE_DIR). Fovea restores it at the start, and publishes it at the
    end if the program left the file _SUCCESS in its output, or as soon as the file _CACHE_WHOLE is there.
    """

    name: Name
    """Name of the cache."""


class ModelRegistration(Model):
    """Registration of the model in $FOVEA_MODEL_DIR when the job succeeds."""

    name: Name
    """Name of the model. The job's result becomes the next ModelVersion of this model."""
    deploy: bool = False
    """Whether Fovea makes a ModelDeployment of the same name, if there is none. It serves the newest approved version."""


class RunPolicy(Model):
    """Retries, deadlines, and clean-up after the end."""

    backoff_limit: Annotated[int, Field(ge=0, le=1000)] = 3
    """Maximum number of retries; then the job fails. A retry follows exit code 75, exit code 128 or more, a temporary error of
    Fovea's own containers, or an eviction because the pod used more local storage than its limit. A drain, a preemption, another
    eviction, a deleted pod, or a node that is lost, restarts or refuses the pod is a disruption: it starts a new attempt, but is no
    retry. status.disruptions counts disruptions; they have no limit."""
    restart_scope: Literal["Replica", "Role", "Job"] | None = None
    """Pods that begin their next attempt when one of a job's pods fails. Replica: the failed pod. Role: all pods of its role. Job: all
    pods. The others go on. Absent: Replica for the workers of distribution ParameterServer without sync, which train on without
    each other; else Job."""
    max_running_seconds: Annotated[int | None, Field(ge=1, le=31_536_000)] = None
    """Longest time, in seconds, for which the program may run, all attempts together. After this time the job fails. While no operator
    runs, the kubelets stop the pods (activeDeadlineSeconds). Absent: no limit."""
    max_wait_seconds: Annotated[int | None, Field(ge=1, le=31_536_000)] = None
    """Longest time, in seconds, for which the job may wait for a node. After this time the job is cancelled; while no operator runs, later.
    Absent: no limit."""
    publish_seconds: Annotated[int | None, Field(ge=30, le=604_800)] = None
    """Time, in seconds, in which an ending pod must save its last checkpoint and publish its results. Absent: the chart's
    training.graceSeconds. If the time is too short, Fovea starts a new attempt, which sends only the missing files. If the node
    is lost, the next attempt waits for this time."""
    clean_pod_policy: Literal["None", "Running", "All"] = "Running"
    """Pods that Fovea deletes. Running: at the end of the job, pods that still run; before, ended pods of earlier attempts except the
    newest three. None: at the end of the job, pods that still run. All: as Running, and at the end of the job all other pods."""
    ttl_seconds_after_finished: Annotated[int | None, Field(ge=0, le=315_360_000)] = None
    """Seconds after the end of the job at which Fovea deletes it. Its model and output stay. Absent: the chart's
    training.ttlSecondsAfterFinished, by default never."""


InputUri = Annotated[
    str,
    Field(
        min_length=6,
        max_length=1024,
        pattern=rf"^(s3://[^/?#]+/[^?#]*|{_JOB}/(output|model)|{_VERSION})$",
    ),
]
"""s3://bucket/path, job://NAME/output, job://NAME/model, model://NAME (newest approved) or model://NAME/VERSION.

For a job that may be deleted: job://NAME@UID/… or job://NAME@latest/….
"""

InputMode = Literal["Fetch", "Stream"]

_POLICY_KEPT = " && ".join(
    [kept(f"runPolicy.{field}", optional=False) for field in ("backoffLimit", "cleanPodPolicy")]
    + [
        kept(f"runPolicy.{field}", optional=True)
        for field in ("restartScope", "maxRunningSeconds", "maxWaitSeconds", "publishSeconds")
    ]
)


_LARGE = "has(self.scaleTier) && self.scaleTier in ['STANDARD_1', 'PREMIUM_1']"
_WORKERS, _SERVERS = "has(self.roles) && has(self.roles.worker)", "has(self.roles) && has(self.roles.ps)"
_ROLES = (
    rule(
        "!has(self.roles) || !has(self.scaleTier) || self.scaleTier == 'CUSTOM'",
        "spec.roles goes with scaleTier CUSTOM only: remove roles or set scaleTier: CUSTOM",
        field=".roles",
    ),
    rule(
        "!has(self.scaleTier) || self.scaleTier != 'CUSTOM' || has(self.roles)",
        "scaleTier CUSTOM needs spec.roles: add roles.chief.machineType",
        field=".scaleTier",
    ),
    rule(
        f"self.distribution != 'Single' || !({_LARGE})",
        "a job of this scale tier has several pods, and distribution Single has one: set distribution to ParameterServer or "
        "MultiWorkerMirrored, or scaleTier to BASIC",
        field=".scaleTier",
    ),
    rule(
        f"self.distribution != 'Single' || !({_WORKERS} || {_SERVERS})",
        "distribution Single has one pod, the chief: remove roles.worker and roles.ps, or set distribution to ParameterServer or "
        "MultiWorkerMirrored",
        field=".roles",
    ),
    rule(
        f"self.distribution != 'ParameterServer' || {_LARGE} || ({_WORKERS} && {_SERVERS})",
        "distribution ParameterServer needs workers and parameter servers: add roles.worker.count and roles.ps.count, or set "
        "scaleTier to STANDARD_1",
        field=".distribution",
    ),
    rule(
        f"self.distribution != 'MultiWorkerMirrored' || {_LARGE} || {_WORKERS}",
        "distribution MultiWorkerMirrored needs workers beside the chief: add roles.worker.count, or set scaleTier to STANDARD_1",
        field=".distribution",
    ),
    rule(
        f"self.distribution != 'MultiWorkerMirrored' || !({_SERVERS})",
        "distribution MultiWorkerMirrored has no parameter servers, each process holds all weights: remove roles.ps, or set "
        "distribution to ParameterServer",
        field=".roles",
    ),
    rule(
        "!self.sync || self.distribution == 'ParameterServer'",
        "spec.sync is about parameter servers, and MultiWorkerMirrored is always synchronous: remove sync, or set distribution "
        "to ParameterServer",
        field=".sync",
    ),
)
"""Which pods a job may have."""


class TrainingJobSpec(Model):
    """What to train. Immutable except for suspend, cancel and runPolicy.ttlSecondsAfterFinished."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            immutable(
                ("trainer", "distribution", "sync"),
                (
                    *("inputs", "inputModes", "scaleTier", "roles", "scheduling"),
                    *("checkpoint", "cache", "model", "pod", "managedBy"),
                ),
                "submit a new job instead (only suspend, cancel and runPolicy.ttlSecondsAfterFinished can be changed)",
                {
                    "spec.runPolicy is immutable except for ttlSecondsAfterFinished": _POLICY_KEPT,
                    "spec.cancel cannot be taken back": "!oldSelf.cancel || self.cancel",
                },
            ),
            rule(
                "!has(self.inputModes) || (has(self.inputs) && self.inputModes.all(name, name in self.inputs))",
                "spec.inputModes names what is no input: each name must be one of spec.inputs",
                field=".inputModes",
            ),
            rule(
                "!has(self.inputModes) || !has(self.inputs) || self.inputModes.all(name, self.inputModes[name] != 'Stream' || "
                "!(name in self.inputs) || self.inputs[name].startsWith('s3://'))",
                "spec.inputModes: only inputs with an s3:// address can be streamed; what a job or model left is fetched whole (Fetch)",
                field=".inputModes",
            ),
            *_ROLES,
        )
    )

    trainer: Trainer
    """The program: exactly one of recipe and container."""
    args: Annotated[
        dict[str, str | int | float | bool] | None,
        Field(max_length=128, json_schema_extra={"x-fovea-scalars": True}),
    ] = None
    """Flags of the program: `epochs: 10` becomes --epochs=10. Immutable."""
    inputs: Annotated[dict[Name, InputUri] | None, Field(max_length=32)] = None
    """Data that Fovea fetches before the program starts: name -> address (s3://…, job://NAME/output, model://NAME/3). The program
    finds it at $FOVEA_INPUT_DIR/<name>.

    For a deleted job: job://NAME@UID/output or job://NAME@latest/output.
    """
    input_modes: Annotated[dict[Name, InputMode] | None, Field(max_length=32)] = None
    """How inputs arrive: name -> Fetch or Stream. Fetch, the default: all of the input is there before the program starts. Stream:
    TFRecord shards of an s3:// address arrive while the program runs, in the order in which it wants them, and make room for
    others; all other files are there before. The recipe image-classifier reads streamed inputs.
    """
    scale_tier: ScaleTier | None = None
    """BASIC: one pod on the default machine type. BASIC_GPU: one pod on machine type standard-gpu. STANDARD_1: a chief and 4 workers on
    complex-model-s, and 3 parameter servers on standard. PREMIUM_1: a chief and 19 workers on complex-model-m, and 11 parameter
    servers on large-model. CUSTOM: numbers of pods and machine types of spec.roles. Absent: CUSTOM with spec.roles, else BASIC."""
    distribution: Distribution = "Single"
    """How training is spread over pods. Single: one pod. ParameterServer: parameter servers hold the weights, workers compute, and the
    chief leads. MultiWorkerMirrored: the chief and the workers hold all weights each, and share each batch. The program learns
    its place from TF_CONFIG."""
    sync: bool = False
    """With distribution ParameterServer, true: the workers share each batch, and its update is made once ($FOVEA_SYNC). false: each
    worker trains on batches of its own, and waits for no other."""
    roles: Roles | None = None
    """Numbers of pods and machine types by role, for scaleTier CUSTOM."""
    scheduling: Scheduling | None = None
    """Queue and gang scheduling."""
    checkpoint: Checkpoint | None = None
    """Checkpoints."""
    cache: Cache | None = None
    """A cache shared with other jobs."""
    model: ModelRegistration | None = None
    """Registration of the trained model as a ModelVersion. Absent: the model is not registered; it stays in the job's results."""
    pod: PodOptions | None = None
    """Labels, annotations, account and placement of the job's pods."""
    run_policy: RunPolicy = Field(default_factory=RunPolicy, json_schema_extra={"default": {}})
    """Retries, deadlines, clean-up."""
    suspend: bool = False
    """true: the running program saves a checkpoint and ends, and no pod runs. false: the job goes on from its newest checkpoint."""
    cancel: bool = False
    """Set to true to cancel the job; this cannot be undone."""
    managed_by: LabelKey | None = None
    """Controller that works on the job, for example kueue.x-k8s.io/multikueue. Absent or fovea.dev/operator: Fovea. Fovea leaves a job of
    another controller alone."""


class TrainingJob(Resource):
    """A training job: a recipe or a container, with its arguments, inputs and machine type. Fovea keeps its checkpoints,
    and can register and serve its model.
    """

    KIND: ClassVar[str] = "TrainingJob"
    kind: Literal["TrainingJob"] = "TrainingJob"
    spec: TrainingJobSpec
    """What to train."""
    status: TrainingJobStatus = Field(default_factory=TrainingJobStatus)
    """State of the job."""


KIND = Kind(
    kind="TrainingJob",
    plural="trainingjobs",
    short="tj",
    scope="Namespaced",
    model=TrainingJob,
    subresources={"status": {}},
    root_rules=(NAME_RULE,),
    columns=(
        Column(name="State", type="string", json_path=".status.state"),
        Column(name="Progress", type="string", json_path=".status.progress.summary"),
        Column(name="Loss", type="number", json_path=".status.progress.metrics.loss"),
        Column(name="Age", type="date", json_path=".metadata.creationTimestamp"),
        Column(name="Version", type="string", json_path=".status.modelVersion", priority=1),
        Column(name="Message", type="string", json_path=".status.message", priority=1),
    ),
)
