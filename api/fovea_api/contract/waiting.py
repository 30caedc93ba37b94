"""What the activator and the operator say to each other about requests that wait for a model without a pod."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from .skew import known

WAITING_PATH = "/v1/waiting"
"""Path of the operator's endpoint: POST, bearer token of the activator's pod, JSON of `WaitingReport`; the answer is `WaitingAnswer`."""
ALIVE_EVERY = 5.0
"""Seconds between reports without a ModelDeployment, by which an activator shows that it is there."""
REPORT_EVERY = 1.0
"""Seconds between reports on a ModelDeployment while requests to it wait, or are under way, at the activator. The last one says 0."""


@dataclass(frozen=True)
class WaitingReport:
    """Requests of one ModelDeployment at one activator."""

    namespace: str = ""
    name: str = ""
    """Empty: of none. The activator is there, and that is all."""
    version: str = ""
    """The version for which they wait, by the name of its Service."""
    requests: int = 0

    def to_json(self) -> str:
        """Serialise."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read; raises ValueError naming what is wrong."""
        document = known(cls, _object(text))
        try:
            made = cls(**document)
        except TypeError as error:
            raise ValueError(f"a report of waiting requests is malformed: {error}") from error
        words = (made.namespace, made.name, made.version)
        if not (all(isinstance(word, str) for word in words) and isinstance(made.requests, int)):
            raise ValueError("a report of waiting requests has namespace, name, version and a number of requests")
        return made


@dataclass(frozen=True)
class WaitingAnswer:
    """Whether waiting makes sense."""

    unavailable: str = ""
    """Why requests are to wait no longer, as clients read it; empty: they wait."""

    def to_json(self) -> str:
        """Serialise."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read; raises ValueError for what is no answer."""
        return cls(unavailable=str(_object(text).get("unavailable") or ""))


def _object(text: str) -> dict[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError(f"not a JSON object but a {type(document).__name__}")
    return document
