"""What a rollout's comparator shows of the answers that it has compared."""

import math

from prometheus_client.parser import text_string_to_metric_families

from fovea_operator.desired.comparator import METRICS_PORT
from fovea_operator.reconcile.shared.traffic import NOT_COMPARED, Compared

_TOTAL, _DRIFT, _FAILED = (f"fovea_comparator_{what}_total" for what in ("compared", "drift", "candidate_failed"))


class Comparisons:
    """The sum of what comparators have counted while they were read: it never goes back."""

    def __init__(self) -> None:
        self.total = NOT_COMPARED
        self._seen: dict[str, Compared] = {}

    def take(self, address: str, counts: Compared) -> None:
        """Add what a comparator has counted since it was read last. What it counted before the first reading is nobody's."""
        before = self._seen.get(address)
        self._seen[address] = counts
        if before is not None:
            self.total = self.total + counts.since(before)


def comparator_url(address: str) -> str:
    """Where a comparator shows its counts."""
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{METRICS_PORT}/metrics"


def read_compared(text: str) -> Compared:
    """The counts. Raises ValueError for what no comparator writes."""
    found = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    counts = [found.get(name, 0.0) for name in (_TOTAL, _DRIFT, _FAILED)]
    if not all(math.isfinite(count) and count >= 0 for count in counts):
        raise ValueError(f"no counts: {counts}")
    return Compared(int(found.get(_TOTAL, 0)), float(found.get(_DRIFT, 0.0)), int(found.get(_FAILED, 0)))
