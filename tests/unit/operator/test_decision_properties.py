"""Whatever is observed: decisions never raise and keep their promises. Hypothesis prints the seed of a failure."""

import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

from fovea_api.contract import labels, names
from fovea_api.contract.plan import INPUT_PUBLICATION, Input
from fovea_api.contract.report import ProgressReport
from fovea_api.v1alpha1 import JobState
from fovea_operator.desired.deployment import revision
from fovea_operator.reconcile import model_deployment, training_job
from fovea_operator.reconcile.decision import Decision
from fovea_operator.reconcile.observed import ContainerRecord, DeploymentObserved, JobObserved, PodRecord
from fovea_operator.reconcile.view import attempt_of, ended
from hypothesis import given, settings
from hypothesis import strategies as st
from support.observations import (
    GPU,
    SETTINGS,
    after,
    already_complete,
    at,
    deployment,
    job,
    machine,
    observed,
    published,
    server_pod,
    service_at,
    serving,
    version,
    workload,
    written,
)

PROFILE = settings(max_examples=80)

seconds = st.integers(0, 1000)
moments = st.none() | seconds.map(at)
timestamps = st.none() | seconds.map(lambda s: at(s).isoformat()) | st.sampled_from(["", "soon", "2026-11-21"])
messages = st.sampled_from(
    [
        "",
        "not JSON",
        "{}",
        '{"reason": "Published", "message": "m", "output": {}}',
        '{"reason": "", "message": ""}',
        '{"reason": "Published", "message": "m", "output": {"uri": 1, "digest": 2, "size": "x", "files": null}}',
        '{"reason": "Published", "message": "", "output": {"uri": "s3://b/k", "digest": "x", "size": 1, "files": 1}}',
        '{"reason": "no word 🤗", "message": "half \\ud83e, \\u0000 and \\ufffe", "metrics": {"\\udfff": 1}}',
        '{"reason": "Published", "message": "m", "metrics_left_out": -1, "model_problem": "model.pt \\udcff"}',
        "[" * 4000,
        published().termination_message,
        published(model=None).termination_message,
        already_complete().containers[names.FETCH_CONTAINER].termination_message,
    ]
)

container_records = st.builds(
    ContainerRecord,
    waiting_reason=st.sampled_from(
        [
            "",
            "ContainerCreating",
            "ImagePullBackOff",
            "InvalidImageName",
            "CreateContainerConfigError",
            "CrashLoopBackOff",
        ]
    ),
    waiting_message=st.sampled_from(["", "Back-off", "container has runAsNonRoot and image will run as root"]),
    running_since=moments,
    exit_code=st.none() | st.sampled_from([0, 1, 65, 66, 70, 75, 76, 77, 79, 127, 128, 137, 143, 255, -1]),
    terminated_reason=st.sampled_from(["", "Error", "OOMKilled", "StartError", "Completed"]),
    termination_message=messages,
    started=moments,
    finished=moments,
    last_exit_code=st.none() | st.sampled_from([0, 1, 65, 66, 75, 77]),
    last_message=messages,
)
CONTAINERS = [names.FETCH_CONTAINER, names.SYNC_CONTAINER, names.TRAINER_CONTAINER]


@st.composite
def pods(draw: st.DrawFn, attempt: int) -> PodRecord:
    odd = draw(st.sampled_from([None, None, None, None, "labels", "number"]))
    marks = labels.of_training_pod("digits", names.ROLE_CHIEF, 0, attempt)
    if odd == "labels":
        marks = {}
    if odd == "number":
        marks |= {labels.ATTEMPT: draw(st.sampled_from(["", "x", "-1", "²", "9" * 60]))}
    name = names.training_pod("digits", names.ROLE_CHIEF, 0, attempt)
    deleting = draw(st.booleans())
    return PodRecord(
        namespace="vision",
        name=name,
        uid=f"{name}-uid",
        labels=marks,
        phase=draw(st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown", ""])),
        created=at(draw(seconds)),
        deleting=deleting,
        deletion_deadline=draw(moments) if deleting else None,
        told_to_end=draw(moments) if deleting else None,
        node=draw(st.sampled_from(["", "node-1"])),
        reason=draw(st.sampled_from(["", "Evicted", "NodeLost", "OutOfcpu"])),
        unschedulable=draw(st.sampled_from(["", "0/1 nodes"])),
        disrupted=draw(st.sampled_from(["", "preempted"])),
        containers=draw(
            st.dictionaries(st.sampled_from([*CONTAINERS, "istio-proxy", "istio-init"]), container_records)
        ),
        foreign=draw(st.sampled_from([(), ("istio-proxy",)])),
        publications=draw(st.sampled_from([(), (Input("a", "s3://b/k", INPUT_PUBLICATION, "sha256:0"),)])),
        checkpoint_from=draw(st.sampled_from(["", "s3://fovea/vision/jobs/other/other-uid"])),
    )


odd = st.sampled_from([None, 0, 3, -1, "many", float("nan"), float("inf"), True, 1e300, {}])
reports = st.none() | st.builds(
    ProgressReport,
    step=odd,
    steps=odd,
    epoch=odd,
    metrics=st.sampled_from([{}, {"loss": float("nan")}, {"loss": "low"}, {"loss": 0.5}, None, 3]),
    checkpoint_step=odd,
    checkpoint_digest=odd,
    checkpoint_time=st.sampled_from(["", "soon", 3, "2026-11-21T10:00:00Z"]),
)

conditions = st.lists(
    st.builds(
        lambda kind, status, reason, since, generation: {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": "m",
            "lastTransitionTime": since,
            "observedGeneration": generation,
        },
        st.sampled_from(["Admitted", "Running", "Suspended", "Complete", "Failed", "Serving", "Progressing"]),
        st.sampled_from(["True", "False", "Unknown"]),
        st.sampled_from(
            ["Suspended", "Started", "Retrying", "Resumed", "ModelCorrupt", "ProgressDeadlineExceeded", "Whatever"]
        ),
        st.sampled_from(["2026-11-21T10:00:10Z", "", "soon"]),
        st.none() | st.integers(0, 2),
    ),
    max_size=5,
    unique_by=lambda condition: condition["type"],
)

statuses = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from([state.value for state in JobState]),
        "conditions": conditions,
        "attempts": st.dictionaries(st.sampled_from(["chief-0", "worker-1"]), st.integers(0, 6)),
        "retries": st.integers(0, 5),
        "nextAttemptTime": timestamps,
        "queueTime": timestamps,
        "startTime": timestamps,
        "endTime": timestamps,
        "runningSeconds": st.integers(0, 2000),
        "modelVersion": st.just("digits-v1"),
        "observedGeneration": st.integers(0, 2),
        "checkpoint": st.just({"step": 3}),
        "resolvedInputs": st.sampled_from([[], [{"name": "a", "uri": "s3://b/k", "digest": "sha256:0"}]]),
    },
)

specs = st.fixed_dictionaries(
    {},
    optional={
        "suspend": st.booleans(),
        "cancel": st.booleans(),
        "args": st.dictionaries(
            st.sampled_from(["epochs", "lerning-rate", "flip"]), st.sampled_from([1, "x", True, 0.5])
        ),
        "inputs": st.dictionaries(
            st.sampled_from(["a", "b"]),
            st.sampled_from(
                ["s3://fovea/x/y", "job://other/output", "job://digits/model", "model://digits", "model://digits/2"]
            ),
        ),
        "checkpoint": st.sampled_from([{}, {"from": "job://other"}]),
        "model": st.sampled_from([{"name": "digits"}, {"name": "digits", "deploy": True}]),
        "scaleTier": st.sampled_from(["BASIC", "BASIC_GPU"]),
        "runPolicy": st.fixed_dictionaries(
            {},
            optional={
                "backoffLimit": st.integers(0, 4),
                "maxRunningSeconds": st.integers(1, 600),
                "maxWaitSeconds": st.integers(1, 600),
                "cleanPodPolicy": st.sampled_from(["None", "Running", "All"]),
                "ttlSecondsAfterFinished": st.integers(0, 600),
            },
        ),
    },
)


@st.composite
def observations(draw: st.DrawFn) -> JobObserved:
    attempts = draw(st.lists(st.integers(0, 6), unique=True, max_size=4))
    versions = [version(n, job_uid=draw(st.sampled_from(["", "job-uid"]))) for n in draw(st.sets(st.integers(1, 4)))]
    other = job(draw(statuses), name="other")
    return observed(
        job(draw(statuses), **draw(specs)),
        *(draw(pods(attempt)) for attempt in attempts),
        machine_types=draw(st.sampled_from([[], [machine()], [machine(), GPU]])),
        jobs=draw(st.sampled_from([[], [other]])),
        versions=versions,
        deployments=draw(st.sampled_from([[], [deployment()]])),
        refused=draw(st.sampled_from(["", "exceeded quota"])),
        progress=draw(reports),
        predecessors=tuple(
            draw(pods(attempt)) for attempt in draw(st.lists(st.integers(0, 3), unique=True, max_size=2))
        ),
    )


def created(decision: Decision, kind: str) -> list[dict[str, Any]]:
    return [child.manifest for child in decision.children if child.manifest["kind"] == kind]


@given(observations(), st.integers(0, 1500))
@PROFILE
def test_a_job_s_decision_keeps_its_promises_whatever_is_observed(seen: JobObserved, now: int) -> None:
    before = deepcopy(seen)
    decision = training_job.decide(seen, at(now), SETTINGS)
    assert seen == before, "a decision changes nothing that it was shown"
    assert training_job.decide(seen, at(now), SETTINGS) == decision, "the same observation, the same decision"
    json.dumps(decision.status, allow_nan=False)

    status = seen.job.status
    made = created(decision, "Pod")
    was_over = status.state is not None and status.state.ended
    recorded = (status.attempts or {}).get("chief-0", -1)
    now_recorded = ((decision.status or {}).get("attempts") or {}).get("chief-0", recorded)

    assert len(made) <= 1
    if was_over:
        assert not decision.children, "an ended job never gets a pod again"
        said = (decision.status or status.dump()) | {"observedGeneration": None, "conditions": None}
        assert said == status.dump() | {"observedGeneration": None, "conditions": None}, (
            "an ended job's status is final"
        )
    ends = decision.status is not None and JobState(decision.status["state"]).ended
    if ends:
        assert not made
    told = [event.ended_as for event in decision.events if event.ended_as]
    assert told == ([decision.status["state"]] if ends and not was_over else []), (  # type: ignore[index]
        "one Event says how a job ended, whatever its reason, and none says it of a job that goes on"
    )
    assert now_recorded >= recorded, "attempts never decrease"

    for pod_manifest in made:
        number = int(pod_manifest["metadata"]["labels"][labels.ATTEMPT])
        same = [pod for pod in seen.pods if attempt_of(pod) is not None and attempt_of(pod) >= number]
        assert not same, "no pod for an attempt that has one, nor for one that is over"
        taken = {pod.name for pod in seen.predecessors}
        assert pod_manifest["metadata"]["name"] not in taken, "no pod under the name of a deleted job's"
        assert number >= recorded

    assert len(created(decision, "ModelVersion")) <= 1
    if any(v.spec.lineage and v.spec.lineage.job_uid == "job-uid" for v in seen.versions):
        assert not created(decision, "ModelVersion"), "a job registers one version"
    for manifest in created(decision, "ModelVersion"):
        assert decision.status is not None
        assert decision.status["modelVersion"] == manifest["metadata"]["name"]

    by_name = {pod.name: pod for pod in seen.pods}
    for deletion in decision.deletions:
        pod = by_name.get(deletion.name)
        if pod is None:
            assert deletion.kind == "TrainingJob"
            continue
        number = attempt_of(pod)
        if ended(pod) and number is not None and not was_over:
            assert number <= now_recorded, "an attempt is recorded before its pod goes"


@given(observations(), st.integers(0, 1500))
@PROFILE
def test_statuses_settle_when_nothing_else_changes(seen: JobObserved, now: int) -> None:
    """No status write leads to another one for ever: an operator that wakes itself by its own writes never sleeps."""
    for _ in range(6):
        decision = training_job.decide(seen, at(now), SETTINGS)
        written = after(seen.job, decision)
        if written.status == seen.job.status:
            return
        seen = replace(seen, job=written)
    raise AssertionError(f"still writing: {decision.status}")


def will_be_looked_at(decision: Decision, now: int) -> bool:
    """Whether the key comes back at once: what is made or deleted is news of itself."""
    asked = decision.requeue_at is not None and decision.requeue_at <= at(now)
    return bool(decision.children or decision.deletions or asked)


def asks_for_more(first: Decision, second: Decision) -> bool:
    """Whether the second decision, on the first one's status, does what the first one did not ask to be woken for."""
    wakes, then = first.requeue_at, second.requeue_at
    said = (first.status or {}) | {"startTime": None}  # an estimate, where the pod is not there
    says = (second.status or first.status or {}) | {"startTime": None}
    later = then == wakes or (wakes is not None and (then is None or wakes <= then))
    return bool(second.children or said != says or not later)


@given(observations(), st.integers(0, 1500))
@PROFILE
def test_a_job_is_not_looked_at_after_its_own_status_write_unless_the_decision_asks_for_it(
    seen: JobObserved, now: int
) -> None:
    first = training_job.decide(seen, at(now), SETTINGS)
    if first.status is None or will_be_looked_at(first, now):
        return
    second = training_job.decide(replace(seen, job=after(seen.job, first)), at(now), SETTINGS)
    assert not asks_for_more(first, second)
    kept_for_its_log = {pod.name for pod in seen.pods if ended(pod)}
    assert {deletion.name for deletion in second.deletions} <= kept_for_its_log, "what runs is not left running"


places = st.builds(
    lambda number, revision, since: {
        "version": number,
        "deployment": f"digits-v{number}-{revision}",
        "since": since,
    },
    st.integers(1, 4),
    st.sampled_from(["aaaaaaaa", revision(deployment(), version(1)), revision(deployment(), version(2))]),
    timestamps,
)
serving_statuses = st.fixed_dictionaries(
    {},
    optional={
        "conditions": conditions,
        "stable": places,
        "candidate": places,
        "failed": places,
        "draining": st.lists(places, max_size=3),
        "observedGeneration": st.integers(0, 2),
    },
)


@st.composite
def deployments(draw: st.DrawFn) -> DeploymentObserved:
    named = draw(st.lists(places, max_size=4, unique_by=lambda place: place["deployment"]))
    workloads = [
        workload(place["deployment"], ready=draw(st.integers(0, 2)), deleting=draw(st.booleans())) for place in named
    ]
    records = st.dictionaries(
        st.sampled_from([names.FETCH_MODEL_CONTAINER, names.MODEL_SERVER_CONTAINER]), container_records
    )
    pods_seen = [server_pod(place["deployment"], containers=draw(records)) for place in named]
    spec = {"version": draw(st.sampled_from(["Latest", 1, 2, 9]))}
    return serving(
        deployment(draw(serving_statuses), generation=draw(st.integers(1, 2)), **spec),
        *(
            version(n, approval=draw(st.sampled_from(["Approved", "Rejected"])))
            for n in draw(st.sets(st.integers(1, 4)))
        ),
        workloads=workloads,
        pods=pods_seen,
        service=service_at(draw(places)["deployment"]) if draw(st.booleans()) else None,
        machine_types=draw(st.sampled_from([[], [machine()]])),
        refused=draw(st.sampled_from(["", "exceeded quota"])),
    )


@given(deployments(), st.integers(0, 1500))
@PROFILE
def test_a_deployment_is_not_looked_at_after_its_own_status_write_unless_the_decision_asks_for_it(
    seen: DeploymentObserved, now: int
) -> None:
    first = model_deployment.decide(seen, at(now), SETTINGS)
    if will_be_looked_at(first, now):
        return
    second = model_deployment.decide(replace(seen, deployment=written(seen.deployment, first)), at(now), SETTINGS)
    assert not asks_for_more(first, second)
    assert not second.deletions


@given(deployments(), st.integers(0, 1500))
@PROFILE
def test_a_deployment_s_decision_keeps_its_promises_whatever_is_observed(seen: DeploymentObserved, now: int) -> None:
    status, workloads = seen.deployment.status.dump(), seen.workloads
    before = deepcopy(seen)
    decision = model_deployment.decide(seen, at(now), SETTINGS)
    assert seen == before
    assert decision == model_deployment.decide(seen, at(now), SETTINGS)
    json.dumps(decision.status, allow_nan=False)
    assert decision.status is not None

    stable = decision.status.get("stable")
    gone = {deletion.name for deletion in decision.deletions}
    if stable is not None:
        assert stable["deployment"] not in gone, "what serves is not deleted"
    if seen.refused and seen.service is not None:
        moved = stable is not None and stable["deployment"] != (status.get("stable") or stable)["deployment"]
        assert not moved, "what was refused may be the Service"
    pointed = [m["spec"]["selector"][labels.VERSION] for m in created(decision, "Service")]
    was = status.get("stable")
    if stable is not None and was is not None and stable["deployment"] != was["deployment"]:
        moved_to = next(each for each in workloads if each.name == stable["deployment"])
        assert moved_to.available_replicas >= 1, "the Service moves only to what answers"
        still_there = any(each.name == was["deployment"] for each in workloads)
        drain = seen.deployment.spec.rollout.drain_seconds
        assert drain > 0
        assert not (still_there and was["deployment"] in gone), "the old version drains before it goes"
    if pointed and stable is not None:
        assert pointed == [str(stable["version"])]
