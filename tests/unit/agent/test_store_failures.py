"""What the store's refusals mean: each leads to the exit code and the words of the contract."""

import io
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest
from fovea_agent.connections import UntilTheEnd, http_pool
from fovea_agent.errors import (
    AgentError,
    Changed,
    Corrupt,
    GraceExceeded,
    KeyAbsent,
    KeyRefused,
    KeyUnknown,
    Misconfigured,
    Missing,
    StoreUnreachable,
)
from fovea_agent.patience import Patience
from fovea_agent.refusals import failure, mapped
from fovea_agent.settings import StoreAccess
from fovea_agent.store import Store
from fovea_api.contract import exit_codes
from urllib3.exceptions import ProtocolError, SSLError

ACCESS = StoreAccess("http://minio:9000", "fovea", "the-key", "the-secret")


@pytest.mark.parametrize(
    ("status", "code", "error", "exit_code", "words"),
    [
        (404, "NoSuchKey", Missing, exit_codes.INPUT_MISSING, "s3://fovea/a/b is not in the store"),
        (404, "", Missing, exit_codes.INPUT_MISSING, "not in the store"),
        (404, "NoSuchBucket", Misconfigured, exit_codes.CONFIGURATION, "has no bucket 'fovea'"),
        (403, "AccessDenied", KeyRefused, exit_codes.KEY_REFUSED, "refused the key 'the-key' for s3://fovea/a/b"),
        (403, "SignatureDoesNotMatch", KeyUnknown, exit_codes.KEY_REFUSED, "Secret fovea-object-store"),
        (403, "InvalidAccessKeyId", KeyAbsent, exit_codes.KEY_REFUSED, "refused the key"),
        (404, "XAdminUserNotFound", KeyAbsent, exit_codes.KEY_REFUSED, "refused the key"),
        (416, "InvalidRange", Corrupt, exit_codes.DATA_CORRUPT, "shorter"),
        (409, "ObjectParentIsFile", Misconfigured, exit_codes.CONFIGURATION, "a file and a folder at once"),
        (409, "ExistingObjectIsDirectory", Misconfigured, exit_codes.CONFIGURATION, "a file and a folder at once"),
        (0, "AccessDenied", KeyRefused, exit_codes.KEY_REFUSED, "s3://fovea/a/b"),
        (403, "RequestTimeTooSkewed", KeyRefused, exit_codes.KEY_REFUSED, "clocks"),
        (412, "PreconditionFailed", Changed, exit_codes.RESTART, "has changed since it was listed"),
        (400, "BadDigest", Changed, exit_codes.RESTART, "changed while it was sent"),
        (409, "ConditionalRequestConflict", StoreUnreachable, exit_codes.RESTART, "cannot answer at the moment"),
        (200, "SlowDownWrite", StoreUnreachable, exit_codes.RESTART, "cannot answer at the moment"),
        (0, "SlowDownWrite", StoreUnreachable, exit_codes.RESTART, "cannot answer at the moment"),
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
    refusal = failure(ACCESS, "fovea", "a/b", status, code, "")
    assert type(refusal) is error
    assert refusal.exit_code == exit_code
    assert words in refusal.message
    assert "the-secret" not in refusal.message


@pytest.fixture
def hangs_up() -> Iterator[int]:
    """The port of a load balancer without a store behind it: it accepts and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return  # the test is over
                with connection:
                    connection.recv(16_384)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_load_balancer_that_hangs_up_during_the_handshake_is_an_outage_not_a_matter_of_certificates(
    hangs_up: int,
) -> None:
    store = Store(StoreAccess(f"https://127.0.0.1:{hangs_up}", "fovea", "a", "b"), Patience(0))
    with pytest.raises(StoreUnreachable, match="does not answer"):
        store.objects("a/")
    with pytest.raises(StoreUnreachable, match="does not answer"):
        store.put_if_absent("a/b", b"")


def test_a_certificate_that_is_not_trusted_is_a_matter_of_configuration() -> None:
    error = SSLError(ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate"))
    with (
        pytest.raises(Misconfigured, match=r"certificate of http://minio:9000 is not trusted.*ca\.crt"),
        mapped(ACCESS, "fovea"),
    ):
        raise error


def test_a_bucket_that_cannot_be_one_is_named_with_the_secrets_key() -> None:
    with pytest.raises(Misconfigured, match="Secret fovea-object-store, key bucket: invalid bucket name My Bucket"):
        Store(StoreAccess("http://minio:9000", "My Bucket", "a", "b"), Patience(0))


def test_no_request_waits_longer_than_the_grace_period_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def urlopen(self: object, method: str, url: str, redirect: bool = True, **options: object) -> None:
        seen.append(options.get("timeout"))
        raise ProtocolError("no answer")

    monkeypatch.setattr("urllib3.PoolManager.urlopen", urlopen)
    left: list[float | None] = [None]
    pool = http_pool(1, None, lambda: left[0])
    for left[0] in (None, 90.0, 20.0, 3.0, 0.1):
        with pytest.raises(ProtocolError):
            pool.request("GET", "http://minio:9000/")
    assert seen[0] is None, "the pool's own"
    limits = [(one.connect_timeout, one.read_timeout) for one in seen[1:]]  # type: ignore[attr-defined]
    assert limits == [(5.0, 60.0), (5.0, 20.0), (3.0, 3.0), (1.0, 1.0)]


def test_a_body_under_way_ends_with_the_grace_period() -> None:
    now = 0.0
    patience = Patience(None, clock=lambda: now)
    patience.end_at(10.0)
    body = UntilTheEnd(io.BytesIO(b"abc"), lambda: patience.check("write x"))
    assert body.read(2) == b"ab"
    now = 11.0
    with pytest.raises(GraceExceeded):
        body.read(2)
