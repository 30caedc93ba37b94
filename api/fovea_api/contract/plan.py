"""What the operator tells an agent container to do: the JSON in `$FOVEA_PLAN`."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from .names import ROLE_EVALUATOR
from .skew import known

INPUT_STORE = "s3"
INPUT_PUBLICATION = "publication"
INPUT_JOB_OUTPUT = "job-output"
INPUT_JOB_MODEL = "job-model"


@dataclass(frozen=True)
class Input:
    """One input. `kind` s3: users' data below `uri`, listed once; publication: read through the manifest at `uri`, digest checked.

    job-output, job-model: what a job left. `uri` is its prefix (`storage.job`), or that of all jobs of its name
    (`storage.jobs`): then the newest that left one. The agent finds the publication.
    """

    name: str
    uri: str
    kind: str = INPUT_STORE
    digest: str = ""
    room: int = 0
    """Bytes of shards that may lie on the disk at once, of an input that is streamed (`contract.streams`); 0: it is fetched whole
    before the program starts."""


@dataclass(frozen=True)
class TrainingPlan:
    """For `fetch` and `sync` of one training pod."""

    namespace: str
    job: str
    uid: str
    attempt: int
    role: str = "chief"
    index: int = 0
    inputs: tuple[Input, ...] = ()
    checkpoint_keep: int = 3
    checkpoint_from: str = ""
    """Job prefix (`s3://…`, of `storage.job` or `storage.jobs`) whose newest checkpoint to start from when this job has none."""
    cache: str = ""
    restore: bool = True
    """Whether this pod begins with a checkpoint (parameter servers do not)."""
    publish: bool = True
    """Whether this pod's `sync` publishes (only the chief does)."""
    report_url: str = ""
    """Where `sync` posts progress reports; empty: nowhere."""

    @property
    def follows(self) -> bool:
        """Whether this pod's `sync` brings the checkpoints of the job, and publishes what is measured of them: the evaluator's."""
        return self.role == ROLE_EVALUATOR

    def to_json(self) -> str:
        """Serialise for the environment variable; field names are camelCase-free on purpose, this is not an API."""
        # `asdict` copies every value, and this is a good part of what it costs to make a pod.
        return json.dumps(vars(self), default=vars, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, *, obey: bool = True) -> Self:
        """Read; raises ValueError naming the field that is missing or unknown.

        An agent that carries the plan out must understand all of it. Without `obey` unknown fields are left out.
        """
        document = _object(text)
        try:
            items = document.pop("inputs", ())
            if not obey:
                items, document = [known(Input, item) for item in items], known(cls, document)
            return cls(**document, inputs=tuple(Input(**item) for item in items))
        except TypeError as error:
            raise ValueError(f"plan is malformed: {error}") from error


@dataclass(frozen=True)
class ModelPlan:
    """For `fetch-model` of one serving pod: restore the publication at `uri` to `/models/<model>/<version>`."""

    namespace: str
    model: str
    version: int
    uri: str
    digest: str
    target: str = field(default="/models")
    cache: str = ""
    """Folder of files by digest, which pods of the namespace on this node share; empty: none."""
    cache_bytes: int = 0
    """Most bytes of it."""

    def to_json(self) -> str:
        """Serialise for the environment variable."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read; raises ValueError naming the field that is missing or unknown."""
        try:
            return cls(**_object(text))
        except TypeError as error:
            raise ValueError(f"plan is malformed: {error}") from error


@dataclass(frozen=True)
class BatchPlan:
    """For `batch` of one pod of a BatchPrediction, the same for all of its pods: which one it is stands in `contract.batch.INDEX`."""

    namespace: str
    name: str
    uid: str
    workers: int
    """Number of pods among which the shards are divided."""
    input_uri: str
    input_format: str
    output_uri: str
    output_format: str
    model_digest: str
    """Of the version that answers: an output of another one is not added to."""
    shard_bytes: int
    """Most bytes of a shard, unless it is a single record."""
    shard_records: int
    """Most pictures of a shard."""
    report_url: str = ""
    """Where `batch` posts progress reports; empty: nowhere."""

    def to_json(self) -> str:
        """Serialise for the environment variable."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read; raises ValueError naming the field that is missing or unknown."""
        try:
            return cls(**_object(text))
        except TypeError as error:
            raise ValueError(f"plan is malformed: {error}") from error


def _object(text: str) -> dict[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError(f"plan is a JSON {type(document).__name__}, not an object")
    return document
