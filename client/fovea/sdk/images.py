"""Images in, predictions out: what gRPC and REST have in common."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fovea_api.contract import signatures

from .errors import InvalidError

Image = str | bytes | Path
"""Path of an image file, or the file's bytes."""


@dataclass(frozen=True)
class Prediction:
    """A model's answer for one image: class and scores of a classifier, or all outputs of another model; or an error."""

    source: str
    version: int = 0
    label: str = ""
    score: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """Outputs of a model that is no classifier of Fovea's, as nested lists without the batch dimension.

    Bytes that are no text are {"b64": …}, as TensorFlow Serving's REST API has them.
    """
    error: str = ""

    def document(self) -> dict[str, Any]:
        """For JSON: what is known."""
        known: dict[str, Any] = {"image": self.source}
        if self.error:
            return known | {"error": self.error}
        if self.version:
            known["version"] = self.version
        if self.scores:
            return known | {"label": self.label, "score": self.score, "scores": dict(self.scores)}
        return known | {"outputs": dict(self.outputs)}


def load(image: Image) -> tuple[str, bytes]:
    """Name and bytes of an image; raises InvalidError when the file cannot be read."""
    if isinstance(image, bytes):
        return f"{len(image)} bytes", image
    try:
        return str(image), Path(image).read_bytes()
    except OSError as error:
        raise InvalidError(f"cannot read image {image}: {error.strerror or error}") from error


def from_outputs(source: str, version: int, outputs: Mapping[str, Any]) -> Prediction:
    """The prediction from named outputs of a request with one image (their first dimension is 1)."""
    plain = {name: _text(_first(value)) for name, value in outputs.items()}
    classes, scores = plain.get(signatures.CLASSES_OUTPUT), plain.get(signatures.SCORES_OUTPUT)
    if isinstance(classes, list) and isinstance(scores, list) and len(classes) == len(scores) and scores:
        by_class = {str(name): float(score) for name, score in zip(classes, scores, strict=True)}
        best = max(by_class, key=lambda name: by_class[name])
        label = str(plain.get(signatures.LABEL_OUTPUT, best))
        return Prediction(source, version, label, by_class.get(label, by_class[best]), by_class)
    return Prediction(source, version, outputs=plain)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    return [_text(item) for item in value] if isinstance(value, list) else value
