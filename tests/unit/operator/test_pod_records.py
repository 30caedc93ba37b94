"""What of a pod's status becomes its record."""

from typing import Any

import pytest
from fovea_operator.cluster import records
from support.observations import at

BOUND = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-21T10:30:00Z"}
UNBOUND = BOUND | {"status": "False", "reason": "Unschedulable", "message": "3 Insufficient cpu"}


@pytest.mark.parametrize(("conditions", "scheduled"), [([BOUND], at(1800)), ([UNBOUND], None), ([], None)])
def test_a_pod_is_scheduled_when_it_got_its_node(conditions: list[dict[str, Any]], scheduled: Any) -> None:
    metadata = {"name": "p", "namespace": "vision", "uid": "u", "creationTimestamp": "2026-11-21T10:00:00Z"}
    assert records.pod({"metadata": metadata, "status": {"conditions": conditions}}).scheduled == scheduled
