"""`TF_CONFIG`: which tasks a distributed job has and which of them this process is. Absent for a single-pod job."""

import json
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class ClusterSpec:
    """The JSON of TF_CONFIG: `cluster` maps a role to host:port addresses, `task` is this process."""

    cluster: dict[str, tuple[str, ...]]
    role: str
    index: int

    @property
    def tasks(self) -> int:
        """How many processes the job has, this one included: no cluster lists an evaluator."""
        return sum(len(addresses) for addresses in self.cluster.values()) + (self.role not in self.cluster)

    def to_env(self) -> str:
        """Serialise for the environment variable."""
        return json.dumps(
            {"cluster": {r: list(a) for r, a in self.cluster.items()}, "task": {"type": self.role, "index": self.index}}
        )

    @classmethod
    def from_env(cls, text: str | None) -> Self | None:
        """Read; None when unset or empty (a single process); raises ValueError when malformed."""
        if not text:
            return None
        document = json.loads(text)
        try:
            cluster = {str(r): tuple(map(str, a)) for r, a in document.get("cluster", {}).items()}
            task = document.get("task", {})
            if not cluster:
                return None
            return cls(cluster, str(task["type"]), int(task["index"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"TF_CONFIG is malformed: {error!r}") from error
