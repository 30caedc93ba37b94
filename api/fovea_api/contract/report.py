"""What agents say: the termination message of their containers, and the progress report that `sync` posts to the operator."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from . import metrics as measured
from .skew import known
from .text import storable

MAX_TERMINATION_BYTES = 4096
"""Kubernetes cuts a termination message here."""
MAX_REPORT_BYTES = 60 * 1024
"""The operator refuses a longer progress report; the agent leaves metrics out until it fits."""
_CUT = json.dumps(" …")[1:-1]

PROGRESS_PATH = "/v1/progress"
"""Path of the operator's endpoint for progress reports: POST, bearer token of the pod, JSON of `ProgressReport`.

GET of the same path, with tickets in place of a token: the newest reports as `fovea_api.v1alpha1.live_progress.LiveAnswer`.
"""
LOG_PATH = "/v1/log"
"""Path of the operator's endpoint for the log of the pod that asks: GET, bearer token of the pod. The answer is what the kubelet
has of the program's log, a time stamp before each line."""
TICKETS_HEADER = "Fovea-Tickets"
"""Header of that GET: the `status.live.ticket` of one job or of several, with commas between them."""
MAX_TICKETS = 200
"""In one request: HTTP servers take some 8 KiB in a header."""
REPORT_TOKEN_FILE = "token"  # noqa: S105 - a file's name
"""The bearer token, below `environment.REPORT_TOKEN_MOUNT`; it is renewed in place."""
REPORT_AT_LEAST_EVERY = 30.0
"""Seconds after which `sync` posts its report again though nothing in it has changed: the answer may have."""
TERMINATION_LOG = "/dev/termination-log"
"""Where a container leaves its termination message."""

REASON_FETCHED = "Fetched"
"""`fetch` and `fetch-model`: everything is in place."""
REASON_ALREADY_COMPLETE = "AlreadyComplete"
"""`fetch` (or `sync` in its place), with exit code ALREADY_COMPLETE: output (and model) of an earlier attempt, as that attempt published them."""
REASON_PUBLISHED = "Published"
"""`sync`, `batch`: output (and model) are in the store; the operator believes success only with this reason and `output`."""
REASON_NOTHING_TO_PUBLISH = "NothingToPublish"
"""`sync` of a pod that does not publish (`TrainingPlan.publish` is false); `batch` of a pod whose shards are answered while others are not."""
REASON_OUTPUT_TAKEN = "OutputTaken"
"""`batch`, with exit code CONFIGURATION: the place of the output holds something else."""
REASON_PROVISIONED = "Provisioned"
"""`provision`: bucket and keys are there."""
REASON_STORE_CHECKED = "StoreChecked"
"""`check-store`: the store has all that is relied on."""
REASON_MODEL_CORRUPT = "ModelCorrupt"
"""`fetch-model`, with exit code DATA_CORRUPT: the message names the object, the digest expected and the digest found."""
REASON_MODEL_MISSING = "ModelMissing"
"""`fetch-model`, with exit code INPUT_MISSING."""


@dataclass(frozen=True)
class Published:
    """One publication: where it is and what it contains."""

    uri: str
    digest: str
    size: int
    files: int


@dataclass(frozen=True)
class ProgressReport:
    """Latest progress of a pod: what the trainer's progress file said last and which checkpoint was published last."""

    step: int | None = None
    steps: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    checkpoint_step: int | None = None
    checkpoint_digest: str = ""
    checkpoint_time: str = ""
    """RFC 3339, when that checkpoint's manifest was written."""
    store_unreachable_since: str = ""
    """RFC 3339, since when the object store does not answer; empty while it does."""
    metrics_left_out: int = 0
    """How many metrics the program gave beyond those that are kept."""
    publishing: bool = False
    """Whether the program has ended and what it left is being published."""
    last_words: str = ""
    """The termination message of `sync`, before it ends: nothing is left to publish, well or not, and the pod may end."""
    best_step: int | None = None
    """Of an evaluator: the step of the best checkpoint so far, which is published and kept."""
    best_metric: str = ""
    """The name of the metric by which it is the best."""
    best_value: float | None = None
    left_out: str = ""
    """What is not published of what the program left, and why: a sentence without a full stop, empty for nothing."""

    def document(self) -> dict[str, Any]:
        """As a JSON object, without what is not known."""
        given = {k: v for k, v in asdict(self).items() if v not in (None, "", {}) and v is not False}
        return given if self.metrics_left_out else {k: v for k, v in given.items() if k != "metrics_left_out"}

    def to_json(self) -> str:
        """Serialise for the POST body within the limit: metrics that don't fit go, then what is left out is cut.

        ASCII, the metrics in their order.
        """
        document = _with_metrics_that_fit(self.document(), self.metrics, self.metrics_left_out, MAX_REPORT_BYTES)
        if (excess := _length(document) - MAX_REPORT_BYTES) > 0 and self.left_out:
            document["left_out"] = _shortened(self.left_out, excess)
        return json.dumps(document)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read, with whole characters only; raises ValueError naming what is wrong."""
        document = _read(text)
        if not isinstance(document, dict):
            raise ValueError("a progress report is a JSON object")
        return cls(**known(cls, document))


@dataclass(frozen=True)
class ProgressAnswer:
    """What the operator answers to a progress report: 204 when it has nothing to say, else 200 with this as JSON."""

    program_ended: bool = False
    """The pod's program has ended: `sync` publishes the rest now. SIGTERM may be long in coming (containers of others)."""

    def to_json(self) -> str:
        """Serialise; empty when there is nothing to report."""
        return json.dumps(asdict(self)) if self != ProgressAnswer() else ""

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read; what cannot be read says nothing."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return cls()
        return cls(program_ended=isinstance(document, dict) and document.get("program_ended") is True)


@dataclass(frozen=True)
class Termination:
    """Termination message of `fetch`, `sync` and `fetch-model`.

    `reason` is CamelCase (it becomes a condition's reason), `message` one plain sentence with the remedy.
    """

    reason: str
    message: str
    output: Published | None = None
    model: Published | None = None
    checkpoint_step: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    """From `evaluation.json` of the output folder: what a ModelVersion records."""
    metrics_left_out: int = 0
    """How many more it has."""
    main_metric: str = ""
    """The name of the one that stands for the model (`fovea_api.contract.metrics.main`)."""
    model_problem: str = ""
    """`sync`, `fetch`: why `model` cannot be served (`fovea_api.contract.saved_model`); empty when it is a SavedModel."""
    progress: ProgressReport | None = None
    """`sync`: the last progress. A report that is posted while the operator restarts is lost, this is not."""
    complete: bool = False
    """`sync`, `fetch`: the program left its `_SUCCESS`, so it was done, even if it got SIGTERM before."""
    end_began: str = ""
    """`sync`: when the pod began to end, RFC 3339 by its node's clock; empty where it had not, or where that is not known.

    A node that shuts down, or that evicts softly, ends containers, and the pod shows nothing of it until all have ended.
    """

    def to_json(self) -> str:
        """Serialise within the limit: progress goes, then metrics that don't fit, then texts are cut, digests never.

        ASCII: the file is whole in every encoding, and characters are bytes.
        """
        document = {k: v for k, v in asdict(self).items() if v not in (None, {}, "", 0) or k == "message"}
        if self.checkpoint_step is not None:
            document["checkpoint_step"] = self.checkpoint_step
        if self.progress is not None:
            document["progress"] = self.progress.document()
        if _length(document) > MAX_TERMINATION_BYTES:
            document.pop("progress", None)
        document = _with_metrics_that_fit(
            document, self.metrics, self.metrics_left_out, MAX_TERMINATION_BYTES, first=self.main_metric
        )
        for name in ("message", "model_problem"):
            if (excess := _length(document) - MAX_TERMINATION_BYTES) > 0 and name in document:
                document[name] = _shortened(str(document[name]), excess)
        return json.dumps(document)

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """Read, with whole characters only; None when the text is not one of ours (empty, a crash's stack trace)."""
        try:
            document = _read(text)
        except ValueError:
            return None
        if not isinstance(document, dict) or not {"reason", "message"} <= document.keys():
            return None
        try:
            return cls(
                reason=str(document["reason"]),
                message=str(document["message"]),
                output=_published(document.get("output")),
                model=_published(document.get("model")),
                checkpoint_step=document.get("checkpoint_step"),
                metrics={str(k): float(v) for k, v in document.get("metrics", {}).items()},
                progress=ProgressReport.from_json(json.dumps(document["progress"])) if "progress" in document else None,
                metrics_left_out=count if isinstance(count := document.get("metrics_left_out", 0), int) else 0,
                main_metric=str(document.get("main_metric", "")),
                model_problem=str(document.get("model_problem", "")),
                complete=document.get("complete") is True,
                end_began=str(document.get("end_began", "")),
            )
        except (TypeError, ValueError, AttributeError, OverflowError):
            return None


def _read(text: str) -> Any:
    try:
        return storable(json.loads(text))
    except RecursionError as error:
        raise ValueError("the text is nested too deeply") from error


def _length(document: dict[str, Any]) -> int:
    return len(json.dumps(document))


def _shortened(text: str, excess: int) -> str:
    """The text without `excess` bytes at its end, and with a mark of the cut. A character takes up to 12 bytes as ASCII."""
    room, kept = len(json.dumps(text)) - 2 - excess - len(_CUT), 0
    for character in text:
        room -= len(json.dumps(character)) - 2
        if room < 0:
            break
        kept += 1
    return f"{text[:kept]} …"


def _with_metrics_that_fit(
    document: dict[str, Any], metrics: dict[str, float], left_out: int, most: int, *, first: str = ""
) -> dict[str, Any]:
    """The document with as many of its metrics as fit into `most` bytes, and the number of the others."""
    if _length(document) <= most:
        return document
    least = document | {"metrics": {}, "metrics_left_out": left_out + len(metrics)}
    kept = _fitting(metrics, most - _length(least), first)
    return document | {"metrics": kept, "metrics_left_out": left_out + len(metrics) - len(kept)}


def _fitting(metrics: dict[str, float], room: int, first: str) -> dict[str, float]:
    """As many as fit into `room` bytes, in their order: those that are to stay longest are tried first."""
    kept: set[str] = set()
    for name, value in measured.by_rank(metrics, first=first).items():
        size = _length({name: value})  # the braces stand for the comma and the space between two
        if size <= room:
            kept.add(name)
            room -= size
    return {name: value for name, value in metrics.items() if name in kept}


def _published(document: Any) -> Published | None:
    return None if document is None else Published(**known(Published, document))
