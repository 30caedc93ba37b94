"""Whatever an operator may observe of a job, odd things too: strategies of Hypothesis."""

from fovea_api.contract import labels, names
from fovea_api.contract.plan import INPUT_PUBLICATION, Input
from fovea_api.contract.report import ProgressReport
from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.training_job_status import MemberState
from fovea_operator.reconcile.shared.decision import (
    COSCHEDULING_POD_GROUP,
    POD_GROUP,
    VOLCANO_POD_GROUP,
    WORKLOAD,
)
from fovea_operator.reconcile.shared.observed import (
    ContainerRecord,
    Heard,
    JobObserved,
    Pace,
    PodRecord,
)
from hypothesis import strategies as st
from support.observations import GPU, already_complete, at, job, machine, observed, published, version
from support.serving_observations import model_deployment
from support.workloads import FLAVOR, condition
from support.workloads import workload as queued_as

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
    last_finished=moments,
)
CONTAINERS = [names.FETCH_CONTAINER, names.SYNC_CONTAINER, names.TRAINER_CONTAINER]


@st.composite
def pods(draw: st.DrawFn, attempt: int, role: str = names.ROLE_CHIEF, index: int = 0) -> PodRecord:
    odd = draw(st.sampled_from([None, None, None, None, "labels", "number"]))
    marks = labels.of_training_pod("digits", role, index, attempt)
    if odd == "labels":
        marks = {}
    if odd == "number":
        marks |= {labels.ATTEMPT: draw(st.sampled_from(["", "x", "-1", "²", "9" * 60]))}
    name = names.training_pod("digits", role, index, attempt)
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
        reason=draw(st.sampled_from(["", "Evicted", "NodeLost", "OutOfcpu", "DeadlineExceeded"])),
        unschedulable=draw(st.sampled_from(["", "0/1 nodes"])),
        disrupted=draw(st.sampled_from(["", "preempted"])),
        containers=draw(
            st.dictionaries(st.sampled_from([*CONTAINERS, "istio-proxy", "istio-init"]), container_records)
        ),
        foreign=draw(st.sampled_from([(), ("istio-proxy",)])),
        publications=draw(st.sampled_from([(), (Input("a", "s3://b/k", INPUT_PUBLICATION, "sha256:0"),)])),
        checkpoint_from=draw(st.sampled_from(["", "s3://fovea/vision/jobs/other/other-uid"])),
        active_since=draw(moments),
        active_deadline=draw(moments),
        deadline_is_own=draw(st.booleans()),
    )


refusals = st.sampled_from(["", "exceeded quota", "denied by policy: " + "x" * 40_000])
many_machine_types = [machine(f"machine-type-of-some-team-{number}", default=False) for number in range(900)]
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
    publishing=st.booleans(),
    last_words=messages,
    best_step=odd,
    best_metric=st.sampled_from(["", "accuracy", "x" * 500, 3]),
    best_value=odd,
)

paces = st.none() | st.builds(Pace, st.floats(0, 1e300), st.floats(0, 200))

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
            [
                "Suspended",
                "Started",
                "EndingPod",
                "Retrying",
                "Resumed",
                "ModelCorrupt",
                "ProgressDeadlineExceeded",
                "Whatever",
            ]
        ),
        st.sampled_from(["2026-11-21T10:00:10Z", "", "soon"]),
        st.none() | st.integers(0, 2),
    ),
    max_size=5,
    unique_by=lambda condition: condition["type"],
)

members = st.sampled_from(["chief-0", "worker-0", "worker-1", "ps-0", "ghost-7"])
states_of_members = st.fixed_dictionaries(
    {"state": st.sampled_from([state.value for state in MemberState])},
    optional={"attempt": st.integers(0, 6), "since": timestamps, "step": st.integers(0, 9), "node": st.just("node-1")},
)
statuses = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from([state.value for state in JobState]),
        "conditions": conditions,
        "attempts": st.dictionaries(members, st.integers(0, 6)),
        "retries": st.integers(0, 5),
        "nextAttemptTime": timestamps,
        "nextAttemptTimes": st.dictionaries(members, timestamps.map(str)),
        "queueTime": timestamps,
        "startTime": timestamps,
        "endTime": timestamps,
        "runningSeconds": st.integers(0, 2000),
        "modelVersion": st.just("digits-v1"),
        "observedGeneration": st.integers(0, 2),
        "checkpoint": st.just({"step": 3}),
        "suspending": st.booleans(),
        "storeUnreachable": st.booleans(),
        "members": st.dictionaries(members, states_of_members),
        "cost": st.sampled_from([{"total": 3.5, "ended": 0.25}, {"total": 0}]),
        "progress": st.sampled_from([{}, {"step": 3, "steps": 9, "stepsPerSecond": 0.5, "remainingSeconds": 12}]),
        "endedPrograms": st.dictionaries(members, st.sampled_from([0, 1, 137])),
        "output": st.sampled_from(
            [{"uri": f"s3://fovea/vision/jobs/digits/job-uid/output/{n}", "digest": "sha256:0"} for n in (0, 1)]
        ),
        "resolvedInputs": st.sampled_from([[], [{"name": "a", "uri": "s3://b/k", "digest": "sha256:0"}]]),
    },
)

specs = st.fixed_dictionaries(
    {},
    optional={
        "suspend": st.booleans(),
        "managedBy": st.sampled_from(["fovea.dev/operator", "fovea.dev/operator", "example.com/other"]),
        "scheduling": st.sampled_from(
            [
                {"queue": "team-a"},
                {"queue": "team-a", "priority": "high", "gangTimeoutSeconds": 30},
                {"queue": "team-a", "priority": "missing", "gang": "Always"},
                {"gang": "Always"},
                {"gang": "Never"},
            ]
        ),
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
        "pod": st.sampled_from([{}, {"serviceAccountName": "admin"}, {"priorityClassName": "system-node-critical"}]),
        "scaleTier": st.sampled_from(["BASIC", "BASIC_GPU"]),
        "sync": st.booleans(),
        "runPolicy": st.fixed_dictionaries(
            {},
            optional={
                "backoffLimit": st.integers(0, 4),
                "restartScope": st.sampled_from(["Replica", "Role", "Job"]),
                "maxRunningSeconds": st.integers(1, 600),
                "maxWaitSeconds": st.integers(1, 600),
                "cleanPodPolicy": st.sampled_from(["None", "Running", "All"]),
                "ttlSecondsAfterFinished": st.integers(0, 600),
            },
        ),
    },
)


distributions = st.sampled_from(
    [
        {},
        {},
        {"distribution": "MultiWorkerMirrored", "roles": {"worker": {"count": 2}}, "scaleTier": "CUSTOM"},
        {"distribution": "ParameterServer", "roles": {"worker": {"count": 2}, "ps": {}}, "scaleTier": "CUSTOM"},
        {"distribution": "ParameterServer", "scaleTier": "STANDARD_1"},
        {"distribution": "MultiWorkerMirrored", "roles": {"worker": {}, "evaluator": {}}},
        {"roles": {"evaluator": {}}},
    ]
)
of_others = st.tuples(st.sampled_from(["worker", "ps", "ghost"]), st.integers(0, 2), st.integers(0, 3))


workload_conditions = st.lists(
    st.builds(
        condition,
        st.sampled_from(["QuotaReserved", "Admitted", "Evicted", "Finished", "PodsReady", "Requeued"]),
        st.sampled_from(["Preempted", "Pending", ""]),
        st.sampled_from(["", "no quota: " + "x" * 40_000]),
        true=st.booleans(),
    ),
    unique_by=lambda one: one["type"],
)
queued = st.none() | st.builds(
    lambda conditions, flavors, deleting: queued_as(*conditions, flavors=flavors, deleting=deleting),
    workload_conditions,
    st.sampled_from([None, {}, {"chief": ("gpus",), "worker": ("gpus", "missing"), "ghost": ()}]),
    st.booleans(),
)
served = st.frozensets(st.sampled_from([WORKLOAD, POD_GROUP, COSCHEDULING_POD_GROUP, VOLCANO_POD_GROUP]))


@st.composite
def observations(draw: st.DrawFn) -> JobObserved:
    places = draw(st.lists(of_others, unique=True, max_size=5))
    attempts = draw(st.lists(st.integers(0, 6), unique=True, max_size=4))
    versions = [version(n, job_uid=draw(st.sampled_from(["", "job-uid"]))) for n in draw(st.sets(st.integers(1, 4)))]
    other = job(draw(statuses), name="other")
    there = [draw(pods(attempt)) for attempt in attempts]
    there += [draw(pods(attempt, role, index)) for role, index, attempt in places]
    said = {each.uid: draw(reports) for each in there}
    return observed(
        job(draw(statuses), **draw(specs) | draw(distributions)),
        *there,
        pace=draw(paces),
        heard={uid: Heard(report, draw(paces)) for uid, report in said.items() if report is not None},
        machine_types=draw(st.sampled_from([[], [machine()], [machine(), GPU], many_machine_types])),
        jobs=draw(st.sampled_from([[], [other]])),
        versions=versions,
        model_deployments=draw(st.sampled_from([[], [model_deployment()]])),
        refused=draw(refusals),
        progress=draw(reports),
        predecessors=tuple(
            draw(pods(attempt)) for attempt in draw(st.lists(st.integers(0, 3), unique=True, max_size=2))
        ),
        served=draw(served),
        workload=draw(queued),
        queue_position=draw(st.none() | st.integers(1, 5000)),
        flavors=draw(st.sampled_from([{}, {"gpus": FLAVOR}])),
        priorities=draw(st.sampled_from([{}, {"high": 1000}])),
    )
