"""What the object store's refusals mean for the agent: the one place where S3's codes are read."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree import ElementTree as ET

from fovea_api.contract import names
from urllib3.exceptions import HTTPError, SSLError

from fovea_agent.errors import (
    AgentError,
    Changed,
    Corrupt,
    KeyAbsent,
    KeyRefused,
    KeyUnknown,
    Misconfigured,
    Missing,
    StoreUnreachable,
)
from fovea_agent.s3_client import InvalidResponseError, MinioAdminException, MinioException, S3Error, ServerError
from fovea_agent.settings import StoreAccess

_TRANSIENT = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted"}
_TRANSIENT |= {"ConditionalRequestConflict", "IncompleteBody"}
_TRANSIENT |= {"XMinioServerNotInitialized", "SlowDownRead", "SlowDownWrite"}
# What MinIO answers to requests under way while it shuts down, with status 499.
_TRANSIENT |= {"ClientDisconnected"}
_MISPLACED = {"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "Redirect"}
# Stores that keep objects as files cannot hold `a` beside `a/b`. The status says 409, but no second try can succeed.
_FILE_AND_FOLDER = {
    "ObjectParentIsFile",
    "ExistingObjectIsDirectory",
    "XMinioParentIsObject",
    "XMinioObjectExistsAsDirectory",
}
_ABSENT_KEY = {"InvalidAccessKeyId", "XAdminUserNotFound"}
_UNKNOWN_KEY = {"SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "InvalidClientTokenId"}


@contextmanager
def mapped(access: StoreAccess, bucket: str, key: str = "") -> Iterator[None]:
    """Turn what the client libraries raise into the agent's own errors."""
    try:
        yield
    except S3Error as error:
        status = error.response.status if error.response is not None else 0
        raise failure(access, bucket, key, status, error.code or "", error.message or "") from error
    except ServerError as error:
        raise failure(access, bucket, key, error.status_code, "", str(error)) from error
    except InvalidResponseError as error:
        raise failure(access, bucket, key, error._code, "", str(error)) from error  # noqa: SLF001 - not public
    except MinioAdminException as error:
        raise failure(access, bucket, key, int(error._code), "", error._body) from error  # noqa: SLF001 - not public
    except ET.ParseError as error:
        raise not_understood(access, bucket, key, f"its answer is not XML: {error}") from error
    except (HTTPError, MinioException, ConnectionError, TimeoutError) as error:
        # Other errors of TLS are those of a wire: a load balancer without a store behind it accepts and hangs up.
        if isinstance(error, SSLError) and any(isinstance(e, ssl.SSLCertVerificationError) for e in error.args):
            raise Misconfigured(
                f"the certificate of {access.endpoint} is not trusted ({error}): put its CA into the key ca.crt of the "
                f"Secret {names.OBJECT_STORE_SECRET}"
            ) from error
        raise StoreUnreachable(f"the object store at {access.endpoint} does not answer: {error}") from error


def failure(access: StoreAccess, bucket: str, key: str, status: int, code: str, text: str) -> AgentError:
    """What a refusal with this status, code and text means."""
    where = f"s3://{bucket}/{key}"
    said = f"{code or status}: {text}" if text else code or f"status {status}"
    if code == "NoSuchBucket":
        return Misconfigured(
            f"the object store at {access.endpoint} has no bucket {bucket!r}: create it, or correct the key bucket of "
            f"the Secret {names.OBJECT_STORE_SECRET}"
        )
    if code in ("NoSuchKey", "NoSuchUpload") or (status == 404 and not code):
        return Missing(f"{where} is not in the store")
    if code == "InvalidRange" or status == 416:
        return Corrupt(f"{where} is corrupt: it is shorter than it was when it was published")
    if code == "BadDigest":
        return Changed(f"the file for {where} changed while it was sent")
    if code == "PreconditionFailed" or status == 412:
        return Changed(f"{where} has changed since it was listed")
    if code in _FILE_AND_FOLDER:
        return Misconfigured(f"{where} would be a file and a folder at once, which this store cannot hold ({said})")
    if code in _TRANSIENT or status in (408, 409, 429, 499) or (status >= 500 and status != 501):
        return StoreUnreachable(
            f"the object store at {access.endpoint} cannot answer at the moment ({said}) for {where}"
        )
    if code in _MISPLACED or status in (301, 302, 307, 308):
        return Misconfigured(
            f"the object store does not serve {where} in region {access.region!r} ({said}): correct the key region of "
            f"the Secret {names.OBJECT_STORE_SECRET}"
        )
    if code == "RequestTimeTooSkewed":
        return KeyRefused(f"the object store refused {where}: the clocks of node and store differ too much ({said})")
    if status in (401, 403) or code in {"AccessDenied", *_UNKNOWN_KEY, *_ABSENT_KEY}:
        refused = KeyUnknown if code in _UNKNOWN_KEY or status == 401 else KeyRefused
        return (KeyAbsent if code in _ABSENT_KEY else refused)(
            f"the object store refused the key {access.access_key!r} for {where} ({said}): is it the key of this "
            f"namespace, in the Secret {names.OBJECT_STORE_SECRET}, and may it reach that place?"
        )
    return not_understood(access, bucket, key, said)


def not_understood(access: StoreAccess, bucket: str, key: str, said: str) -> Misconfigured:
    """The store, or a gateway before it, does not know what was asked for: to ask again would not help."""
    return Misconfigured(
        f"the object store at {access.endpoint} does not understand a request for s3://{bucket}/{key} ({said})"
    )
