"""TrainingJobs that have no pod yet: refused specs, machine types, inputs, refused pods, pods of a namesake."""

import pytest
from support.decision_table import QUIET, RETRYING, RUNNING, Row
from support.observations import at, ended, job, machine, observed, running, version

OWN = {"container": {"image": "a:1"}}
INVALID = 'Pod "digits-chief-0-0" is invalid: {} (POST /api/v1/namespaces/vision/pods: 422)'

DELETED = {"deletionTimestamp": "2026-11-21T10:00:30Z"}
TABLE: dict[str, Row] = {
    "a time to which nothing can be added says nothing of how long a job has waited": Row(
        lambda: observed(
            job({"state": "QUEUED", "queueTime": "9999-12-31T23:59:59Z"}, runPolicy={"maxWaitSeconds": 60})
        ),
        {"creates": ["digits-chief-0-0"], "state": "QUEUED"},
        now=90,
    ),
    "a machine type that cannot be read is not said to be missing": Row(
        lambda: observed(
            job(scaleTier="CUSTOM", roles={"chief": {"machineType": "big"}}),
            unreadable_machine_types={"big": "spec.cpu: not a quantity"},
        ),
        {"state": "QUEUED", "creates": []},
        "MachineType 'big' exists and cannot be read; this is for the platform team: spec.cpu: not a quantity.",
    ),
    # before a pod
    "a new job gets its pod at once, and its status only if that lasts": Row(
        lambda: observed(job()), QUIET | {"creates": ["digits-chief-0-0"], "wakes": 3}, now=1
    ),
    "a job that is looked at late gets its pod all the same without a status": Row(
        lambda: observed(job()), QUIET | {"creates": ["digits-chief-0-0"], "wakes": 62}
    ),
    "what a job waited for is no longer said once its pod is posted": Row(
        lambda: observed(job({"state": "QUEUED", "queueTime": "2026-11-21T10:00:00Z"})),
        {
            "creates": ["digits-chief-0-0"],
            "state": "QUEUED",
            "conditions": {"Admitted": "True Accepted", "Running": "False PodCreated"},
            "attempts": None,
        },
    ),
    "a job that is being deleted gets no pod": Row(lambda: observed(job(metadata=DELETED)), QUIET),
    "a job that is being deleted says nothing, and its pod is stopped at once": Row(
        lambda: observed(job(RUNNING, metadata=DELETED), running()), QUIET | {"deletes": ["digits-chief-0-0"]}
    ),
    "a pod of a deleted job that has ended, or ends soon, is left to the garbage collector": Row(
        lambda: observed(job(RUNNING, metadata=DELETED), ended(0), running(1, deleting=True, deletion_deadline=at(70))),
        QUIET,
    ),
    "an unknown flag fails the job and it never gets a pod": Row(
        lambda: observed(job(args={"lerning-rate": 0.1})),
        {
            "state": "FAILED",
            "creates": [],
            "conditions": {
                "Admitted": "False InvalidSpec",
                "Running": "False InvalidSpec",
                "Failed": "True InvalidSpec",
            },
        },
        "unknown flag --lerning-rate for image-classifier; did you mean --learning-rate?",
    ),
    "an argument of a wrong type fails the job": Row(
        lambda: observed(job(args={"epochs": "many"})),
        {"state": "FAILED", "creates": []},
        '--epochs of image-classifier must be a whole number, not "many"',
    ),
    "an unknown recipe fails the job": Row(
        lambda: observed(job(trainer={"recipe": "image-clasifier"})),
        {"state": "FAILED", "creates": []},
        'unknown recipe "image-clasifier"; did you mean image-classifier?',
    ),
    "a container's arguments are not checked": Row(
        lambda: observed(job(trainer={"container": {"image": "a:1"}}, args={"lerning-rate": 0.1})),
        QUIET | {"creates": ["digits-chief-0-0"]},
        now=1,
    ),
    "a job that has run is not refused by a newer catalogue": Row(
        lambda: observed(job(RUNNING, args={"gone": 1}), running()), {"state": "RUNNING"}
    ),
    "without a default machine type the job waits": Row(
        lambda: observed(job(), machine_types=[machine(default=False)]),
        {
            "state": "QUEUED",
            "creates": [],
            "conditions": {"Admitted": "False MachineTypeMissing", "Running": "False MachineTypeMissing"},
        },
        "There is no default MachineType: ask the platform team to set spec.default on one (there is: standard).",
    ),
    "a machine type that does not exist is named, with those that do": Row(
        lambda: observed(job(scaleTier="CUSTOM", roles={"chief": {"machineType": "huge"}})),
        {"state": "QUEUED", "creates": []},
        "There is no MachineType 'huge': ask the platform team for it, or submit with one that exists (standard).",
    ),
    "a misspelt machine type comes with the name that was meant": Row(
        lambda: observed(
            job(scaleTier="CUSTOM", roles={"chief": {"machineType": "standrad-gpu"}}),
            machine_types=[machine(), machine("standard-gpu", default=False), machine("tiny", default=False)],
        ),
        {"state": "QUEUED", "creates": []},
        "There is no MachineType 'standrad-gpu'; did you mean standard-gpu? Ask the platform team for it, or submit with "
        "one that exists (standard, standard-gpu, tiny).",
    ),
    "tier BASIC_GPU waits for the machine type standard-gpu": Row(
        lambda: observed(job(scaleTier="BASIC_GPU")),
        {"state": "QUEUED", "creates": []},
        "There is no MachineType 'standard-gpu': ask the platform team for it,",
    ),
    "waiting for a machine type counts against maxWaitSeconds": Row(
        lambda: observed(job(runPolicy={"maxWaitSeconds": 30}), machine_types=[]),
        {
            "state": "CANCELLED",
            "conditions": {"Running": "False MaxWaitSecondsExceeded", "Failed": "True MaxWaitSecondsExceeded"},
        },
        "Cancelled: the job waited longer than runPolicy.maxWaitSeconds (30). There is no default MachineType",
    ),
    "a refused pod leaves the job QUEUED with the API server's words": Row(
        lambda: observed(job(), refused="pods digits is forbidden: exceeded quota: team"),
        {"state": "QUEUED", "conditions": {"Admitted": "True Accepted", "Running": "False PodRefused"}, "wakes": None},
        "The API server refuses the pod: pods digits is forbidden: exceeded quota: team. Fovea tries again. "
        "ResourceQuota team of the namespace is used up",
    ),
    "a job whose pod is refused keeps its deadline": Row(
        lambda: observed(job(runPolicy={"maxWaitSeconds": 90}), refused="exceeded quota"),
        {"state": "QUEUED", "wakes": 90},
    ),
    "a pod that is refused too long cancels the job": Row(
        lambda: observed(job(runPolicy={"maxWaitSeconds": 30}), refused="exceeded quota"),
        {
            "state": "CANCELLED",
            "conditions": {"Running": "False MaxWaitSecondsExceeded", "Failed": "True MaxWaitSecondsExceeded"},
        },
    ),
    "a pod that can never be of this container fails the job with the API server's words": Row(
        lambda: observed(job(trainer=OWN), refused=INVALID.format("spec.containers[0].workingDir: Invalid value: 3")),
        {
            "state": "FAILED",
            "creates": [],
            "conditions": {
                "Admitted": "False InvalidSpec",
                "Running": "False InvalidSpec",
                "Failed": "True InvalidSpec",
            },
        },
        'Failed: no pod can be made of spec.trainer.container. The API server says: Pod "digits-chief-0-0" is invalid: '
        "spec.containers[0].workingDir: Invalid value: 3 (POST /api/v1/namespaces/vision/pods: 422). Correct it and submit",
    ),
    "a pod that is too large for the API server can never be": Row(
        lambda: observed(job(trainer=OWN), refused="etcdserver: request is too large (POST /api/v1/x/pods: 413)"),
        {"state": "FAILED", "creates": []},
        "Shorten env and args of spec.trainer.container",
    ),
    "of several things that are invalid one is enough": Row(
        lambda: observed(
            job(trainer=OWN),
            refused=INVALID.format(
                '[spec.tolerations[0].key: Invalid value: "", spec.volumes[3].configMap.items[0].path: Required value]'
            ),
        ),
        {"state": "FAILED"},
    ),
    "a pod that is invalid by its machine type waits and says whose it is": Row(
        lambda: observed(
            job(trainer=OWN),
            refused=INVALID.format(
                "[spec.containers[0].resources.limits: Invalid value, spec.tolerations[0].key: Required value]"
            ),
        ),
        {"state": "QUEUED", "conditions": {"Admitted": "True Accepted", "Running": "False PodRefused"}},
        "What is invalid may come from MachineType standard or from Fovea's own settings: ask the platform team",
    ),
    "an invalid pod of a recipe is not the user's": Row(
        lambda: observed(job(), refused=INVALID.format("spec.containers[0].image: Required value")),
        {"state": "QUEUED", "conditions": {"Admitted": "True Accepted", "Running": "False PodRefused"}},
    ),
    "a pod that is invalid though the one before it was not waits": Row(
        lambda: observed(
            job(RETRYING, trainer=OWN), refused=INVALID.format("spec.containers[0].image: Required value")
        ),
        {"state": "QUEUED", "conditions": {"Admitted": "True Accepted", "Running": "False PodRefused"}},
        now=80,
    ),
    "a policy's refusal is none for ever, whatever its code": Row(
        lambda: observed(
            job(trainer=OWN),
            refused="pods \"digits-chief-0-0\" is forbidden: ValidatingAdmissionPolicy 'images' denied request: "
            "spec.containers[0].image: not ours (POST /api/v1/namespaces/vision/pods: 422)",
        ),
        {"state": "QUEUED"},
        "Fovea tries again. Free the quota or correct the policy",
    ),
    # pods of a deleted job of the same name
    "a new job waits for the pod of the deleted one of its name": Row(
        lambda: observed(job(), predecessors=(running(deleting=True, deletion_deadline=at(90)),)),
        {
            "state": "QUEUED",
            "creates": [],
            "conditions": {"Admitted": "True Accepted", "Running": "False PredecessorEnding"},
            "wakes": 120,
        },
        "Waiting for pod digits-chief-0-0 of the deleted job of this name to end. If its node does not answer, this job "
        "begins without it at 2026-11-21T10:02:00Z.",
    ),
    "a pod of a deleted job that is not told to end yet is waited for": Row(
        lambda: observed(job(), predecessors=(running(),)), {"state": "QUEUED", "creates": [], "wakes": None}
    ),
    "waiting for a deleted job's pod counts against maxWaitSeconds": Row(
        lambda: observed(
            job(runPolicy={"maxWaitSeconds": 30}), predecessors=(running(deleting=True, deletion_deadline=at(90)),)
        ),
        {"state": "CANCELLED"},
        "(30). Waiting for pod digits-chief-0-0 of the deleted job",
    ),
    "a deleted job's pod on a lost node does not block the new job: its pod has another name": Row(
        lambda: observed(job(), predecessors=(running(deleting=True, deletion_deadline=at(30)),)),
        QUIET | {"creates": ["digits-chief-0-1"]},
    ),
    "names of all that a deleted job left are passed over": Row(
        lambda: observed(
            job(),
            predecessors=(
                ended(0, code=75),
                running(1, deleting=True, deletion_deadline=at(30)),
                running(3, deleting=True, deletion_deadline=at(30)),
            ),
        ),
        QUIET | {"creates": ["digits-chief-0-2"]},
    ),
    "a retry passes over the name of a deleted job's pod on a lost node": Row(
        lambda: observed(
            job(RETRYING), ended(code=75), predecessors=(running(1, deleting=True, deletion_deadline=at(30)),)
        ),
        QUIET | {"creates": ["digits-chief-0-2"]},
        now=80,
    ),
    "the pod of a job whose first attempt is not its number 0 is its current one": Row(
        lambda: observed(job(), running(1), predecessors=(running(0, deleting=True, deletion_deadline=at(30)),)),
        {"state": "RUNNING", "creates": [], "deletes": [], "attempts": {"chief-0": 1}},
    ),
    "a job with a running pod does not wait for a deleted one's": Row(
        lambda: observed(job(RUNNING), running(), predecessors=(running(4),)), {"state": "RUNNING", "deletes": []}
    ),
    # inputs
    "an input of a job that does not exist yet is waited for": Row(
        lambda: observed(job(inputs={"data": "job://prepare/output"})),
        {
            "state": "QUEUED",
            "creates": [],
            "conditions": {"Admitted": "False InputPending", "Running": "False InputPending"},
        },
        "spec.inputs.data: waiting for job prepare, which does not exist: submit it. If it was deleted, its results are at job://prepare@latest/output",
    ),
    "an input of a job that runs is waited for": Row(
        lambda: observed(
            job(inputs={"data": "job://prepare/output"}), jobs=[job({"state": "RUNNING"}, name="prepare")]
        ),
        {"state": "QUEUED", "creates": []},
        "spec.inputs.data: waiting for job prepare to end; it is RUNNING now.",
    ),
    "an input of a job that failed will never be": Row(
        lambda: observed(job(inputs={"data": "job://prepare/output"}), jobs=[job({"state": "FAILED"}, name="prepare")]),
        {"state": "FAILED", "conditions": {"Running": "False InputMissing", "Failed": "True InputMissing"}},
        "spec.inputs.data: job://prepare/output does not exist, since job prepare ended FAILED",
    ),
    "an input of a job that published no model will never be": Row(
        lambda: observed(
            job(inputs={"base": "job://prepare/model"}), jobs=[job({"state": "SUCCEEDED"}, name="prepare")]
        ),
        {"state": "FAILED"},
        "spec.inputs.base: job prepare published no model; name another input.",
    ),
    "a job that names itself as input can never work": Row(
        lambda: observed(job(inputs={"data": "job://digits/output"})),
        {
            "state": "FAILED",
            "conditions": {
                "Admitted": "False InvalidSpec",
                "Running": "False InvalidSpec",
                "Failed": "True InvalidSpec",
            },
        },
        "spec.inputs.data: job://digits/output is this job itself",
    ),
    "an input of a model without an approved version is waited for": Row(
        lambda: observed(
            job(inputs={"base": "model://faces"}), versions=[version(1, model="faces", approval="Rejected")]
        ),
        {"state": "QUEUED", "creates": []},
        "spec.inputs.base: waiting for an approved version of model faces (model://faces)",
    ),
    "an input of a version that does not exist is waited for": Row(
        lambda: observed(job(inputs={"base": "model://faces/3"}), versions=[version(1, model="faces")]),
        {"state": "QUEUED", "creates": []},
        "spec.inputs.base: waiting for version 3 of model faces (model://faces/3)",
    ),
    "a job to continue is waited for until it has ended": Row(
        lambda: observed(job(checkpoint={"from": "job://monday"}), jobs=[job({"state": "RUNNING"}, name="monday")]),
        {"state": "QUEUED", "creates": []},
        "spec.checkpoint.from: waiting for job monday to end",
    ),
    "waiting for an input does not count against maxWaitSeconds": Row(
        lambda: observed(job(inputs={"data": "job://prepare/output"}, runPolicy={"maxWaitSeconds": 30})),
        {"state": "QUEUED", "conditions": {"Admitted": "False InputPending", "Running": "False InputPending"}},
    ),
}


@pytest.mark.parametrize("sentence", TABLE)
def test_decision(sentence: str) -> None:
    TABLE[sentence].check()
