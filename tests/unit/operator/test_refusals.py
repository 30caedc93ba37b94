"""What the API server says against a pod, and which limit of the namespace is named as the cause."""

import pytest
from fovea_operator.reconcile.shared import platform
from support.decision_table import decide
from support.observations import job, machine, observed

SAID = {
    'pods "p" is forbidden: maximum cpu usage per Container is 20m, but request is 50m': "LimitRange",
    'pods "p" is forbidden: minimum memory usage per Pod is 4Gi, but request is 128Mi': "LimitRange",
    'pods "p" is forbidden: memory max limit to request ratio per Container is 1, but provided ratio is 4.000000': "LimitRange",
    'Pod "p" is invalid: spec.initContainers[0].resources.requests: Invalid value: "50m": must be less than or equal to '
    "cpu limit of 20m": "LimitRange",
    'Pod "p" is invalid: spec.containers[0].resources.requests: Invalid value: "4Gi": must be less than or equal to '
    "ephemeral-storage limit of 1Gi": "LimitRange",
    'pods "p" is forbidden: exceeded quota: team, requested: pods=1, used: pods=3, limited: pods=3': "ResourceQuota team",
    'pods "p" is forbidden: failed quota: team: must specify limits.cpu for: fovea-fetch,fovea-sync,trainer': (
        "ResourceQuota team of the namespace wants limits.cpu of every container"
    ),
    'pods "p" is forbidden: failed quota: team: must specify cpu for: trainer; memory for: trainer': "wants cpu, memory of",
    'pods "p" is forbidden: error looking up service account vision/nobody: serviceaccount "nobody" not found': (
        "There is no ServiceAccount nobody in the namespace: create it (kubectl create serviceaccount nobody)"
    ),
    'pods "p" is forbidden: no PriorityClass with name urgent was found': "There is no PriorityClass urgent",
    'pods "p" is forbidden: pod rejected: RuntimeClass "gv" not found': "There is no RuntimeClass gv: ask the platform team",
    'pods "p" is forbidden: exceeded quota: team, requested: count/pods=1, used: count/pods=3, limited: count/pods=3': (
        "ResourceQuota team of the namespace counts pods that have ended as well, and is used up: delete jobs that have ended"
    ),
    'Internal error occurred: failed calling webhook "mesh": failed to call webhook: no endpoints available': (
        "Webhook mesh of the cluster does not answer: ask the platform team"
    ),
    'pods "p" is forbidden: unable to create new content in namespace team because it is being terminated': (
        "The namespace is being deleted: nothing new can be made in it."
    ),
    "ValidatingAdmissionPolicy 'images' denied request: not ours": "",
    "": "",
}


@pytest.mark.parametrize("said", SAID)
def test_the_limit_of_the_namespace_is_named_with_what_to_change(said: str) -> None:
    found = platform.cause_of_refusal(said, "huge")
    assert SAID[said] in found
    assert bool(found) == bool(SAID[said])
    of_the_machine = "MachineType huge" in found or "machine type than huge" in found
    of_others = any(word in found for word in ("ServiceAccount", "ebhook", "have ended as well", "being deleted"))
    assert not found or of_others or of_the_machine


INVALID = (
    'Pod "digits-chief-0-0" is invalid: spec.affinity.podAffinity.required[0].topologyKey: Invalid value: "a b": no'
)


@pytest.mark.parametrize(
    ("of", "options", "final"),
    [
        ({}, {"affinity": {}}, True),
        ({"podLabels": {"a": "b"}}, {"affinity": {}}, False),
        ({"affinity": {}}, {}, False),
    ],
)
def test_what_spec_pod_alone_brings_and_can_never_be_ends_the_job(
    of: dict[str, object], options: dict[str, object], final: bool
) -> None:
    seen = observed(job(pod=options), machine_types=[machine(**of)], refused=INVALID)
    status = decide(seen).status
    assert status is not None
    assert (status["state"] == "FAILED") is final
    assert ("no pod can be made of spec.pod" in status["message"]) is final
