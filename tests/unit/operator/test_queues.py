"""A job in a queue of Kueue: no pod without quota, what pods get from their flavors, quota that is taken and given back."""

from dataclasses import replace
from typing import Any

import pytest
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.desired.members import Member
from fovea_operator.reconcile.shared.decision import WORKLOAD, Decision, Write
from fovea_operator.reconcile.shared.observed import FlavorRecord, JobObserved, PodSetUpdate
from fovea_operator.reconcile.training import quota
from support.decision_table import RUNNING, SEEN, SUSPENDED, Row, decide, summary
from support.members import of as member_pod
from support.observations import after, at, ended, machine, preparing, running
from support.observations import job as plain_job
from support.workloads import ADMITTED, PREEMPTED, RESERVED, admitted, condition, in_queue, workload

WORKER = Member("worker", 0)
QUEUE = {"queue": "team-a"}
NO_QUOTA = condition(
    "QuotaReserved", "Pending", "insufficient unused quota for cpu in flavor gpus, 2 more needed", true=False
)


def job(status: dict[str, Any] | None = None, **spec: Any) -> TrainingJob:
    return plain_job(status, **({"scheduling": QUEUE} | spec))


TABLE: dict[str, Row] = {
    "without Kueue a job that names a queue waits": Row(
        lambda: in_queue(job(), served=frozenset()),
        {
            "creates": [],
            "state": "QUEUED",
            "conditions": {"Admitted": "False QueueMissing", "Running": "False QueueMissing"},
        },
        "this cluster has no Kueue",
    ),
    "a priority that does not exist is named with those that do": Row(
        lambda: in_queue(job(scheduling=QUEUE | {"priority": "urgent"})),
        {"creates": [], "state": "QUEUED"},
        "no WorkloadPriorityClass of this name; there are: high.",
    ),
    "the Workload comes first, and no pod with it": Row(
        lambda: in_queue(job()), {"creates": ["trainingjob-digits"], "state": "QUEUED"}, "Kueue has not answered yet"
    ),
    "a job waits with Kueue's own words and its place": Row(
        lambda: in_queue(job(), workload=workload(NO_QUOTA), queue_position=3),
        {
            "creates": ["trainingjob-digits"],
            "conditions": {"Admitted": "False WaitingForQuota", "Running": "False WaitingForQuota"},
        },
        "insufficient unused quota for cpu in flavor gpus, 2 more needed. Place 3 in the queue.",
    ),
    "reserved quota is not admission: checks may still refuse it": Row(
        lambda: in_queue(job(), workload=workload(RESERVED)), {"creates": []}, "admission checks have not ended"
    ),
    "an admitted job gets its pod": Row(
        lambda: in_queue(job(), workload=admitted()), {"creates": ["digits-chief-0-0"], "state": None}
    ),
    "a flavor that Fovea does not know is named": Row(
        lambda: in_queue(job(), workload=admitted(), flavors={}),
        {"creates": []},
        "ResourceFlavor 'gpus', which does not exist",
    ),
    "a Workload that somebody has marked as finished grants nothing, and is named": Row(
        lambda: in_queue(job(), workload=admitted(condition("Finished"))),
        {"creates": [], "state": "QUEUED"},
        "marked Workload trainingjob-digits as finished: delete it",
    ),
    "a Workload that is being deleted grants nothing": Row(
        lambda: in_queue(job(), workload=admitted(deleting=True)), {"creates": [], "state": "QUEUED"}
    ),
    "pods stop when the queue takes the quota back": Row(
        lambda: in_queue(job(RUNNING), running(), workload=admitted(PREEMPTED)),
        {"deletes": ["digits-chief-0-0"], "state": "RUNNING", "creates": [], "retries": None},
        "Queue team-a took the job's quota back: Preempted to accommodate a workload of higher priority.",
    ),
    "the quota is given back only when no pod runs": Row(
        lambda: in_queue(
            job(RUNNING | {"suspending": True}),
            running(deleting=True, deletion_deadline=at(600)),
            workload=admitted(PREEMPTED),
        ),
        {"creates": [], "deletes": [], "attempts": {"chief-0": 0}},
    ),
    "the next attempt is written before the quota is given back": Row(
        lambda: in_queue(
            job(RUNNING | {"suspending": True}), ended(code=75, deleting=True), workload=admitted(PREEMPTED)
        ),
        {"creates": [], "attempts": {"chief-0": 1}, "retries": None, "disruptions": 1, "state": "QUEUED"},
        "goes on from its newest checkpoint when it has quota again",
    ),
    "a failure that came before the eviction counts": Row(
        lambda: in_queue(job(RUNNING), ended(code=75), workload=admitted(PREEMPTED)),
        {"retries": 1, "attempts": {"chief-0": 1}},
    ),
    "a success that came before the eviction counts": Row(
        lambda: in_queue(job(RUNNING), ended(), workload=admitted(PREEMPTED)), {"state": "SUCCEEDED"}, now=80
    ),
    "a suspended job leaves its queue": Row(
        lambda: in_queue(job(SUSPENDED, suspend=True), workload=admitted()), {"deletes": ["trainingjob-digits"]}
    ),
    "without a Workload pods go on: Kueue may be on its way out": Row(
        lambda: in_queue(job(RUNNING), running(), served=frozenset()), {"deletes": [], "state": "RUNNING"}
    ),
}


@pytest.mark.parametrize("said", TABLE)
def test_a_job_in_a_queue(said: str) -> None:
    TABLE[said].check()


def test_the_workload_has_a_pod_set_of_each_role_with_what_its_pods_ask_for() -> None:
    distributed = job(
        distribution="ParameterServer",
        roles={"chief": {}, "worker": {"count": 4, "machineType": "big"}, "ps": {"count": 2}},
        scheduling=QUEUE | {"priority": "high"},
    )
    big = machine("big", default=False, cpu="8", memory="64Gi", nodeSelector={"disk": "fast"})
    [child] = decide(in_queue(distributed, machine_types=(machine(), big))).children
    assert child.write is Write.APPLY
    spec = child.manifest["spec"]
    assert {key: spec[key] for key in ("queueName", "priority", "priorityClassRef")} == {
        "queueName": "team-a",
        "priority": 1000,
        "priorityClassRef": {"group": "kueue.x-k8s.io", "kind": "WorkloadPriorityClass", "name": "high"},
    }
    sets = {each["name"]: each for each in spec["podSets"]}
    assert {name: each["count"] for name, each in sets.items()} == {"chief": 1, "worker": 4, "ps": 2}
    asked = sets["worker"]["template"]["spec"]
    assert asked["nodeSelector"] == {"disk": "fast"}
    assert asked["containers"][0]["resources"]["requests"]["cpu"] == "8"
    assert all(one.keys() <= {"name", "image", "resources", "restartPolicy"} for one in asked["containers"]), (
        "no secrets"
    )
    assert [one["restartPolicy"] for one in asked["initContainers"] if one["name"] == "fovea-sync"] == ["Always"]


def test_pods_get_the_labels_and_tolerations_of_their_flavors_and_of_admission_checks() -> None:
    update = PodSetUpdate({"batch": "7"}, {"note": "n"}, {"zone": "b"}, ({"key": "spot", "operator": "Exists"},))
    seen = in_queue(job(), workload=replace(admitted(), updates={"chief": (update,)}))
    [pod] = decide(seen).children
    spec, metadata = pod.manifest["spec"], pod.manifest["metadata"]
    assert spec["nodeSelector"] == {"pool": "a100", "zone": "b"}
    assert [each["key"] for each in spec["tolerations"]] == ["gpu", "spot"]
    assert metadata["labels"]["batch"] == "7"
    assert metadata["annotations"]["note"] == "n"


def test_a_flavor_that_asks_for_nothing_changes_no_pod() -> None:
    plain = decide(in_queue(plain_job())).children
    admitted_to_it = decide(in_queue(job(), workload=admitted(), flavors={"gpus": FlavorRecord()})).children
    assert admitted_to_it == plain


def _written(seen: JobObserved, decision: Decision) -> JobObserved:
    return replace(seen, job=after(seen.job, decision))


def test_preemption_from_admission_to_admission() -> None:
    ready = condition("PodsReady", "Started", "All pods reached readiness")
    seen = in_queue(job(RUNNING), running(), workload=admitted(PREEMPTED, ready))
    stopping = decide(seen, 60)
    assert [deletion.name for deletion in stopping.deletions] == ["digits-chief-0-0"]
    assert not stopping.children, "the quota is not given back while the pod may still run"
    seen = replace(_written(seen, stopping), pods=(ended(code=75, deleting=True, finished=65),))
    written = decide(seen, 70)
    assert not written.children, "the attempt is written first: a crash must not run it twice"
    seen = replace(_written(seen, written), pods=())
    [released] = decide(seen, 71).children
    assert released.write is Write.STATUS
    assert released.manifest["metadata"]["resourceVersion"] == "7"
    status = released.manifest["status"]
    assert status["admission"] is None
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "QuotaReserved": "False",
        "Admitted": "False",
        "Evicted": "True",
        "Requeued": "True",
        "PodsReady": "False",
    }
    waiting = workload(*status["conditions"], version=8)
    seen = replace(seen, workload=waiting)
    queued = decide(seen, 72)
    assert summary(queued)["conditions"]["Admitted"] == "False QueueStoppedJob"
    assert [child.manifest["kind"] for child in queued.children] == ["Workload"]
    again = decide(replace(_written(seen, queued), workload=admitted()), 90)
    assert summary(again)["creates"] == ["digits-chief-0-1"]


def test_an_eviction_after_which_kueue_says_when_to_queue_again() -> None:
    stopped = condition("Evicted", "ClusterQueueStopped", "The ClusterQueue is stopped")
    between = SEEN | {"state": "QUEUED", "attempts": {"chief-0": 1}, "nextAttemptTime": "2026-11-21T10:00:30Z"}
    [released] = decide(in_queue(job(between), workload=admitted(stopped))).children
    requeued = [each["status"] for each in released.manifest["status"]["conditions"] if each["type"] == "Requeued"]
    assert requeued == ["False"]


@pytest.mark.parametrize(
    ("state", "reason"), [("SUCCEEDED", "Succeeded"), ("FAILED", "Failed"), ("CANCELLED", "Failed")]
)
def test_an_ended_job_frees_its_quota_when_its_pods_have_ended(state: str, reason: str) -> None:
    over = job(SEEN | {"state": state, "message": "m", "endTime": "2026-11-21T10:01:00Z"})
    assert not decide(in_queue(over, running(deleting=True), workload=admitted())).children
    [child] = decide(in_queue(over, workload=admitted())).children
    [finished] = [each for each in child.manifest["status"]["conditions"] if each["type"] == "Finished"]
    assert (finished["status"], finished["reason"]) == ("True", reason)
    assert not decide(in_queue(over, workload=admitted(finished))).children, "once"


def test_the_queue_hears_once_that_all_pods_run() -> None:
    distributed = job(RUNNING, distribution="MultiWorkerMirrored", roles={"worker": {"count": 1}})
    chief, worker = running(), member_pod(WORKER, running())
    waits = member_pod(WORKER, preparing())
    assert not decide(in_queue(distributed, chief, waits, workload=admitted())).children
    [child] = decide(in_queue(distributed, chief, worker, workload=admitted())).children
    ready = [each for each in child.manifest["status"]["conditions"] if each["type"] == "PodsReady"]
    assert [each["status"] for each in ready] == ["True"]
    assert not decide(in_queue(distributed, chief, worker, workload=admitted(*ready))).children


def test_the_queue_hears_that_a_pod_does_not_run_any_more() -> None:
    """Kueue may be set to take the quota back when it does not come back in time."""
    servers = job(RUNNING, distribution="ParameterServer", roles={"worker": {"count": 1}, "ps": {"count": 1}})
    ready = condition("PodsReady", "Started", "All pods reached readiness")
    others = (running(), member_pod(Member("ps", 0), running()))
    seen = in_queue(servers, *others, member_pod(WORKER, preparing()), workload=admitted(ready))
    [child] = decide(seen).children
    [said] = [each for each in child.manifest["status"]["conditions"] if each["type"] == "PodsReady"]
    assert (said["status"], said["reason"]) == ("False", "WaitForRecovery")


@pytest.mark.parametrize(("place", "said"), [(1, 1), (20, 20), (21, 30), (200, 200), (201, 300), (1000, 1000)])
def test_places_far_back_are_rounded_up(place: int, said: int) -> None:
    assert quota.rounded(place) == said


def test_a_job_of_another_controller_is_left_alone() -> None:
    seen = in_queue(job(RUNNING, managedBy="kueue.x-k8s.io/multikueue", cancel=True), running())
    assert decide(seen) == Decision()
    ours = in_queue(job(RUNNING, managedBy="fovea.dev/operator", cancel=True), running())
    assert summary(decide(ours))["deletes"] == ["digits-chief-0-0"]


def test_what_is_written_names_the_api_of_kueue() -> None:
    [child] = decide(in_queue(job())).children
    assert (child.manifest["apiVersion"], child.manifest["kind"]) == WORKLOAD
    assert child.manifest["metadata"]["ownerReferences"][0]["controller"] is True


def test_admitted_is_needed_beside_reserved() -> None:
    assert summary(decide(in_queue(job(), workload=workload(ADMITTED))))["creates"] == ["trainingjob-digits"]
