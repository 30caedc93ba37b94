"""The API server by one aiohttp session: the few verbs that are used, every answer mapped to `errors` in one place."""

import asyncio
import json
import math
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import aiohttp
from fovea_api.contract import text
from fovea_api.contract.labels import FIELD_MANAGER

from fovea_operator import errors
from fovea_operator.reconcile.shared.decision import Deletion

from . import resources
from .credentials import Credentials, NoCredentials
from .keys import Ref
from .resources import Resource

Object = dict[str, Any]
JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

_PAGE = 500
_TIMEOUT = aiohttp.ClientTimeout(total=60, connect=10)
_RELOAD_SECONDS = 60.0
_LOG_PIECE = 64 * 1024


class ApiClient:
    """A client of one API server. Whatever server, network or files do, it raises an `ApiError`.

    Only credentials that were never there are `NoCredentials`: there is nothing to wait for.
    """

    def __init__(
        self,
        load: Callable[[], Credentials],
        *,
        count: Callable[[str, str, int], None] = lambda _verb, _plural, _code: None,
        connections: int = 64,
    ) -> None:
        """`load` reads the credentials from their files; `count` gets verb, resource and code (0: no answer) of every call."""
        self._load = load
        self._count = count
        self._connections = connections
        self._credentials: Credentials | None = None
        self._session: aiohttp.ClientSession | None = None
        self._read_at = 0.0

    async def close(self) -> None:
        """Close the connections."""
        # Taken away first: while it closes, others must open a new one, which must not be closed by mistake.
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def create(self, manifest: Mapping[str, Any]) -> Object:
        """POST an object. AlreadyExists when the name is taken."""
        resource = resources.of_manifest(manifest)
        path = resource.path(manifest["metadata"].get("namespace", ""))
        return await self.request("create", resource, "POST", f"{path}?fieldManager={FIELD_MANAGER}", manifest)

    async def apply(self, manifest: Mapping[str, Any]) -> Object:
        """Server-side apply of the whole intent, taking over fields that others set."""
        resource = resources.of_manifest(manifest)
        metadata = manifest["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"])
        query = f"?fieldManager={FIELD_MANAGER}&force=true"
        return await self.request("apply", resource, "PATCH", path + query, manifest, APPLY)

    async def merge_status(self, ref: Ref, version: int, patch: Mapping[str, Any]) -> Object:
        """Merge-patch the status of an object that still has that resourceVersion.

        Gone when it is not there, Conflict when it has changed or is another one of that name: no two share a version.
        """
        resource = resources.of(ref.gvk)
        path = resource.path(ref.namespace, ref.name, "status") + f"?fieldManager={FIELD_MANAGER}"
        body = {"metadata": {"resourceVersion": str(version)}, "status": patch}
        return await self.request("patch", resource, "PATCH", path, body, MERGE)

    async def label(self, ref: Ref, uid: str, labels: Mapping[str, str]) -> Object:
        """Set labels of exactly the object with that uid. Gone when it is not there, Conflict when it is another one."""
        return await self.merge(ref, {"metadata": {"uid": uid, "labels": dict(labels)}})

    async def merge(self, ref: Ref, patch: Mapping[str, Any]) -> Object:
        """Merge-patch an object. Gone when it is not there; Conflict when it has not the uid that the patch names."""
        resource = resources.of(ref.gvk)
        path = resource.path(ref.namespace, ref.name) + f"?fieldManager={FIELD_MANAGER}"
        return await self.request("patch", resource, "PATCH", path, patch, MERGE)

    async def delete(self, item: Deletion) -> Object:
        """Delete exactly the object with that uid. Gone when it is not there, Conflict when it is another one."""
        resource = resources.of(item.gvk)
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": item.uid},
            "propagationPolicy": "Background",
        }
        if item.grace_seconds is not None:
            options["gracePeriodSeconds"] = item.grace_seconds
        return await self.request("delete", resource, "DELETE", resource.path(item.namespace, item.name), options)

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Read one object."""
        return await self.request("get", resource, "GET", resource.path(namespace, name))

    async def replace(self, manifest: Mapping[str, Any]) -> Object:
        """PUT an object; its resourceVersion is the precondition (Conflict when it is out of date)."""
        resource = resources.of_manifest(manifest)
        metadata = manifest["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"])
        return await self.request("update", resource, "PUT", path, manifest)

    async def pages(
        self, resource: Resource, namespace: str = "", label: str = "", *, name: str = "", only_metadata: bool = False
    ) -> AsyncIterator[tuple[list[Object], int]]:
        """Every object of a kind in chunks, each chunk with the resourceVersion of the list as a number.

        `name`: only objects of that name. `only_metadata`: of each object its metadata only.
        """
        token = ""
        query = f"?limit={_PAGE}" + (f"&labelSelector={quote(label)}" if label else "")
        fields = ",".join(part for part in (resource.field_selector, f"metadata.name={name}" if name else "") if part)
        query += f"&fieldSelector={quote(fields)}" if fields else ""
        path, accept = resource.path(namespace) + query, METADATA if only_metadata else JSON
        while True:
            more = f"&continue={quote(token)}" if token else ""
            page = await self.request("list", resource, "GET", path + more, accept=accept)
            # An empty list of metadata has `items: null`.
            yield page["items"] or [], int(page["metadata"]["resourceVersion"])
            token = page["metadata"].get("continue") or ""
            if not token:
                return

    async def is_served(self, resource: Resource) -> bool:
        """Whether the API server knows a resource (its CRD is installed and established), and lists its group if it has one.

        It does the second a moment after the first, and Kopf looks for a resource once, in the groups that are listed.
        """
        try:
            version = await self._send("get", "apis", "GET", resource.root, None, JSON)
            known = any(item["name"] == resource.plural for item in version["resources"])
            if not resource.group:
                return known
            listed = await self._send("get", "apis", "GET", "/apis", None, JSON)
        except errors.Gone:
            return False
        groups = {item["groupVersion"] for group in listed["groups"] for item in group["versions"]}
        return known and resource.api_version in groups

    async def review_token(self, token: str, audience: str) -> Object:
        """The API server's verdict on a service account's token: the status of a TokenReview."""
        review = {
            "apiVersion": resources.TOKEN_REVIEW.api_version,
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }
        resource = resources.TOKEN_REVIEW
        answer = await self.request("create", resource, "POST", resource.path(), review)
        return dict(answer.get("status") or {})

    @asynccontextmanager
    async def log(self, namespace: str, pod: str, container: str, lines: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """The last `lines` lines of a container's log with time stamps, in pieces as they come."""
        path = f"{resources.POD.path(namespace, pod, 'log')}?container={container}&timestamps=true&tailLines={lines}"
        session, credentials = await self._open()
        headers = {"Accept": "*/*"} | ({"Authorization": f"Bearer {credentials.token}"} if credentials.token else {})
        code = 0
        try:
            async with session.get(credentials.server + path, headers=headers) as answer:
                code = answer.status
                if code >= 400:
                    raise _error("GET", path, code, await answer.read(), answer.headers.get("Retry-After", "0"))
                yield answer.content.iter_chunked(_LOG_PIECE)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise errors.Transient(f"GET {_plain(path)}: {type(error).__name__}: {error}") from error
        finally:
            self._count("get", "pods/log", code)

    async def request(
        self,
        verb: str,
        resource: Resource,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Object:
        """One call, counted. After a 401 the credentials are read again and the call is tried once more: tokens are rotated.

        A 404 that no API server explains is Transient: a proxy's, or of an API server that does not serve the kind yet. It must
        not be taken for an object that is gone.
        """
        try:
            try:
                return await self._send(verb, resource.plural, method, path, body, content_type, accept)
            except errors.Transient as error:
                if error.code != errors.HTTP_UNAUTHORIZED:
                    raise
                self._read_at = -math.inf
            return await self._send(verb, resource.plural, method, path, body, content_type, accept)
        except errors.Gone as error:
            if error.reason:
                raise
            raise errors.Transient(str(error), code=error.code) from error

    async def _send(
        self,
        verb: str,
        plural: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        content_type: str,
        accept: str = JSON,
    ) -> Object:
        session, credentials = await self._open()
        data = None if body is None else _body(method, path, body)
        headers = {"Accept": accept} | ({"Content-Type": content_type} if data is not None else {})
        if credentials.token:
            headers["Authorization"] = f"Bearer {credentials.token}"
        code = 0
        try:
            async with session.request(method, credentials.server + path, data=data, headers=headers) as answer:
                payload = await answer.read()
                code = answer.status
                retry_after = answer.headers.get("Retry-After", "0")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise errors.Transient(f"{method} {_plain(path)}: {type(error).__name__}: {error}") from error
        finally:
            self._count(verb, plural, code)
        if code < 400:
            return _document(method, path, code, payload)
        raise _error(method, path, code, payload, retry_after)

    async def _open(self) -> tuple[aiohttp.ClientSession, Credentials]:
        now = asyncio.get_running_loop().time()
        if self._credentials is None or self._session is None or now - self._read_at > _RELOAD_SECONDS:
            fresh, tls = self._read()
            self._read_at = now
            before, self._credentials = self._credentials, fresh
            if before is not None and replace(fresh, token="") != replace(before, token=""):
                await self.close()  # another server or certificate; a new token alone needs no new connections
            if self._session is None:
                connector = aiohttp.TCPConnector(ssl=tls or True, limit=self._connections, ttl_dns_cache=60)
                self._session = aiohttp.ClientSession(
                    connector=connector, timeout=_TIMEOUT, headers={"Accept": JSON, "User-Agent": "fovea-operator"}
                )
        return self._session, self._credentials

    def _read(self) -> tuple[Credentials, ssl.SSLContext | bool]:
        """The credentials as they are now. While they are being exchanged on disk they may be unreadable: Transient."""
        try:
            fresh = self._load()
            return fresh, fresh.context()
        except (NoCredentials, OSError, ValueError) as error:
            if self._credentials is None:
                raise error if isinstance(error, NoCredentials) else NoCredentials(str(error)) from error
            raise errors.Transient(f"the credentials for the API server cannot be read again: {error}") from error


def _plain(path: str) -> str:
    return path.partition("?")[0]


def _body(method: str, path: str, body: Mapping[str, Any]) -> bytes:
    try:
        return text.to_json(body)
    except ValueError as error:
        raise errors.Refused(f"{method} {_plain(path)}: not sent: {error}", code=errors.HTTP_BAD_REQUEST) from error


def _document(method: str, path: str, code: int, payload: bytes) -> Object:
    """The object that a success carries. What is none was not said by the API server: a proxy stands between."""
    try:
        document = json.loads(payload)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        said = payload[:200].decode(errors="replace").strip()
        raise errors.Transient(f"{method} {_plain(path)}: {code}, but no JSON object: {said!r}", code=code)
    return document


def _error(method: str, path: str, code: int, payload: bytes, retry_after: str) -> errors.ApiError:
    reason, message = "", payload[:500].decode(errors="replace").strip()
    try:
        status = json.loads(payload)
        reason, message = str(status.get("reason") or ""), str(status.get("message") or message)
    except (ValueError, AttributeError):
        message = message or "no message"
    seconds = float(retry_after) if retry_after.isdecimal() else 0.0
    return errors.of_answer(code, reason, f"{message} ({method} {_plain(path)}: {code})", seconds)
