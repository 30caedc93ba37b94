"""The object store as a user reaches it: straight, or through a port-forward. `store_access` finds the keys."""

import io
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fovea_api.contract import labels, names

from .api_errors import Target
from .cluster import Cluster, in_pod
from .errors import ConflictError, FoveaError, InvalidError, StoreError, UnreachableError
from .local_files import reading
from .port_forward import PortForward, to_pod, to_pods
from .resources import core_path
from .store_access import BUCKET_VARIABLE, Access, find_access

PART_SIZE = 16 * 1024 * 1024
"""Files above this go up in parts of it. It is part of a big object's ETag, so a change of it sends such files again."""
_PROBE_SECONDS = 2.0
_ENCRYPTED = "x-amz-server-side-encryption"
_CERTIFICATE = re.compile(r"-----BEGIN ([A-Z0-9 ]*CERTIFICATE)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of a listing: its key, size in bytes, ETag without quotes, and time of its last change."""

    key: str
    size: int
    etag: str
    modified: datetime | None = None


class Store:
    """One bucket. Errors of S3 and of the network become StoreError and UnreachableError in `_answered`."""

    def __init__(self, access: Access, *, via: str = "", connections: int = 16, brief: bool = False) -> None:
        """`via` is host:port of a port-forward that leads to the endpoint. `brief`: give up after seconds."""
        import urllib3
        from minio import Minio
        from minio.helpers import check_bucket_name

        parts = access.address
        try:
            check_bucket_name(access.bucket)
        except ValueError as error:
            raise InvalidError(
                f"bucket {access.bucket!r} ({access.bucket_source}): {error}: write its name alone"
            ) from error
        self.access, self.bucket = access, access.bucket
        secure = parts.scheme == "https"
        tls: dict[str, Any] = {"ssl_context": _trust(access)} if secure else {}
        if secure and via:
            tls |= {"server_hostname": parts.hostname, "assert_hostname": parts.hostname}
        self._http = urllib3.PoolManager(
            maxsize=connections,
            timeout=urllib3.Timeout(connect=3, read=10) if brief else urllib3.Timeout(connect=5, read=120),
            retries=urllib3.Retry(total=1 if brief else 5, backoff_factor=0.3, status_forcelist=(500, 502, 503, 504)),
            **tls,
        )
        try:
            self._client = Minio(
                via or parts.netloc,
                access_key=access.access_key,
                secret_key=access.secret_key,
                session_token=access.session_token or None,
                secure=secure,
                # Without it the client asks for the bucket's location, which a key for one prefix may not.
                region=access.region,
                http_client=self._http,
            )
        except ValueError as error:  # it has rules of its own for hosts and regions
            raise InvalidError(
                f"object store {access.endpoint}, region {access.region!r} ({access.source}): {error}"
            ) from error

    def objects(self, prefix: str) -> dict[str, tuple[int, str]]:
        """Size and ETag by key of all objects below a prefix."""
        return {item.key: (item.size, item.etag) for item in self.listing(prefix)}

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        """All objects below a prefix, in order of key, page by page."""
        with self._answered(prefix):
            for item in self._client.list_objects(self.bucket, prefix=prefix, recursive=True):
                etag = (item.etag or "").strip('"')
                yield StoredObject(str(item.object_name), item.size or 0, etag, item.last_modified)

    def folders(self, prefix: str) -> list[str]:
        """Names of the folders directly below a prefix that ends with a slash."""
        with self._answered(prefix):
            found = self._client.list_objects(self.bucket, prefix=prefix)
            return [str(item.object_name).removeprefix(prefix)[:-1] for item in found if item.is_dir]

    @contextmanager
    def reading(self, key: str, *, offset: int = 0, etag: str = "") -> Iterator[Any]:
        """The raw response (urllib3) of a GET from `offset` on; with `etag` ConflictError where the object has changed."""
        from minio.error import S3Error

        headers = {"If-Match": f'"{etag}"'} if etag else None
        with self._answered(key):
            try:
                response = self._client.get_object(self.bucket, key, offset=offset, request_headers=headers)
            except S3Error as error:
                if error.code == "PreconditionFailed":
                    raise ConflictError(f"{self._at(key)} was changed meanwhile: repeat the command") from error
                raise
            try:
                yield response
            finally:
                response.close()
                response.release_conn()

    def encrypts(self, key: str) -> bool:
        """Whether the store says that it encrypts an object: then its ETag need not be the MD5 of its content."""
        with self._answered(key):
            return _ENCRYPTED in (self._client.stat_object(self.bucket, key).metadata or {})

    def put_file(self, key: str, path: Path, size: int, sent: Callable[[int], None] = lambda _: None) -> None:
        """Upload a file; `sent` is called with the bytes taken from it."""
        # What the store's errors are not made of is the file's: gone, unreadable, shorter than it was.
        with reading(path), self._answered(key), path.open("rb") as file:
            self._client.put_object(self.bucket, key, _Counting(file, sent), size, part_size=PART_SIZE)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless its key exists; False when it does. Of many writers exactly one gets True."""
        with self._answered(key):
            # The minio client's put_object has no If-None-Match; a presigned request takes any header.
            url = self._client.get_presigned_url("PUT", self.bucket, key, expires=timedelta(minutes=15))
            answer = self._http.request("PUT", url, body=data, headers={"If-None-Match": "*"})
        if answer.status == 412:
            return False
        if answer.status >= 300:
            raise StoreError(
                f"{self._at(key)} was not written: HTTP {answer.status}: {answer.data[:300].decode(errors='replace')}"
            )
        return True

    def read(self, key: str) -> bytes:
        """A small object's content."""
        with self._answered(key):
            response = self._client.get_object(self.bucket, key)
            try:
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

    def read_if_there(self, key: str) -> bytes | None:
        """A small object's content; None where there is none."""
        from minio.error import S3Error

        try:
            return self.read(key)
        except StoreError as error:
            if isinstance(error.__cause__, S3Error) and error.__cause__.code == "NoSuchKey":
                return None
            raise

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, a thousand with each request."""
        from minio.deleteobjects import DeleteObject

        with self._answered(""):
            for error in self._client.remove_objects(self.bucket, (DeleteObject(key) for key in keys)):
                raise StoreError(f"{self._at(str(error.name))} was not deleted: {error.message}")

    def _at(self, key: str) -> str:
        return f"s3://{self.bucket}/{key} at {self.access.endpoint}"

    @contextmanager
    def _answered(self, key: str) -> Iterator[None]:
        import urllib3
        from minio.error import MinioException, S3Error

        try:
            yield
        except S3Error as error:
            raise StoreError(self._explain(key, str(error.code), str(error.message))) from error
        except (urllib3.exceptions.HTTPError, MinioException, ssl.SSLError) as error:
            raise UnreachableError(
                f"object store {self.access.endpoint} ({self.access.source}) does not answer ({error}): "
                "--store-endpoint URL names another address"
            ) from error

    def _explain(self, key: str, code: str, message: str) -> str:
        where = f"{self._at(key)}: {code}: {message}"
        key_from = f"the key comes from {self.access.source}: check that it is this namespace's"
        bucket_from = f"the bucket comes from {self.access.bucket_source}: set {BUCKET_VARIABLE} to name another"
        if code == "AccessDenied":
            # Somebody else's bucket of that name is answered like another namespace's folder.
            return f"{where}; {key_from}; {bucket_from}"
        if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
            return f"{where}; {key_from}"
        if code == "NoSuchBucket":
            return f"{where}; {bucket_from}, Fovea's own is made when it is installed"
        return where


class _Counting(io.RawIOBase):
    """A file that tells how many bytes were taken from it."""

    def __init__(self, file: Any, sent: Callable[[int], None]) -> None:
        super().__init__()
        self._file, self._sent = file, sent

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self._sent(len(data))
        return data


@contextmanager
def open_store(
    cluster: Cluster,
    *,
    endpoint: str | None = None,
    notice: Callable[[str], None] = lambda _: None,
    brief: bool = False,
) -> Iterator[Store]:
    """The store of the cluster's namespace; a store inside the cluster is reached by a port-forward, with a notice.

    `brief`: for what is not worth waiting for, give up after seconds.
    """
    access = find_access(cluster, endpoint)
    parts = access.address
    port = parts.port or (443 if parts.scheme == "https" else 80)
    service = _service(parts.hostname or "")
    if service is None or (in_pod() and _reachable(parts.hostname or "", port)):
        yield Store(access, brief=brief)
        return
    notice(f"The object store {access.endpoint} is inside the cluster: reaching it by a port-forward.")
    try:
        forward = _forward(cluster, *service, port)
    except FoveaError as error:
        raise type(error)(f"{error}; or name an address that is reachable from here with --store-endpoint") from error
    with forward:
        yield Store(access, via=forward.address, brief=brief)


def _forward(cluster: Cluster, name: str, namespace: str, port: int) -> PortForward:
    # Not the role edit, which the message would name otherwise: it shows every Secret there, the store's root key too.
    remedy = (
        "if it is the store of Fovea's chart, ask the platform team to name you or your group in its value "
        "objectStore.embedded.portForwardSubjects"
    )
    target = Target("get", "Service", "services", namespace, name, ours=False, remedy=remedy)
    service = cluster.get(target, core_path(namespace, "services", name))
    spec = service.get("spec", {})
    matching = [entry for entry in spec.get("ports", []) if entry.get("port") == port]
    if not matching or not spec.get("selector"):
        raise UnreachableError(f"Service {name} in namespace {namespace} leads to no pod on port {port}")
    inner = matching[0].get("targetPort", port)
    if labels.is_embedded_store(service["metadata"].get("labels", {})):
        pod = names.object_store_pod(name)
        return to_pod(cluster, replace(target, kind="Pod", plural="pods", name=pod), inner)
    selector = ",".join(f"{key}={value}" for key, value in spec["selector"].items())
    return to_pods(cluster, namespace, selector, inner, what=f"Service {name}")


def _service(host: str) -> tuple[str, str] | None:
    """Name and namespace of a Service by its DNS name; None for any other host."""
    parts = host.split(".")
    return (parts[0], parts[1]) if len(parts) >= 3 and parts[2] == "svc" else None


def _reachable(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def _trust(access: Access) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if access.ca_pem:
        # Bundles have comments between the certificates, in any language and encoding; ssl takes ASCII only.
        certificates = "\n".join(match.group() for match in _CERTIFICATE.finditer(access.ca_pem))
        if not certificates:
            raise InvalidError(f"the CA certificate of {access.source} holds no certificate in PEM")
        try:
            context.load_verify_locations(cadata=certificates)
        except (ssl.SSLError, TypeError) as error:
            raise InvalidError(f"the CA certificate of {access.source} cannot be read: {error}") from error
    return context
