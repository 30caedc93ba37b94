"""What agents say: the termination message of their containers, and the progress report that `sync` posts to the operator."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from .skew import known

MAX_TERMINATION_BYTES = 4096
"""Kubernetes cuts a termination message here."""

PROGRESS_PATH = "/v1/progress"
"""Path of the operator's endpoint for progress reports: POST, bearer token of the pod, JSON of `ProgressReport`."""
REPORT_TOKEN_FILE = "token"  # noqa: S105 - a file's name
"""The bearer token, below `environment.REPORT_TOKEN_MOUNT`; it is renewed in place."""
TERMINATION_LOG = "/dev/termination-log"
"""Where a container leaves its termination message."""

REASON_FETCHED = "Fetched"
"""`fetch` and `fetch-model`: everything is in place."""
REASON_ALREADY_COMPLETE = "AlreadyComplete"
"""`fetch`, with exit code ALREADY_COMPLETE: output (and model) of an earlier attempt, as that attempt published them."""
REASON_PUBLISHED = "Published"
"""`sync`: output (and model) are in the store; the operator believes success only with this reason and `output`."""
REASON_NOTHING_TO_PUBLISH = "NothingToPublish"
"""`sync` of a pod that does not publish (`TrainingPlan.publish` is false)."""
REASON_PROVISIONED = "Provisioned"
"""`provision`: bucket and keys are there."""
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

    def document(self) -> dict[str, Any]:
        """As a JSON object, without what is not known."""
        return {k: v for k, v in asdict(self).items() if v not in (None, "", {})}

    def to_json(self) -> str:
        """Serialise for the POST body."""
        return json.dumps(self.document(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read; raises ValueError naming what is wrong."""
        document = json.loads(text)
        if not isinstance(document, dict):
            raise ValueError("a progress report is a JSON object")
        return cls(**known(cls, document))


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
    progress: ProgressReport | None = None
    """`sync`: the last progress. A report that is posted while the operator restarts is lost, this is not."""
    complete: bool = False
    """`sync`, `fetch`: the program left its `_SUCCESS`, so it was done, even if it had been told to end."""

    def to_json(self) -> str:
        """Serialise within the limit: progress goes, then metrics that don't fit, then the message is cut, digests never."""
        document = {key: value for key, value in asdict(self).items() if value not in (None, {}) and value is not False}
        if self.progress is not None:
            document["progress"] = self.progress.document()
        if _length(document) > MAX_TERMINATION_BYTES:
            document.pop("progress", None)
        if _length(document) > MAX_TERMINATION_BYTES:
            document["metrics"] = {}
            document["metrics"] = _fitting(self.metrics, MAX_TERMINATION_BYTES - _length(document))
        text = json.dumps(document, sort_keys=True)
        excess = len(text) - MAX_TERMINATION_BYTES
        if excess > 0:
            # json.dumps is ASCII: a character of the message may stand for up to 12 bytes, so cut generously.
            message = str(document["message"])
            document["message"] = message[: max(0, len(message) - excess - 16)] + " …"
            text = json.dumps(document, sort_keys=True)
        return text

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """Read; None when the text is not one of ours (an empty message, a crash's stack trace)."""
        try:
            document = json.loads(text)
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
                complete=document.get("complete") is True,
            )
        except (TypeError, ValueError, AttributeError, OverflowError):
            return None


def _length(document: dict[str, Any]) -> int:
    return len(json.dumps(document, sort_keys=True))  # ASCII: characters are bytes


def _fitting(metrics: dict[str, float], room: int) -> dict[str, float]:
    """As many as fit into `room` bytes, in their order."""
    kept: dict[str, float] = {}
    for name, value in metrics.items():
        size = _length({name: value})  # the braces stand for the comma and the space between two
        if size <= room:
            kept[name] = value
            room -= size
    return kept


def _published(document: Any) -> Published | None:
    return None if document is None else Published(**known(Published, document))
