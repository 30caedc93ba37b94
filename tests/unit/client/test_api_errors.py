"""What an answer of the API server is turned into, case by case."""

import json
from typing import Any

import pytest
from fovea.sdk import errors, logs
from fovea.sdk.api_errors import Target, from_failure, from_response

JOB = Target("create", "TrainingJob", "trainingjobs", "vision", "digits")
PODS = Target("list", "pods of job digits", "pods", "vision", ours=False)
LOG = logs.target("vision", "digits-chief-0-0")


def status(code: int, reason: str = "", message: str = "", **details: Any) -> bytes:
    return json.dumps(
        {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
    ).encode()


CASES: dict[str, tuple[Target, int, bytes, type[errors.FoveaError], str]] = {
    "an object that is missing": (
        JOB, 404, status(404, "NotFound", "not found", name="digits", kind="trainingjobs"), errors.NotFoundError,
        "TrainingJob digits in namespace vision does not exist: see `fovea jobs list -n vision`",
    ),
    "a kind that is missing": (
        JOB, 404, b"404 page not found\n", errors.NotInstalledError,
        "fovea-tensorflow:TAG --set 'objectStore.namespaces={vision}' (docs/how-to/install.md says how to build the images)",
    ),
    "a namespace that is missing": (
        JOB, 404, status(404, "NotFound", "", name="vision", kind="namespaces"), errors.NotFoundError,
        "namespace vision does not exist: create it with `kubectl create namespace vision`",
    ),
    "a kind of Kubernetes that is missing is not Fovea's": (
        PODS, 404, b"404 page not found", errors.NotFoundError, "cannot list pods of job digits in namespace vision",
    ),
    "a name that is taken": (
        JOB, 409, status(409, "AlreadyExists"), errors.AlreadyExistsError, "exists already: choose another name",
    ),
    "an edit that raced": (JOB, 409, status(409, "Conflict", "x"), errors.ConflictError, "by somebody else meanwhile"),
    "a watch that is too old": (JOB, 410, status(410, "Expired", "too old"), errors.ConflictError, "too old by now"),
    "no right": (
        JOB, 403, status(403, "Forbidden", "trainingjobs is forbidden"), errors.ForbiddenError,
        "`kubectl auth can-i create trainingjobs -n vision` asks the cluster. It said: trainingjobs is forbidden",
    ),
    "no right to logs": (
        LOG, 403, status(403, "Forbidden", "pods is forbidden"), errors.ForbiddenError,
        "`kubectl auth can-i get pods/digits-chief-0-0 --subresource=log -n vision` asks the cluster",
    ),
    "no login": (JOB, 401, status(401, "Unauthorized"), errors.ForbiddenError, "does not accept your credentials"),
    "a field that is wrong": (
        JOB, 422,
        status(422, "Invalid", "long text", causes=[
            {"field": "spec.args", "message": "too many"},
            {"field": "spec.args", "message": "too many"},
            {"field": "<nil>", "message": "some validation rules were not checked because the object was invalid"},
        ]),
        errors.InvalidError, "TrainingJob digits in namespace vision is not valid:\n  - spec.args: too many",
    ),
    "a field that is unknown": (
        JOB, 400, status(400, "BadRequest", 'strict decoding error: unknown field "spec.x"'), errors.InvalidError,
        'was refused: strict decoding error: unknown field "spec.x"',
    ),
    "a server that is overloaded": (
        JOB, 429, status(429, "TooManyRequests", "slow down"), errors.UnreachableError, "try again in a moment",
    ),
    "a server that failed": (JOB, 500, b"<html>", errors.UnreachableError, "(HTTP 500: <html>): try again"),
    "an unexpected code": (JOB, 418, b"", errors.FoveaError, "cannot create TrainingJob digits in namespace vision"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_answer_has_its_error_and_next_step(case: str) -> None:
    target, code, body, kind, text = CASES[case]
    error = from_response(target, code, body)
    assert type(error) is kind
    assert text in str(error)
    assert "not checked" not in str(error)


def test_no_answer_is_told_from_an_untrusted_one() -> None:
    plain = from_failure("https://api:6443", ConnectionRefusedError("Connection refused"))
    assert "the API server https://api:6443 does not answer (Connection refused)" in str(plain)
    untrusted = from_failure("https://api:6443", OSError("[SSL: CERTIFICATE_VERIFY_FAILED]"))
    assert "is not trusted" in str(untrusted)


def test_every_error_is_in_the_tree_and_exported() -> None:
    import fovea.sdk

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    for kind in kinds:
        assert issubclass(kind, errors.FoveaError)
        assert kind.__name__ in str(errors.__doc__)
        assert getattr(fovea.sdk, kind.__name__) is kind
