"""BatchPrediction: a version of a model answers all records of a folder, and the answers are published."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from .batch_prediction_status import BatchPredictionStatus
from .common import (
    NAME_RULE,
    Column,
    Kind,
    MachineTypeName,
    Model,
    Name,
    Resource,
    immutable,
    kept,
    rule,
    rules,
)
from .pod import PodOptions

MAX_PARALLELISM = 1000

FolderUri = Annotated[str, Field(min_length=7, max_length=1024, pattern=r"^s3://[^/?#]+/[^?#]+$")]
"""An address below a bucket of the object store: s3://bucket/path."""


class PredictionInput(Model):
    """What is answered."""

    uri: FolderUri
    """Folder, or single object, in the object store: s3://bucket/path. Of a folder, objects whose names do not fit the format are left out."""
    format: Literal["images", "jsonl", "tfrecord", "csv"]
    """images: each object is a picture (JPEG, PNG, BMP, GIF or WebP), and one record. jsonl: each line is a JSON value, as an instance of a REST
    request. tfrecord: each record is a tf.train.Example. csv: the first line of each object names the columns."""


class PredictionOutput(Model):
    """Where the answers go, and how they are written."""

    uri: FolderUri | None = None
    """Folder in the object store: s3://bucket/path. Absent: a folder of the namespace, which the status names."""
    format: Literal["jsonl", "tfrecord", "csv", "kaggle"] = "jsonl"
    """jsonl: a JSON object for each record. tfrecord: a tf.train.Example for each record. csv: a line for each record. kaggle: one
    file submission.csv with the columns id and label, for pictures only. Records without an answer are in errors.jsonl."""


class PredictionRunPolicy(Model):
    """Retries, a deadline, and clean-up after the end."""

    backoff_limit: Annotated[int, Field(ge=0, le=1000)] = 3
    """Maximum number of retries of each worker; then the prediction fails. A retry repeats only the shard that was not published yet. An
    eviction because the worker used more local storage than its limit is a retry. A drain, a preemption, another eviction or a lost
    node is none, and has no limit."""
    max_running_seconds: Annotated[int | None, Field(ge=1, le=31_536_000)] = None
    """Longest time, in seconds, from the time at which Fovea makes the workers to the end of the last one; their wait for nodes counts.
    After this time the prediction fails. Absent: no limit."""
    ttl_seconds_after_finished: Annotated[int | None, Field(ge=0, le=315_360_000)] = None
    """Seconds after the end of the prediction at which Fovea deletes it. Its output stays. Absent: the chart's
    training.ttlSecondsAfterFinished, by default never."""


_POLICY_KEPT = (
    f"{kept('runPolicy.backoffLimit', optional=False)} && ({kept('runPolicy.maxRunningSeconds', optional=True)})"
)
_INPUT_FOLDER = "(self.input.uri.endsWith('/') ? self.input.uri : self.input.uri + '/')"


class BatchPredictionSpec(Model):
    """What to predict. Immutable except for cancel and runPolicy.ttlSecondsAfterFinished."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            immutable(
                ("model", "version", "input", "output", "parallelism", "maxErrorRatio"),
                ("machineType", "pod"),
                "submit a new prediction instead (only cancel and runPolicy.ttlSecondsAfterFinished can be changed)",
                {
                    "spec.runPolicy is immutable except for ttlSecondsAfterFinished": _POLICY_KEPT,
                    "spec.cancel cannot be taken back": "!oldSelf.cancel || self.cancel",
                },
            ),
            rule(
                "self.output.format != 'kaggle' || self.input.format == 'images'",
                "output.format kaggle goes with input.format images only: set output.format to jsonl, csv or tfrecord",
                field=".output.format",
            ),
            rule(
                f"!has(self.output.uri) || !(self.output.uri + '/').startsWith({_INPUT_FOLDER})",
                "output.uri is inside input.uri, so that the answers would be read as input: choose a folder beside it",
                field=".output.uri",
            ),
        )
    )

    model: Name
    """Name of the model."""
    version: Annotated[int | str, Field(json_schema_extra={"x-kubernetes-int-or-string": True})] = "Latest"
    """Number of a version, or Latest: the newest approved version when the prediction begins."""
    input: PredictionInput
    """What is answered."""
    output: PredictionOutput = Field(default_factory=PredictionOutput, json_schema_extra={"default": {}})
    """Where the answers go, and how they are written."""
    parallelism: Annotated[int, Field(ge=1, le=MAX_PARALLELISM)] = 1
    """Number of workers (pods), which share the records."""
    machine_type: MachineTypeName | None = None
    """MachineType of the workers. Absent: the default MachineType."""
    pod: PodOptions | None = None
    """Labels, annotations, account and placement of the workers."""
    max_error_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Largest part of the records that may remain without an answer, from 0 (none) to 1 (all). With more, the prediction fails. If
    that is certain before the output is published, the workers are stopped, and there is no output."""
    run_policy: PredictionRunPolicy = Field(default_factory=PredictionRunPolicy, json_schema_extra={"default": {}})
    """Retries, a deadline, clean-up."""
    cancel: bool = False
    """Set to true to cancel the prediction; this cannot be undone."""


class BatchPrediction(Resource):
    """Answers all records of a folder with one version of a model. Workers share the records; each record is answered once."""

    KIND: ClassVar[str] = "BatchPrediction"
    kind: Literal["BatchPrediction"] = "BatchPrediction"
    spec: BatchPredictionSpec
    """What to predict."""
    status: BatchPredictionStatus = Field(default_factory=BatchPredictionStatus)
    """State of the prediction."""


KIND = Kind(
    kind="BatchPrediction",
    plural="batchpredictions",
    short="bp",
    scope="Namespaced",
    model=BatchPrediction,
    subresources={"status": {}},
    root_rules=(
        NAME_RULE,
        rule(
            "type(self.spec.version) == string ? self.spec.version == 'Latest' : "
            "(self.spec.version >= 1 && self.spec.version <= 999999999)",
            "spec.version must be Latest or a version number (1, 2, …)",
            field=".spec.version",
        ),
    ),
    columns=(
        Column(name="State", type="string", json_path=".status.state"),
        Column(name="Model", type="string", json_path=".spec.model"),
        Column(name="Version", type="integer", json_path=".status.version"),
        Column(name="Progress", type="string", json_path=".status.progress.summary"),
        Column(name="Errors", type="integer", json_path=".status.progress.errors"),
        Column(name="Age", type="date", json_path=".metadata.creationTimestamp"),
        Column(name="Message", type="string", json_path=".status.message", priority=1),
    ),
)
