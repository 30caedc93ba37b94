"""The one check that CEL inside a CRD cannot make: `TrainingJob.spec.args` holds strings, numbers and booleans and never changes.

A map whose values have several types has no structural value schema, so CRD rules do not see it. A ValidatingAdmissionPolicy
(CEL too, no webhook) sees the raw object.
"""

from typing import Any

from .common import GROUP, VERSION

_NAME = f"trainingjob-args.{GROUP}"


def policies() -> list[dict[str, Any]]:
    """The policy and its binding."""
    args = "object.spec.args"
    scalar = " || ".join(f"type({args}[k]) == {name}" for name in ("string", "int", "double", "bool"))
    return [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": _NAME, "labels": {"app.kubernetes.io/part-of": "fovea"}},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "resourceRules": [
                        {
                            "apiGroups": [GROUP],
                            "apiVersions": [VERSION],
                            "operations": ["CREATE", "UPDATE"],
                            "resources": ["trainingjobs"],
                        }
                    ]
                },
                "validations": [
                    {
                        "expression": f"!has({args}) || {args}.all(k, {scalar})",
                        "message": "spec.args: every value must be a string, a number or a boolean; write a list as one string, "
                        'for example hidden: "128 32"',
                    },
                    {
                        "expression": f"!has({args}) || {args}.all(k, k.matches('^[a-zA-Z]([-_.a-zA-Z0-9]{{0,62}}[a-zA-Z0-9])?$'))",
                        "message": "spec.args: names are flags without dashes in front, for example learning-rate",
                    },
                    {
                        "expression": f"!has({args}) || {args}.all(k, type({args}[k]) != string || {args}[k].size() <= 4096)",
                        "message": "spec.args: a value has at most 4096 characters; put longer text into a file of spec.inputs",
                    },
                    {
                        "expression": "request.operation == 'CREATE' || (has(object.spec.args) == has(oldObject.spec.args) && "
                        f"(!has({args}) || {args} == oldObject.spec.args))",
                        "message": "spec.args is immutable: submit a new job instead",
                    },
                ],
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": _NAME, "labels": {"app.kubernetes.io/part-of": "fovea"}},
            "spec": {"policyName": _NAME, "validationActions": ["Deny"]},
        },
    ]
