"""An injector, as a service mesh brings one: every new pod of a namespace gets a container more."""

from typing import Any

GROUP = "admissionregistration.k8s.io/v1"
POLICIES = f"/apis/{GROUP}/mutatingadmissionpolicies"
BINDINGS = f"/apis/{GROUP}/mutatingadmissionpolicybindings"
CONTAINER = "mesh-proxy"


def injector(namespace: str, image: str, command: list[str]) -> dict[str, dict[str, Any]]:
    """By path of their collections: the policy that adds the container, and its binding."""
    name = f"mesh-{namespace}"
    words = ", ".join(f"'{word}'" for word in command)
    container = (
        f"Object.spec.containers{{name: '{CONTAINER}', image: '{image}', imagePullPolicy: 'IfNotPresent', "
        f"command: [{words}]}}"
    )
    policy = {
        "apiVersion": GROUP,
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
                ],
            },
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [
                {
                    "patchType": "JSONPatch",
                    "jsonPatch": {
                        "expression": f"[JSONPatch{{op: 'add', path: '/spec/containers/-', value: {container}}}]"
                    },
                }
            ],
        },
    }
    binding = {
        "apiVersion": GROUP,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name},
    }
    return {POLICIES: policy, BINDINGS: binding}
