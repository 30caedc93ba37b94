"""ModelDeployments: versions that are not ready in time, Services that others edit, lost statuses, and what a table says badly."""

from dataclasses import replace
from typing import Any

import pytest
from fovea_api.contract import names
from fovea_operator.reconcile.shared.decision import DEPLOYMENT, SERVICE, Decision
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord, ServiceRecord, ServingObserved
from support.observations import at, index_of, version
from support.rollout_table import (
    CORRUPT,
    CRASH,
    DRAINING,
    NOTHING,
    PULL,
    ROLLING,
    STABLE_1,
    V1,
    V2,
    Row,
    candidate,
    decide,
    held,
    names_of,
)
from support.serving_observations import (
    model_deployment,
    server_pod,
    service_at,
    service_record,
    serving,
    workload,
    written,
)

REBOOT: dict[str, Any] = {"exit_code": 255, "terminated_reason": "Unknown", "finished": at(20)}
REBOOTED = ContainerRecord(running_since=at(21), last_exit_code=255, last_reason="Unknown", last_finished=at(20))
LOG = "loading\n\n\x1b[31mE:\x1b[0m no graph\n"


SERVICE_1 = service_at(V1)


def serves_1(service: ServiceRecord) -> ServingObserved:
    """Version 1 serves behind that Service."""
    return serving(model_deployment(STABLE_1), version(1), workloads=[workload(V1, ready=1)], service=service)


def evicted(**fields: Any) -> PodRecord:
    """A pod of version 1 that its ReplicaSet keeps after it was evicted."""
    ended = ContainerRecord(exit_code=137, terminated_reason="Error")
    server = {names.MODEL_SERVER_CONTAINER: ended}
    return server_pod(
        V1, phase="Failed", reason="Evicted", message="the node was low on memory.", containers=server, **fields
    )


AT_THE_SECOND_TRY = {
    names.FETCH_MODEL_CONTAINER: ContainerRecord(running_since=at(5), last_exit_code=75, last_message="no store")
}
"""The sidecar that brings a model, and stays."""

TABLE: dict[str, Row] = {
    # trouble
    "a fetch that failed once and is under way again is said while its pod is not ready": Row(
        lambda: serving(
            model_deployment(STABLE_1, scaling={"minReplicas": 2}),
            version(1),
            workloads=[workload(V1, ready=1, replicas=2)],
            pods=[server_pod(V1, ready=False, containers=AT_THE_SECOND_TRY)],
            service=SERVICE_1,
        ),
        NOTHING | {"conditions": {"Serving": "True Available", "Progressing": "True StoreUnreachable"}},
        "1 of 2 pods of version 1 answer: container fovea-fetch-model ended with 75.",
    ),
    "a fetch that went well at the second try is no trouble of a pod that is ready": Row(
        lambda: serving(
            model_deployment(STABLE_1, scaling={"minReplicas": 2}),
            version(1),
            workloads=[workload(V1, ready=1, replicas=2)],
            pods=[server_pod(V1, ready=True, containers=AT_THE_SECOND_TRY)],
            service=SERVICE_1,
        ),
        NOTHING | {"conditions": {"Serving": "True Available", "Progressing": "True Starting"}},
        "1 of 2 pods of version 1 answer; the others are starting.",
    ),
    "an image that cannot be pulled is reported while there is time": Row(
        lambda: serving(
            model_deployment(ROLLING),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2)],
            pods=[server_pod(V2, containers={names.MODEL_SERVER_CONTAINER: PULL})],
            service=service_at(V1),
        ),
        NOTHING | {"candidate": 2, "conditions": {"Serving": "True Available", "Progressing": "True ImagePullFailed"}},
        "Version 2 is not ready: the image of model-server cannot be pulled: Back-off pulling image.",
    ),
    "the last lines of a model server's log are quoted in one line": Row(
        lambda: serving(
            model_deployment(held(candidate(1))),
            version(1),
            workloads=[workload(V1)],
            pods=[server_pod(V1, containers={names.MODEL_SERVER_CONTAINER: replace(CRASH, last_message=LOG)})],
            service=service_at(V1),
        ),
        {"conditions": {"Serving": "False ServerFailed", "Progressing": "True ServerFailed"}},
        f"Version 1 is not ready: the model server of pod {V1}-abcde ended with 1: loading / E: no graph.",
    ),
    "a machine type that cannot be read is not said to be missing": Row(
        lambda: serving(
            model_deployment(machineType="big"),
            version(1),
            unreadable_machine_types={"big": "spec.cpu: not a quantity"},
        ),
        NOTHING | {"conditions": {"Serving": "False MachineTypeMissing", "Progressing": "False MachineTypeMissing"}},
        "MachineType 'big' exists and cannot be read; this is for the platform team: spec.cpu: not a quantity.",
    ),
    "pods that no node takes are reported in the scheduler's words": Row(
        lambda: serving(
            model_deployment(held(candidate(1))),
            version(1),
            workloads=[workload(V1)],
            pods=[server_pod(V1, node="", unschedulable="0/1 nodes are available")],
            service=service_at(V1),
        ),
        {"conditions": {"Serving": "False Unschedulable", "Progressing": "True Unschedulable"}},
        "no node takes pod",
    ),
    "a pod that was evicted before is not why the one after it does not answer": Row(
        lambda: serving(
            model_deployment(held(candidate(1))),
            version(1),
            workloads=[workload(V1)],
            pods=[evicted(created=at(5)), server_pod(V1, created=at(10))],
            service=service_at(V1),
        ),
        {"conditions": {"Serving": "False Starting", "Progressing": "True Starting"}},
    ),
    "nor does it hide why": Row(
        lambda: serving(
            model_deployment(held(candidate(1))),
            version(1),
            workloads=[workload(V1)],
            pods=[evicted(created=at(5)), server_pod(V1, created=at(10), node="", unschedulable="no GPU is free")],
            service=service_at(V1),
        ),
        {"conditions": {"Serving": "False Unschedulable", "Progressing": "True Unschedulable"}},
    ),
    "nor does a version end for good by what its fetch said then": Row(
        lambda: serving(
            model_deployment(ROLLING),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2)],
            pods=[
                server_pod(V2, phase="Failed", reason="Evicted", containers={names.FETCH_MODEL_CONTAINER: CORRUPT}),
                server_pod(V2, created=at(10)),
            ],
            service=service_at(V1),
        ),
        NOTHING | {"stable": 1, "candidate": 2, "failed": None},
    ),
    "pods that their node refuses again and again are reported in its words": Row(
        lambda: serving(
            model_deployment(held(candidate(1))),
            version(1),
            workloads=[workload(V1)],
            pods=[
                server_pod(V1, created=at(5), phase="Failed", reason="OutOfcpu", message="not enough cpu"),
                server_pod(
                    V1, created=at(10), phase="Failed", reason="UnexpectedAdmissionError", message="no healthy devices."
                ),
            ],
            service=service_at(V1),
        ),
        {"conditions": {"Serving": "False Unschedulable", "Progressing": "True Unschedulable"}},
        f"node node-1 refused pod {V1}-abcde (UnexpectedAdmissionError): no healthy devices.",
    ),
    "pods that are evicted again and again are reported with the reason": Row(
        lambda: serving(
            model_deployment(held(candidate(1))),
            version(1),
            workloads=[workload(V1)],
            pods=[evicted(created=at(5))],
            service=service_at(V1),
        ),
        {"conditions": {"Serving": "False ServerFailed", "Progressing": "True ServerFailed"}},
        f"pod {V1}-abcde was ended from outside: Evicted: the node was low on memory.",
    ),
    "a pod whose containers ended with its node starts again, and no server has failed": Row(
        lambda: serving(
            model_deployment(held(candidate(1))),
            version(1),
            workloads=[workload(V1)],
            pods=[
                server_pod(
                    V1, containers={names.FETCH_MODEL_CONTAINER: REBOOTED, names.MODEL_SERVER_CONTAINER: REBOOTED}
                )
            ],
            service=service_at(V1),
        ),
        {"conditions": {"Serving": "False Starting", "Progressing": "True Starting"}},
    ),
    "what the server said before its node has restarted is still known": Row(
        lambda: serving(
            model_deployment(held(candidate(1))),
            version(1),
            workloads=[workload(V1)],
            pods=[server_pod(V1, containers={names.MODEL_SERVER_CONTAINER: replace(CRASH, **REBOOT)})],
            service=service_at(V1),
        ),
        {"conditions": {"Serving": "False ServerFailed", "Progressing": "True ServerFailed"}},
        f"the model server of pod {V1}-abcde ended with 1: no saved_model.pb.",
    ),
    "pods that a quota refuses are reported in the API server's words": Row(
        lambda: serving(
            model_deployment(held(candidate(1))),
            version(1),
            workloads=[workload(V1, replica_failure="exceeded quota")],
            service=service_at(V1),
        ),
        {"conditions": {"Serving": "False PodRefused", "Progressing": "True PodRefused"}},
        "Version 1 is not ready: pods are refused: exceeded quota.",
    ),
    "a refused Deployment is reported and its version keeps its deadline": Row(
        lambda: serving(model_deployment(), version(1), refused="exceeded quota: count/deployments.apps"),
        {"conditions": {"Serving": "False Starting", "Progressing": "True PodRefused"}, "wakes": 660},
        "exceeded quota: count/deployments.apps",
    ),
    "a refused Service leaves the old version serving, whatever the deadline": Row(
        lambda: serving(
            model_deployment(ROLLING),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2, ready=1)],
            service=service_at(V1),
            refused="services digits is forbidden: policy",
        ),
        {
            "deletes": [],
            "stable": 1,
            "candidate": 2,
            "draining": [],
            "failed": None,
            "conditions": {"Serving": "True Available", "Progressing": "True PodRefused"},
            "wakes": None,
        },
        "services digits is forbidden: policy",
        now=5000,
    ),
    "a version that the Service still points at does not go, whatever the status says": Row(
        lambda: serving(
            model_deployment(DRAINING),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2, ready=1)],
            service=service_at(V1),
            refused="services digits is forbidden: policy",
        ),
        {"deletes": [], "stable": 2, "draining": [1], "wakes": None},
        now=5000,
    ),
    "a version drains from when the Service has left it": Row(
        lambda: serving(
            model_deployment(DRAINING),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2, ready=1)],
            service=service_at(V1),
        ),
        NOTHING | {"points_at": ["v2"], "stable": 2, "draining": [1], "wakes": 5060},
        now=5000,
    ),
    "pods of a served version that stop answering are reported": Row(
        lambda: serving(
            model_deployment(STABLE_1),
            version(1),
            workloads=[workload(V1, ready=0)],
            pods=[server_pod(V1, containers={names.MODEL_SERVER_CONTAINER: CRASH})],
            service=service_at(V1),
        ),
        NOTHING | {"stable": 1, "conditions": {"Serving": "False ServerFailed", "Progressing": "True ServerFailed"}},
    ),
    "a port that somebody changed at the Service is put right": Row(
        lambda: serves_1(replace(SERVICE_1, ports=SERVICE_1.ports | {"grpc": {"name": "grpc", "port": 8500}})),
        NOTHING | {"points_at": ["v1"]},
    ),
    "a port that somebody took from the Service is put back": Row(
        lambda: serves_1(replace(SERVICE_1, ports={"rest": SERVICE_1.ports["rest"]})),
        NOTHING | {"points_at": ["v1"]},
    ),
    "a label that somebody changed at the Service is put right": Row(
        lambda: serves_1(replace(SERVICE_1, labels=SERVICE_1.labels | {"fovea.dev/model": "cats"})),
        NOTHING | {"points_at": ["v1"]},
    ),
    "what others added to the Service is theirs": Row(
        lambda: serves_1(
            replace(
                SERVICE_1,
                labels=SERVICE_1.labels | {"team": "vision"},
                ports=SERVICE_1.ports | {"debug": {"name": "debug", "port": 9000}},
            )
        ),
        NOTHING,
    ),
    # recovery
    "a lost status is recovered from the Service": Row(
        lambda: serving(
            model_deployment(), version(1), version(2), workloads=[workload(V1, ready=1)], service=service_at(V1)
        ),
        NOTHING | {"creates": [V2], "stable": 1, "candidate": 2},
    ),
    "a candidate whose Deployment was made before a crash is taken up": Row(
        lambda: serving(
            model_deployment(STABLE_1),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2)],
            service=service_at(V1),
        ),
        NOTHING | {"stable": 1, "candidate": 2},
    ),
    "a Service that moved before a crash moves again": Row(
        lambda: serving(
            model_deployment(ROLLING),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2, ready=1)],
            service=service_at(V2),
        ),
        NOTHING | {"stable": 2, "draining": [1]},
    ),
}


@pytest.mark.parametrize("sentence", TABLE)
def test_decision(sentence: str) -> None:
    TABLE[sentence].check()


def test_a_deployment_that_is_being_deleted_is_left_to_its_owner_references() -> None:
    gone = model_deployment()
    gone = gone.model_copy(update={"metadata": gone.metadata.model_copy(update={"deletion_timestamp": "now"})})
    assert decide(serving(gone, version(1))) == Decision()


def test_the_endpoint_names_the_service_and_its_node_ports() -> None:
    service = service_at(V1, type_="NodePort", node_ports={"grpc": 30500, "rest": 30501})
    seen = serving(
        model_deployment(STABLE_1, service={"type": "NodePort"}),
        version(1),
        workloads=[workload(V1, ready=1)],
        service=service,
    )
    status = decide(seen).status
    assert status is not None
    assert status["endpoint"] == {
        "grpc": "digits.vision.svc:8500",
        "rest": "http://digits.vision.svc:8501/v1/models/digits",
        "nodePortGrpc": 30500,
        "nodePortRest": 30501,
    }
    revision_ = V1.rpartition("-")[2]
    assert status["selector"] == (
        f"fovea.dev/model-deployment=digits,fovea.dev/version=1,fovea.dev/revision={revision_}"
    )


def test_a_rollout_from_first_version_to_drained_second_one() -> None:
    """The whole way, each status written before the next look; the template is written once per version."""
    of, workloads, services, created = model_deployment(), (), {}, []
    seen = serving(of, version(1))
    for now, answers in ((0, {}), (5, {V1: 1}), (20, {V1: 1}), (30, {V1: 1, V2: 1}), (100, {V1: 1, V2: 1})):
        if now >= 20:
            seen = replace(seen, versions=index_of([version(1), version(2)]))
        workloads = tuple(
            replace(each, ready_replicas=answers.get(each.name, 0), available_replicas=answers.get(each.name, 0))
            for each in workloads
        )
        seen = replace(seen, model_deployment=of, workloads=workloads, services=tuple(services.values()))
        decision = decide(seen, now)
        of = written(of, decision)
        made = [child.manifest for child in decision.children]
        services |= {m["metadata"]["name"]: service_record(m) for m in made if m["kind"] == "Service"}
        created += names_of(made, "Deployment")
        workloads = (*workloads, *(workload(name) for name in names_of(made, "Deployment")))
        for deletion in decision.deletions:
            if deletion.gvk == SERVICE:
                del services[deletion.name]
        gone = {deletion.name for deletion in decision.deletions if deletion.gvk == DEPLOYMENT}
        workloads = tuple(each for each in workloads if each.name not in gone)
    assert created == [V1, V2]
    assert [each.name for each in workloads] == [V2]
    assert services.keys() == {"digits", V2}
    assert [(place.version, place.role, place.step, place.weight) for place in of.status.places or ()] == [
        (2, "stable", "Serving", 100)
    ]
