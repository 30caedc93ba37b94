"""Paths of the REST API: which model and version a request is about, and what is asked of it."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from typing import Any, Final

from fovea_serving.protocol.errors import invalid_argument

LARGEST_VERSION: Final = 2**63 - 1
"""The largest number that the messages hold."""

_POST: Final = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?:(classify|regress|predict)", re.IGNORECASE
)
_GET: Final = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(?:/(metadata))?", re.IGNORECASE
)
STATUS: Final = "status"
"""What a GET without a verb asks for."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model, maybe one of its versions by number or by label, and what is asked: classify, regress, metadata, ..."""

    model: str
    version: int | None
    label: str | None
    asked: str

    def fill(self, spec: Any) -> None:
        """Name the model and version in an empty ModelSpec."""
        spec.name = self.model
        if self.version is not None:
            spec.version.value = self.version
        if self.label is not None:
            spec.version_label = self.label


def target(method: str, path: str) -> Target:
    """Read a request's method and raw path; raises INVALID_ARGUMENT."""
    if method == "POST" and (match := _POST.fullmatch(path)):
        return _target(match, match.group(4).lower())
    if method == "GET" and (match := _GET.fullmatch(path)):
        if not match.group(1):
            raise invalid_argument("Missing model name in request.")
        return _target(match, (match.group(4) or STATUS).lower())
    raise invalid_argument(f"Malformed request: {method} {path}")


def _target(match: re.Match[str], asked: str) -> Target:
    name, version, label = match.group(1), match.group(2), match.group(3)
    return Target(
        model=urllib.parse.unquote(name),
        version=_version(version) if version else None,
        label=urllib.parse.unquote(label) if label else None,
        asked=asked,
    )


def _version(text: str) -> int:
    digits = text.lstrip("0") or "0"
    # Python refuses to read thousands of digits at all.
    if len(digits) > len(str(LARGEST_VERSION)) or int(digits) > LARGEST_VERSION:
        raise invalid_argument(f"Failed to convert version: {text} to numeric.")
    return int(digits)
