"""The only part that speaks to the object store: plain S3; what its refusals mean is read in `refusals`.

Reads go through the minio client; writes through presigned URLs and urllib3, because the client offers neither
conditional PUT nor the steps of a multipart upload. Nothing here is particular to one store.
"""

import base64
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote
from xml.etree import ElementTree as ET

import urllib3

from fovea_agent.answers import listed_parts, parsed
from fovea_agent.connections import CHUNK, Readable, UntilTheEnd
from fovea_agent.errors import AgentError, Changed, KeyRefused, KeyUnknown, Missing
from fovea_agent.keys import KeyInUse
from fovea_agent.patience import Patience
from fovea_agent.refusals import failure, mapped, not_understood
from fovea_agent.s3_client import DeleteObject, Minio, check_bucket_name
from fovea_agent.settings import StoreAccess
from fovea_agent.signing import signed

T = TypeVar("T")

PAGE = 1000
"""Objects in one answer to a listing: no store gives more."""
LONGEST_FOR_A_SHORTCUT = 60.0
"""Seconds for which a request that can be done without is tried: some stores answer 500 to what they do not know."""
SIGNATURE_LIFETIME = timedelta(hours=1)


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
    """One bucket of the object store. Every method tries again through an outage as its Patience says.

    `mounted` reads the key that is mounted now; with it every method goes on through a change of the key.
    """

    def __init__(
        self,
        access: StoreAccess,
        patience: Patience,
        *,
        connections: int = 16,
        mounted: Callable[[], StoreAccess] | None = None,
    ) -> None:
        self.patience = patience
        self._key = KeyInUse(access, patience, connections, mounted)

    @property
    def access(self) -> StoreAccess:
        """The key in use."""
        return self._key.wire.access

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.access.bucket

    @property
    def _client(self) -> Minio:
        return self._key.wire.client

    def at(self, bucket: str) -> "Store":
        """The same store and key, another bucket; ValueError when no bucket can have this name."""
        if bucket == self.bucket:
            return self
        check_bucket_name(bucket)
        other = copy(self)
        other._key = self._key.at(bucket)  # noqa: SLF001 - of the same class
        return other

    def attempt(
        self,
        method: str,
        key: str,
        operation: Callable[[], T],
        what: str,
        progress: Callable[[], object] = lambda: None,
        *,
        needed: bool = True,
    ) -> T:
        """Run one request or a few again and again, through outages (see Patience) and changes of the key (KeyInUse).

        `method` and `key` say what is asked for and where: what the key must be allowed. Not `needed`: the caller can
        do without (see Shortcuts), so a refusal is raised at once, and an outage after a minute.
        """
        place = (method, self.bucket, key.partition("/")[0])
        once = partial(self._key.through_changes, place, operation, needed=needed)
        return self.patience.run(once, what, progress, None if needed else LONGEST_FOR_A_SHORTCUT)

    # -- reading ----------------------------------------------------------------------------------------------------

    def objects(self, prefix: str) -> list[StoredObject]:
        """All objects whose key starts with `prefix`, in order of key."""
        return list(self.listing(prefix))

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        """The same one after the other, without having millions in memory at once; an outage goes on where it was."""
        last: str | None = None
        while True:
            page = self.attempt("LIST", prefix, partial(self._page, prefix, last), f"list {prefix}")
            yield from page
            if len(page) < PAGE:
                return
            last = page[-1].key

    def _page(self, prefix: str, after: str | None) -> list[StoredObject]:
        with self._mapped(prefix):
            return [_stored(found) for found in self._listed(prefix, PAGE, recursive=True, start_after=after)]

    def children(self, prefix: str, limit: int | None = None) -> list[str]:
        """Keys and folders (with a closing slash) directly below `prefix`, which ends in a slash or is empty.

        What is in the folders is not listed, however much it is. `limit`: at most this number.
        """

        def once() -> list[str]:
            with self._mapped(prefix):
                return [found.object_name for found in self._listed(prefix, limit)]

        return self.attempt("LIST", prefix, once, f"list {prefix}")

    def find(self, key: str) -> StoredObject | None:
        """The object of exactly this key. By listing: a key for one prefix may get 403 for what is missing."""
        return self.attempt("LIST", key, partial(self._find, key), f"find {key}")

    def _find(self, key: str) -> StoredObject | None:
        with self._mapped(key):
            # Listings are in order of key: the exact one comes first.
            return next((_stored(found) for found in self._listed(key, 1) if found.object_name == key), None)

    def _listed(self, prefix: str, most: int | None, **options: Any) -> list[Any]:
        try:
            return list(itertools.islice(self._client.list_objects(self.bucket, prefix=prefix, **options), most))
        except ValueError as error:  # the client's, of XML that is no listing
            raise not_understood(self.access, self.bucket, prefix, str(error)) from error

    def read(self, key: str) -> bytes:
        """A small object's content; raises Missing."""
        return self.reading(key, lambda: b"".join(self.stream(key)))

    def reading(self, key: str, operation: Callable[[], T], progress: Callable[[], object] = lambda: None) -> T:
        """Run `operation`, which reads the object `key` by `stream`, as `attempt` does; raises Missing."""

        def once() -> T:
            try:
                return operation()
            except KeyUnknown:
                raise
            except KeyRefused:
                if self._find(key) is None:
                    raise Missing(f"s3://{self.bucket}/{key} is not in the store") from None
                raise

        return self.attempt("GET", key, once, f"read {key}", progress)

    def stream(self, key: str, *, offset: int = 0, length: int = 0, etag: str = "") -> Iterator[bytes]:
        """Chunks of an object from `offset` on, `length` bytes in all (0: to its end).

        Raises Changed when the object is not `etag` any more. Not retried: the reader resumes, by `reading`.
        """
        headers: dict[str, Any] = {"If-Match": f'"{etag}"'} if etag else {}
        with self._mapped(key):
            response = self._client.get_object(self.bucket, key, offset=offset, length=length, request_headers=headers)
            try:
                for chunk in response.stream(CHUNK):
                    self.patience.check(f"read {key}")
                    yield chunk
            finally:
                response.close()
                response.release_conn()

    # -- writing ----------------------------------------------------------------------------------------------------

    def put(self, key: str, body: Callable[[], Readable], size: int, md5: bytes) -> str:
        """Write an object, checked by the store against its MD5; returns the ETag."""

        def once() -> str:
            return _etag(self._send("PUT", key, body=body(), size=size, headers={"Content-MD5": _base64(md5)}))

        return self.attempt("PUT", key, once, f"write {key}")

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless one of this key exists; False when it does: exactly one of many writers gets True."""
        return self.create(key, lambda: data, len(data))

    def create(self, key: str, body: Callable[[], Readable | bytes], size: int) -> bool:
        """The same with a body of `size` bytes that is not held in memory."""

        def once() -> bool:
            try:
                self._send("PUT", key, body=body(), size=size, headers={"If-None-Match": "*"})
            except Changed:
                return False
            return True

        return self.attempt("PUT", key, once, f"write {key}")

    def copy(self, source: str, etag: str, key: str) -> str:
        """Let the store copy an object that was written by one request; returns its ETag. A shortcut.

        Raises Changed when the source is not `etag` any more, Missing without it.
        """
        headers = self._copied(source, etag)

        def once() -> str:
            copied = self._copy_result(key, {}, headers)
            if copied != etag:  # a store that does not know of copying writes the empty body
                raise not_understood(self.access, self.bucket, key, f"a copy of {etag} has ETag {copied}")
            return copied

        return self.attempt("PUT", key, once, f"copy {source} to {key}", needed=False)

    def copy_part(self, source: str, etag: str, key: str, upload: str, number: int, offset: int, size: int) -> str:
        """Let the store copy a range of an object as one part (from 1) of an upload; returns its ETag. A shortcut."""
        headers = self._copied(source, etag) | {"x-amz-copy-source-range": f"bytes={offset}-{offset + size - 1}"}
        query = {"partNumber": str(number), "uploadId": upload}
        what = f"copy {source} to {key} part {number}"
        return self.attempt("PUT", key, lambda: self._copy_result(key, query, headers), what, needed=False)

    def _copied(self, source: str, etag: str) -> dict[str, str]:
        return {"x-amz-copy-source": quote(f"/{self.bucket}/{source}"), "x-amz-copy-source-if-match": f'"{etag}"'}

    def _copy_result(self, key: str, query: dict[str, str], headers: dict[str, str]) -> str:
        return self._said(self._send("PUT", key, query=query, headers=headers), key, "ETag").strip('"')

    def remove(self, keys: Iterable[str]) -> None:
        """Delete objects; those that are gone already do not matter."""
        wanted = list(keys)

        def once() -> None:
            with self._mapped(wanted[0]):
                for error in self._client.remove_objects(self.bucket, [DeleteObject(key) for key in wanted]):
                    raise failure(self.access, self.bucket, str(error.name), 0, error.code, error.message)

        if wanted:
            self.attempt("DELETE", wanted[0], once, f"remove {wanted[0]}")

    def make_bucket(self) -> bool:
        """Make the bucket unless it exists; True when it was made."""

        def once() -> bool:
            with self._mapped(""):
                if self._client.bucket_exists(self.bucket):
                    return False
                self._client.make_bucket(self.bucket, location=self.access.region)
                return True

        return self.attempt("PUT", "", once, f"make bucket {self.bucket}")

    # -- multipart --------------------------------------------------------------------------------------------------

    def begin_multipart(self, key: str) -> str:
        """Start an upload in parts; returns its id."""

        def once() -> str:
            return self._said(self._send("POST", key, query={"uploads": ""}), key, "UploadId")

        return self.attempt("PUT", key, once, f"begin {key}")

    def put_part(self, key: str, upload: str, number: int, body: Callable[[], Readable], size: int, md5: bytes) -> str:
        """Send one part (from 1); returns its ETag."""

        def once() -> str:
            query = {"partNumber": str(number), "uploadId": upload}
            headers = {"Content-MD5": _base64(md5)}
            return _etag(self._send("PUT", key, body=body(), size=size, query=query, headers=headers))

        return self.attempt("PUT", key, once, f"write {key} part {number}")

    def parts(self, key: str, upload: str) -> dict[int, Part]:
        """Parts that arrived, by number; raises Missing when the upload is no more. A shortcut."""

        def once() -> dict[int, Part]:
            found: dict[int, Part] = {}
            marker: int | None = 0
            while marker is not None:
                query = {"uploadId": upload, "part-number-marker": str(marker)}
                answer = self._answer(self._send("GET", key, query=query), key)
                try:
                    page, marker = listed_parts(answer, marker)
                except (KeyError, ValueError) as error:
                    raise not_understood(self.access, self.bucket, key, f"no list of parts: {error!r}") from error
                found |= {number: Part(size, etag) for number, size, etag in page}
            return found

        return self.attempt("PUT", key, once, f"list parts of {key}", needed=False)

    def finish_multipart(self, key: str, upload: str, etags: list[str]) -> None:
        """Make the object of its parts, in order; raises Missing when the upload is no more."""
        body = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>"
            for number, etag in enumerate(etags, start=1)
        )
        data = f"<CompleteMultipartUpload>{body}</CompleteMultipartUpload>".encode()

        def once() -> None:
            self._said(self._send("POST", key, body=data, size=len(data), query={"uploadId": upload}), key, "ETag")

        self.attempt("PUT", key, once, f"complete {key}")

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
            if any(name.startswith("x-amz-") for name in headers or {}):
                # Those must be signed, which a presigned URL cannot do: the same request, signed in its headers.
                url, headers = signed(self.access, method, url, headers or {})
            response = self._key.wire.http.request(
                method,
                url,
                body=body,  # type: ignore[arg-type]  # urllib3 asks no more of a file than read()
                headers={**(headers or {}), "Content-Length": str(size)},
                redirect=False,
            )
        if response.status >= 300:
            raise self._refusal(response.status, response.data, key)
        return response

    def _answer(self, response: urllib3.BaseHTTPResponse, key: str) -> ET.Element:
        """The XML of an answer."""
        with self._mapped(key):
            answer = parsed(response.data)
        # S3 answers 200 before it is done and may put an error into the body.
        if answer.tag.rpartition("}")[2] == "Error":
            raise self._refusal(response.status, response.data, key)
        return answer

    def _said(self, response: urllib3.BaseHTTPResponse, key: str, name: str) -> str:
        """An element of an answer, which must have it: otherwise the answer comes from a server that does not know the request."""
        text = self._answer(response, key).findtext(f"{{*}}{name}")
        if not text:
            raise not_understood(self.access, self.bucket, key, f"no {name} in {response.data[:200]!r}")
        return text

    def _refusal(self, status: int, data: bytes, key: str) -> AgentError:
        code, text = "", data[:200].decode(errors="replace")
        try:
            answer = parsed(data)
            code = answer.findtext("{*}Code") or ""
            text = answer.findtext("{*}Message") or text
        except ET.ParseError:
            pass  # a proxy in between answers in its own words
        return failure(self.access, self.bucket, key, status, code, text)

    def _mapped(self, key: str) -> AbstractContextManager[None]:
        return mapped(self.access, self.bucket, key)


def _stored(found: Any) -> StoredObject:
    return StoredObject(found.object_name, found.size or 0, (found.etag or "").strip('"'), found.last_modified)


def _etag(response: urllib3.BaseHTTPResponse) -> str:
    return str(response.headers.get("etag", "")).strip('"')


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
