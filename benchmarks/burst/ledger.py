"""What the API server's audit log says about a run: when things happened to each job, and who called how often."""

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from burst.kinds import JobKind

HOUSEKEEPING = ("leases", "secrets")
"""What an operator writes about itself and not about jobs: leadership, a webhook's keys."""


@dataclass
class Ledger:
    """Times (seconds since the epoch) by job, and the operator's calls by sort."""

    kind: JobKind
    submitted: dict[str, float] = field(default_factory=dict)
    pod: dict[str, float] = field(default_factory=dict)
    pod_ended: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    writes: int = 0
    events: int = 0
    reads: int = 0
    failures: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def read(self, records: Iterable[dict[str, Any]]) -> None:
        """Take in finished requests."""
        for record in records:
            reference = record.get("objectRef") or {}
            agent = record.get("userAgent", "").partition("/")[0]
            if agent == self.kind.agent and reference and reference["resource"] not in HOUSEKEEPING:
                self._count(record, reference["resource"])
            if record["responseStatus"]["code"] < 400:
                self._time(record, reference)

    def _time(self, record: dict[str, Any], reference: dict[str, Any]) -> None:
        at = datetime.fromisoformat(record["stageTimestamp"]).timestamp()
        name = reference.get("name", "")
        match record["verb"], reference.get("resource"), reference.get("subresource", ""):
            case "create", self.kind.plural, "":
                self.submitted[name] = at
            case "create", "pods", "":
                self.pod[self.kind.job_of(name)] = at  # the last one of the job
            case "patch", "pods", "status" if self.kind.leads(name):
                self.pod_ended[self.kind.job_of(name)] = at
            case "patch" | "update", self.kind.plural, "status":
                # The last one counts: it is that which makes the job Succeeded.
                self.ended[name] = at

    def _count(self, record: dict[str, Any], resource: str) -> None:
        code = record["responseStatus"]["code"]
        if code >= 400:
            self.failures[code] += 1
        if record["verb"] in ("get", "list"):
            self.reads += 1
        elif resource == "events":
            self.events += 1
        elif record["verb"] != "watch":
            self.writes += 1

    def seconds_to_pod(self) -> list[float]:
        """From a job's submission to the creation of its last pod."""
        return [self.pod[name] - at for name, at in self.submitted.items()]

    def seconds_to_end(self) -> list[float]:
        """From the end of the leading pod to its job's end."""
        return [max(0.0, self.ended[name] - self.pod_ended[name]) for name in self.submitted]

    @property
    def drain(self) -> float:
        """From the first submission to the last job's end."""
        return max(self.ended.values()) - min(self.submitted.values())

    @property
    def submitting(self) -> float:
        """From the first submission to the last."""
        return max(self.submitted.values()) - min(self.submitted.values())


def percentiles(values: list[float]) -> tuple[float, float]:
    """p50 and p99."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
