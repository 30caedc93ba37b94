"""The only part that speaks to the object store: plain S3, errors mapped to the agent's own in one place (`_failure`).

Reads go through the minio client; writes through presigned URLs and urllib3, because the client offers neither
conditional PUT nor the steps of a multipart upload. Nothing here is particular to one store.
"""

import base64
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from xml.etree import ElementTree as ET

import urllib3
from fovea_api.contract import names, storage
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, MinioAdminException, MinioException, S3Error, ServerError
from minio.helpers import check_bucket_name
from urllib3.exceptions import HTTPError, SSLError

from fovea_agent.connections import CHUNK, Readable, UntilTheEnd, http_pool
from fovea_agent.errors import AgentError, Changed, KeyRefused, Misconfigured, Missing, StoreUnreachable
from fovea_agent.patience import Patience
from fovea_agent.settings import StoreAccess

T = TypeVar("T")

PAGE = 1000
"""Objects in one answer to a listing: no store gives more."""
SIGNATURE_LIFETIME = timedelta(hours=1)

_TRANSIENT = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted"}
_TRANSIENT |= {"ConditionalRequestConflict", "IncompleteBody"}
_TRANSIENT |= {"XMinioServerNotInitialized", "SlowDownRead", "SlowDownWrite"}
# What MinIO answers to requests under way while it shuts down, with status 499.
_TRANSIENT |= {"ClientDisconnected"}
_MISPLACED = {"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "Redirect"}


@dataclass(frozen=True)
class StoredObject:
    """One line of a listing. `etag` is without quotes."""

    key: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True)
class Part:
    """One part of a multipart upload as the store has it."""

    size: int
    etag: str


class Store:
    """One bucket of the object store. Every method tries again through an outage as its Patience says."""

    def __init__(self, access: StoreAccess, patience: Patience, *, connections: int = 16) -> None:
        self.patience = patience
        self._connections = connections
        self.use(access)

    def use(self, access: StoreAccess) -> None:
        """Make all further requests with this key. For a moment at which there is none under way."""
        try:
            check_bucket_name(access.bucket)
        except ValueError as error:
            raise Misconfigured(
                f"Secret {names.OBJECT_STORE_SECRET}, key {storage.SECRET_BUCKET}: {error}; it is a name like "
                f"{storage.BUCKET!r}"
            ) from error
        try:
            ca_bundle = str(access.ca_bundle) if access.ca_bundle else None
            http = http_pool(self._connections, ca_bundle, self.patience.left)
        except (ssl.SSLError, OSError) as error:
            raise Misconfigured(f"Secret {names.OBJECT_STORE_SECRET}, key ca.crt: {error}") from error
        self._client = Minio(
            access.host,
            access_key=access.access_key,
            secret_key=access.secret_key,
            secure=access.secure,
            # Without it the client asks for the bucket's location, which a key for one prefix may not.
            region=access.region,
            http_client=http,
        )
        self._http, self.access, self.bucket = http, access, access.bucket

    def at(self, bucket: str) -> "Store":
        """The same store and key, another bucket; ValueError when no bucket can have this name."""
        if bucket == self.bucket:
            return self
        check_bucket_name(bucket)
        return Store(replace(self.access, bucket=bucket), self.patience)

    # -- reading ----------------------------------------------------------------------------------------------------

    def objects(self, prefix: str) -> list[StoredObject]:
        """All objects whose key starts with `prefix`, in order of key."""
        return list(self.listing(prefix))

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        """The same one after the other, without having millions in memory at once; an outage goes on where it was."""
        last: str | None = None
        while True:
            page = self.patience.run(partial(self._page, prefix, last), f"list {prefix}")
            yield from page
            if len(page) < PAGE:
                return
            last = page[-1].key

    def _page(self, prefix: str, after: str | None) -> list[StoredObject]:
        with self._mapped(prefix):
            found = self._client.list_objects(self.bucket, prefix=prefix, recursive=True, start_after=after)
            return [
                StoredObject(o.object_name, o.size or 0, (o.etag or "").strip('"'), o.last_modified)
                for _, o in zip(range(PAGE), found, strict=False)
            ]

    def children(self, prefix: str, limit: int = 1000) -> list[str]:
        """Keys and folders (with a closing slash) directly below `prefix`, which ends in a slash or is empty."""

        def once() -> list[str]:
            with self._mapped(prefix):
                found = self._client.list_objects(self.bucket, prefix=prefix)
                return [item.object_name for _, item in zip(range(limit), found, strict=False)]

        return self.patience.run(once, f"list {prefix}")

    def find(self, key: str) -> StoredObject | None:
        """The object of exactly this key. By listing: a key for one prefix may be told 403 for what is missing."""

        def once() -> StoredObject | None:
            with self._mapped(key):
                for o in self._client.list_objects(self.bucket, prefix=key):
                    if o.object_name == key:
                        return StoredObject(key, o.size or 0, (o.etag or "").strip('"'), o.last_modified)
                    break  # listings are in order of key: the exact one comes first
                return None

        return self.patience.run(once, f"find {key}")

    def read(self, key: str) -> bytes:
        """A small object's content; raises Missing."""

        def once() -> bytes:
            return b"".join(self.stream(key))

        try:
            return self.patience.run(once, f"read {key}")
        except KeyRefused:
            if self.find(key) is None:
                raise Missing(f"s3://{self.bucket}/{key} is not in the store") from None
            raise

    def stream(self, key: str, *, offset: int = 0, etag: str = "") -> Iterator[bytes]:
        """Chunks from `offset` on; Changed when the object is not `etag` any more. Not retried: the reader resumes."""
        headers: dict[str, Any] = {"If-Match": f'"{etag}"'} if etag else {}
        with self._mapped(key):
            response = self._client.get_object(self.bucket, key, offset=offset, request_headers=headers)
            try:
                yield from response.stream(CHUNK)
            finally:
                response.close()
                response.release_conn()

    # -- writing ----------------------------------------------------------------------------------------------------

    def put(self, key: str, body: Callable[[], Readable], size: int, md5: bytes) -> str:
        """Write an object, checked by the store against its MD5; returns the ETag."""

        def once() -> str:
            return _etag(self._send("PUT", key, body=body(), size=size, headers={"Content-MD5": _base64(md5)}))

        return self.patience.run(once, f"write {key}")

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless one of this key exists; False when it does: exactly one of many writers gets True."""

        def once() -> bool:
            try:
                self._send("PUT", key, body=data, size=len(data), headers={"If-None-Match": "*"})
            except Changed:
                return False
            return True

        return self.patience.run(once, f"write {key}")

    def remove(self, keys: Iterable[str]) -> None:
        """Delete objects; those that are gone already do not matter."""
        wanted = list(keys)

        def once() -> None:
            with self._mapped(wanted[0]):
                for error in self._client.remove_objects(self.bucket, [DeleteObject(key) for key in wanted]):
                    raise _failure(self.access, self.bucket, str(error.name), 0, error.code, error.message)

        if wanted:
            self.patience.run(once, f"remove {wanted[0]}")

    def make_bucket(self) -> bool:
        """Make the bucket unless it exists; True when it was made."""

        def once() -> bool:
            with self._mapped(""):
                if self._client.bucket_exists(self.bucket):
                    return False
                self._client.make_bucket(self.bucket, location=self.access.region)
                return True

        return self.patience.run(once, f"make bucket {self.bucket}")

    # -- multipart --------------------------------------------------------------------------------------------------

    def begin_multipart(self, key: str) -> str:
        """Start an upload in parts; returns its id."""

        def once() -> str:
            answer = ET.fromstring(self._send("POST", key, query={"uploads": ""}).data)  # noqa: S314 - our own store
            return answer.findtext("{*}UploadId") or ""

        return self.patience.run(once, f"begin {key}")

    def put_part(self, key: str, upload: str, number: int, body: Callable[[], Readable], size: int, md5: bytes) -> str:
        """Send one part (from 1); returns its ETag."""

        def once() -> str:
            query = {"partNumber": str(number), "uploadId": upload}
            headers = {"Content-MD5": _base64(md5)}
            return _etag(self._send("PUT", key, body=body(), size=size, query=query, headers=headers))

        return self.patience.run(once, f"write {key} part {number}")

    def parts(self, key: str, upload: str) -> dict[int, Part]:
        """Parts that arrived, by number; raises Missing when the upload is no more."""

        def once() -> dict[int, Part]:
            found: dict[int, Part] = {}
            marker = "0"
            while True:
                query = {"uploadId": upload, "part-number-marker": marker}
                answer = ET.fromstring(self._send("GET", key, query=query).data)  # noqa: S314 - our own store
                for part in answer.iter():
                    if part.tag.rpartition("}")[2] == "Part":
                        field = {child.tag.rpartition("}")[2]: child.text or "" for child in part}
                        found[int(field["PartNumber"])] = Part(int(field["Size"]), field["ETag"].strip('"'))
                if (answer.findtext("{*}IsTruncated") or "false") != "true":
                    return found
                marker = answer.findtext("{*}NextPartNumberMarker") or "0"

        return self.patience.run(once, f"list parts of {key}")

    def finish_multipart(self, key: str, upload: str, etags: list[str]) -> None:
        """Make the object of its parts, in order; raises Missing when the upload is no more."""
        body = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>"
            for number, etag in enumerate(etags, start=1)
        )
        data = f"<CompleteMultipartUpload>{body}</CompleteMultipartUpload>".encode()

        def once() -> None:
            response = self._send("POST", key, body=data, size=len(data), query={"uploadId": upload})
            # S3 answers 200 before it is done and may put an error into the body.
            if ET.fromstring(response.data).tag.rpartition("}")[2] == "Error":  # noqa: S314 - our own store
                raise self._refusal(response.status, response.data, key)

        self.patience.run(once, f"complete {key}")

    # -- one request ------------------------------------------------------------------------------------------------

    def _send(
        self,
        method: str,
        key: str,
        *,
        body: Readable | bytes = b"",
        size: int = 0,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        with self._mapped(key):
            if not isinstance(body, bytes):
                body = UntilTheEnd(body, partial(self.patience.check, f"write {key}"))
            url = self._client.get_presigned_url(
                method, self.bucket, key, expires=SIGNATURE_LIFETIME, extra_query_params=dict(query or {})
            )
            response = self._http.request(
                method,
                url,
                body=body,  # type: ignore[arg-type]  # urllib3 asks no more of a file than read()
                headers={**(headers or {}), "Content-Length": str(size)},
                redirect=False,
            )
        if response.status >= 300:
            raise self._refusal(response.status, response.data, key)
        return response

    def _refusal(self, status: int, data: bytes, key: str) -> AgentError:
        code, text = "", data[:200].decode(errors="replace")
        try:
            answer = ET.fromstring(data)  # noqa: S314 - our own store
            code = answer.findtext("{*}Code") or ""
            text = answer.findtext("{*}Message") or text
        except ET.ParseError:
            pass  # a proxy in between answers in its own words
        return _failure(self.access, self.bucket, key, status, code, text)

    def _mapped(self, key: str) -> AbstractContextManager[None]:
        return mapped(self.access, self.bucket, key)


@contextmanager
def mapped(access: StoreAccess, bucket: str, key: str = "") -> Iterator[None]:
    """Turn what the client libraries raise into the agent's own errors."""
    try:
        yield
    except S3Error as error:
        status = error.response.status if error.response is not None else 0
        raise _failure(access, bucket, key, status, error.code or "", error.message or "") from error
    except ServerError as error:
        raise _failure(access, bucket, key, error.status_code, "", str(error)) from error
    except InvalidResponseError as error:
        raise _failure(access, bucket, key, error._code, "", str(error)) from error  # noqa: SLF001 - not public
    except MinioAdminException as error:
        raise _failure(access, bucket, key, int(error._code), "", error._body) from error  # noqa: SLF001 - not public
    except (HTTPError, MinioException, ConnectionError, TimeoutError) as error:
        # Other errors of TLS are those of a wire: a load balancer without a store behind it accepts and hangs up.
        if isinstance(error, SSLError) and any(isinstance(e, ssl.SSLCertVerificationError) for e in error.args):
            raise Misconfigured(
                f"the certificate of {access.endpoint} is not trusted ({error}): put its CA into the key ca.crt of the "
                f"Secret {names.OBJECT_STORE_SECRET}"
            ) from error
        raise StoreUnreachable(f"the object store at {access.endpoint} does not answer: {error}") from error


def _failure(access: StoreAccess, bucket: str, key: str, status: int, code: str, text: str) -> AgentError:
    """What the store's refusal means for us: the one place where S3's codes are read."""
    where = f"s3://{bucket}/{key}"
    said = f"{code or status}: {text}" if text else code or f"status {status}"
    if code == "NoSuchBucket":
        return Misconfigured(
            f"the object store at {access.endpoint} has no bucket {bucket!r}: create it, or correct the key bucket of "
            f"the Secret {names.OBJECT_STORE_SECRET}"
        )
    if code in ("NoSuchKey", "NoSuchUpload") or (status == 404 and not code):
        return Missing(f"{where} is not in the store")
    if code == "BadDigest":
        return Changed(f"the file for {where} changed while it was sent")
    if code == "PreconditionFailed" or status == 412:
        return Changed(f"{where} is not what it was when it was listed")
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
    if status in (401, 403) or code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
        return KeyRefused(
            f"the object store refused the key {access.access_key!r} for {where} ({said}): is it the key of this "
            f"namespace, in the Secret {names.OBJECT_STORE_SECRET}, and may it reach that place?"
        )
    return Misconfigured(f"the object store at {access.endpoint} does not understand a request for {where} ({said})")


def _etag(response: urllib3.BaseHTTPResponse) -> str:
    return str(response.headers.get("etag", "")).strip('"')


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
