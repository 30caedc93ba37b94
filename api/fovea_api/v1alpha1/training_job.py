"""TrainingJob: a program, its arguments and inputs, the machine it runs on, and what happens to its model."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from fovea_api.contract import names

from .common import NAME_RULE, Column, Kind, MachineTypeName, Model, Name, Resource, immutable, kept, rule, rules
from .container import Container
from .pod import PodOptions
from .training_job_status import TrainingJobStatus

_NAMED = rf"[a-z]([-a-z0-9]{{0,{names.MAX_NAME - 2}}}[a-z0-9])?"
"""A job's or model's name within an address: a longer name can never exist, and the job would wait for ever."""


_UID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
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


class Role(Model):
    """Size of one role."""

    machine_type: MachineTypeName | None = None
    """MachineType of its pods; absent: the default one."""


class Roles(Model):
    """Roles of the job."""

    chief: Role
    """The pod that trains, checkpoints and publishes."""


class Checkpoint(Model):
    """Checkpoints: how often, how many, and where to start from. A job always resumes from its own newest checkpoint."""

    every_steps: Annotated[int | None, Field(ge=1, le=1_000_000_000)] = None
    """Steps between checkpoints ($FOVEA_CHECKPOINT_EVERY_STEPS); absent: the program's own default."""
    keep: Annotated[int, Field(ge=1, le=100)] = 3
    """How many of the newest are kept."""
    from_: Annotated[str | None, Field(alias="from", max_length=256, pattern=rf"^{_JOB}$")] = None
    """job://NAME: begin with the newest checkpoint of another job of this namespace (online learning).
    A checkpoint of the job's own comes first.

    For a deleted job: job://NAME@UID, or job://NAME@latest for the newest job of that name that left a checkpoint.
    """


class Cache(Model):
    """A folder that jobs of a namespace share ($FOVEA_CACHE_DIR). It is restored at the start, and published when the program leaves _SUCCESS in its output."""

    name: Name
    """Name of the cache."""


class ModelRegistration(Model):
    """What happens to the SavedModel in $FOVEA_MODEL_DIR when the job succeeds."""

    name: Name
    """Model to register a new ModelVersion of."""
    deploy: bool = False
    """Whether to keep a ModelDeployment of the same name that serves the newest version."""


class RunPolicy(Model):
    """Retries, deadlines, and what stays when the job has ended."""

    backoff_limit: Annotated[int, Field(ge=0, le=1000)] = 3
    """How many times a retryable failure (exit code 75 or >= 128) is retried.
    Attempts that a drain, a preemption, or a node that is lost, restarts or refuses the pod ends do not count."""
    max_running_seconds: Annotated[int | None, Field(ge=1, le=31_536_000)] = None
    """Longest time that the program may run, all attempts together; then the job fails. Absent: no limit."""
    max_wait_seconds: Annotated[int | None, Field(ge=1, le=31_536_000)] = None
    """Longest time that the job may wait for a node; then it is cancelled. Absent: no limit."""
    publish_seconds: Annotated[int | None, Field(ge=30, le=604_800)] = None
    """Seconds that an ending pod has to save the last checkpoint and to publish; absent: the chart's training.graceSeconds.
    A job that needs longer is tried again and sends only what is missing. A pod on a lost node delays the next attempt by this time."""
    clean_pod_policy: Literal["None", "Running", "All"] = "Running"
    """Which pods are deleted when the job ends: None keeps all (logs stay), Running deletes those still running, All deletes every one."""
    ttl_seconds_after_finished: Annotated[int | None, Field(ge=0, le=315_360_000)] = None
    """Seconds after which an ended job is deleted; its model and output stay. Absent: what the platform's administrator has set, or never."""


InputUri = Annotated[
    str,
    Field(
        min_length=6,
        max_length=1024,
        pattern=rf"^(s3://[^/?#]+/[^?#]*|{_JOB}/(output|model)|model://{_NAMED}(/[1-9][0-9]{{0,8}})?)$",
    ),
]
"""s3://bucket/path, job://NAME/output, job://NAME/model, model://NAME (newest approved) or model://NAME/VERSION.

For a job that may be deleted: job://NAME@UID/… or job://NAME@latest/….
"""

_POLICY_KEPT = " && ".join(
    [kept(f"runPolicy.{field}", optional=False) for field in ("backoffLimit", "cleanPodPolicy")]
    + [kept(f"runPolicy.{field}", optional=True) for field in ("maxRunningSeconds", "maxWaitSeconds", "publishSeconds")]
)


class TrainingJobSpec(Model):
    """What to train. Immutable except for suspend, cancel and runPolicy.ttlSecondsAfterFinished."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            immutable(
                ("trainer", "distribution"),
                ("inputs", "scaleTier", "roles", "checkpoint", "cache", "model", "pod"),
                "submit a new job instead (only suspend, cancel and runPolicy.ttlSecondsAfterFinished can be changed)",
                {
                    "spec.runPolicy is immutable except for ttlSecondsAfterFinished": _POLICY_KEPT,
                    "spec.cancel cannot be taken back": "!oldSelf.cancel || self.cancel",
                },
            ),
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
    """Data to fetch before the program starts: name -> URI (s3://…, job://NAME/output, model://NAME/3). It appears at $FOVEA_INPUT_DIR/<name>.

    job://NAME@UID/output and job://NAME@latest/output read what a deleted job left.
    """
    scale_tier: Literal["BASIC", "BASIC_GPU", "CUSTOM"] | None = None
    """BASIC: one pod on the default machine type. BASIC_GPU: one pod on machine type standard-gpu. CUSTOM: machine types of spec.roles.
    Absent: CUSTOM with spec.roles, else BASIC."""
    distribution: Literal["Single"] = "Single"
    """How training is spread over pods. Single: one pod."""
    roles: Roles | None = None
    """Machine types by role, for scaleTier CUSTOM."""
    checkpoint: Checkpoint | None = None
    """Checkpoints."""
    cache: Cache | None = None
    """A cache shared with other jobs."""
    model: ModelRegistration | None = None
    """What happens to the trained model; absent: it stays the job's output."""
    pod: PodOptions | None = None
    """Labels, annotations, account and placement of the job's pods."""
    run_policy: RunPolicy = Field(default_factory=RunPolicy, json_schema_extra={"default": {}})
    """Retries, deadlines, clean-up."""
    suspend: bool = False
    """While true, no pod runs: a running pod saves a checkpoint and ends. Set to false, the job goes on from the checkpoint."""
    cancel: bool = False
    """Set to true to cancel the job; this cannot be undone."""


class TrainingJob(Resource):
    """A training job: a recipe or a container, its arguments, inputs and machine; its checkpoints are kept, its model can be registered and deployed."""

    KIND: ClassVar[str] = "TrainingJob"
    kind: Literal["TrainingJob"] = "TrainingJob"
    spec: TrainingJobSpec
    """What to train."""
    status: TrainingJobStatus = Field(default_factory=TrainingJobStatus)
    """Where the job stands."""


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
        Column(name="Step", type="integer", json_path=".status.progress.step"),
        Column(name="Of", type="integer", json_path=".status.progress.steps"),
        Column(name="Version", type="string", json_path=".status.modelVersion"),
        Column(name="Age", type="date", json_path=".metadata.creationTimestamp"),
        Column(name="Message", type="string", json_path=".status.message"),
    ),
)
