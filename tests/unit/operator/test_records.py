"""What of an object becomes its record."""

from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_operator.cluster import records
from fovea_operator.desired.service import service
from support.observations import at, version
from support.rollout_table import STABLE_1, V1, decide
from support.serving_observations import model_deployment, serving, workload

BOUND = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-21T10:30:00Z"}
UNBOUND = BOUND | {"status": "False", "reason": "Unschedulable", "message": "3 Insufficient cpu"}


def test_a_pod_is_initialized_when_its_program_could_start() -> None:
    metadata = {
        "name": "digits-chief-0-0",
        "namespace": "team",
        "uid": "u-1",
        "creationTimestamp": "2026-11-21T10:00:00Z",
    }
    found = {}
    for status in ("True", "False"):
        condition = {"type": "Initialized", "status": status, "lastTransitionTime": "2026-11-21T10:00:05Z"}
        found[status] = records.pod({"metadata": metadata, "status": {"conditions": [condition]}}).initialized
    assert found == {"True": at(5), "False": None}


@pytest.mark.parametrize(("conditions", "scheduled"), [([BOUND], at(1800)), ([UNBOUND], None), ([], None)])
def test_a_pod_is_scheduled_when_it_got_its_node(conditions: list[dict[str, Any]], scheduled: Any) -> None:
    metadata = {"name": "p", "namespace": "vision", "uid": "u", "creationTimestamp": "2026-11-21T10:00:00Z"}
    assert records.pod({"metadata": metadata, "status": {"conditions": conditions}}).scheduled == scheduled


def test_a_pod_knows_the_containers_of_others_and_when_it_was_told_to_end() -> None:
    metadata = {
        "name": "p",
        "namespace": "vision",
        "uid": "u",
        "creationTimestamp": "2026-11-21T10:00:00Z",
        "deletionTimestamp": "2026-11-21T10:20:00Z",
        "deletionGracePeriodSeconds": 600,
    }
    status = {
        "initContainerStatuses": [{"name": "istio-init"}, {"name": "fovea-fetch"}, {"name": "fovea-sync"}],
        "containerStatuses": [{"name": "istio-proxy"}, {"name": "trainer"}, {"name": "vault-agent"}],
    }
    record = records.pod({"metadata": metadata, "status": status})
    assert record.foreign == ("istio-proxy", "vault-agent")
    assert record.told_to_end == at(600)
    assert record.deletion_deadline == at(1200)


@pytest.mark.parametrize("grace", [10**14, 2**63 - 1])
def test_a_pod_that_somebody_deletes_with_an_endless_grace_period_can_be_read(grace: int) -> None:
    metadata = {
        "name": "p",
        "namespace": "vision",
        "uid": "u",
        "creationTimestamp": "2026-11-21T10:00:00Z",
        "deletionTimestamp": "2295-11-21T10:20:00Z",
        "deletionGracePeriodSeconds": grace,
    }
    record = records.pod({"metadata": metadata})
    assert record.deleting
    assert record.told_to_end is None


def test_a_service_as_it_was_made_is_not_made_again() -> None:
    made = service(model_deployment(), 1, V1.rpartition("-")[2])
    ports = [port | {"nodePort": 30500 + index} for index, port in enumerate(made["spec"]["ports"])]
    stored = {
        "metadata": made["metadata"] | {"uid": "u"},
        "spec": made["spec"] | {"clusterIP": "10.96.0.7", "ports": ports},
    }
    record = records.service(stored)
    assert record.node_ports == {"grpc": 30500, "rest": 30501}
    seen = serving(model_deployment(STABLE_1), version(1), workloads=[workload(V1, ready=1)], service=record)
    assert decide(seen).children == ()


@pytest.mark.parametrize(
    ("annotation", "seconds", "deadline", "is_own"),
    [
        (None, None, None, False),
        (None, 60, "2026-11-21T10:01:00+00:00", False),
        ("60", 60, "2026-11-21T10:01:00+00:00", True),
        ("90", 60, "2026-11-21T10:01:00+00:00", False),  # somebody has lowered it since
        (None, 2**31 - 1, "2094-12-09T13:14:07+00:00", False),
    ],
)
def test_a_pod_s_deadline_counts_from_when_its_kubelet_took_it(
    annotation: str | None, seconds: int | None, deadline: str | None, is_own: bool
) -> None:
    metadata = {"namespace": "vision", "name": "p", "uid": "u", "creationTimestamp": "2026-11-21T09:00:00Z"}
    if annotation:
        metadata["annotations"] = {labels.POD_DEADLINE: annotation}  # type: ignore[assignment]
    spec = {} if seconds is None else {"activeDeadlineSeconds": seconds}
    raw = {
        "metadata": metadata,
        "spec": spec,
        "status": {"startTime": "2026-11-21T10:00:00Z", "reason": "DeadlineExceeded"},
    }
    record = records.pod(raw)
    assert (record.active_deadline and record.active_deadline.isoformat()) == deadline
    assert (record.deadline_is_own, record.reason) == (is_own, "DeadlineExceeded")
    assert records.pod(raw | {"status": {}}).active_deadline is None, "no kubelet has taken it yet"
