"""What the store's refusals mean: each leads to the exit code and the words of the contract."""

import pytest
from fovea_agent.errors import AgentError, Changed, KeyRefused, Misconfigured, Missing, StoreUnreachable
from fovea_agent.settings import StoreAccess
from fovea_agent.store import _failure
from fovea_api.contract import exit_codes

ACCESS = StoreAccess("http://minio:9000", "fovea", "the-key", "the-secret")


@pytest.mark.parametrize(
    ("status", "code", "error", "exit_code", "words"),
    [
        (404, "NoSuchKey", Missing, exit_codes.INPUT_MISSING, "s3://fovea/a/b is not in the store"),
        (404, "", Missing, exit_codes.INPUT_MISSING, "not in the store"),
        (404, "NoSuchBucket", Misconfigured, exit_codes.CONFIGURATION, "has no bucket 'fovea'"),
        (403, "AccessDenied", KeyRefused, exit_codes.KEY_REFUSED, "refused the key 'the-key' for s3://fovea/a/b"),
        (403, "SignatureDoesNotMatch", KeyRefused, exit_codes.KEY_REFUSED, "Secret fovea-object-store"),
        (0, "AccessDenied", KeyRefused, exit_codes.KEY_REFUSED, "s3://fovea/a/b"),
        (403, "RequestTimeTooSkewed", KeyRefused, exit_codes.KEY_REFUSED, "clocks"),
        (412, "PreconditionFailed", Changed, exit_codes.RESTART, "not what it was"),
        (400, "BadDigest", Changed, exit_codes.RESTART, "changed while it was sent"),
        (409, "ConditionalRequestConflict", StoreUnreachable, exit_codes.RESTART, "cannot answer at the moment"),
        (503, "SlowDown", StoreUnreachable, exit_codes.RESTART, "http://minio:9000"),
        (499, "ClientDisconnected", StoreUnreachable, exit_codes.RESTART, "cannot answer at the moment"),
        (0, "ClientDisconnected", StoreUnreachable, exit_codes.RESTART, "cannot answer at the moment"),
        (502, "", StoreUnreachable, exit_codes.RESTART, "502"),
        (429, "", StoreUnreachable, exit_codes.RESTART, "429"),
        (301, "PermanentRedirect", Misconfigured, exit_codes.CONFIGURATION, "region 'us-east-1'"),
        (501, "NotImplemented", Misconfigured, exit_codes.CONFIGURATION, "does not understand"),
        (400, "InvalidArgument", Misconfigured, exit_codes.CONFIGURATION, "InvalidArgument"),
    ],
)
def test_each_refusal_has_its_remedy(
    status: int, code: str, error: type[AgentError], exit_code: int, words: str
) -> None:
    failure = _failure(ACCESS, "fovea", "a/b", status, code, "")
    assert type(failure) is error
    assert failure.exit_code == exit_code
    assert words in failure.message
    assert "the-secret" not in failure.message
