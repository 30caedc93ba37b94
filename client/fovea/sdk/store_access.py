"""How the object store is reached and by which keys: S3 variables, else the namespace's Secret."""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import SplitResult

from fovea_api.contract import names, storage

from .api_errors import Target
from .cluster import Cluster
from .errors import ForbiddenError, InvalidError, NotFoundError
from .resources import core_path

BUCKET_VARIABLE = "FOVEA_BUCKET"
"""None of the S3 variables names a bucket; the Secret does, but it is not read where they are enough."""
_REGION = "us-east-1"


@dataclass(frozen=True)
class Access:
    """How to reach the store, and where that was read (for messages)."""

    endpoint: str
    access_key: str
    secret_key: str
    source: str
    bucket: str = storage.BUCKET
    bucket_source: str = "Fovea's default"
    region: str = _REGION
    session_token: str = ""
    ca_pem: str = ""

    @property
    def address(self) -> SplitResult:
        """The endpoint's parts; InvalidError that says what is wrong with it."""
        try:
            return storage.address(self.endpoint)
        except ValueError as error:
            raise InvalidError(f"the object store's endpoint ({self.source}): {error}") from error


def from_environment(environ: Mapping[str, str], endpoint: str | None) -> Access | None:
    """Access by the usual S3 variables; None without keys. Its endpoint is empty when none is named."""
    key, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if not key or not secret:
        return None
    bundle = environ.get("AWS_CA_BUNDLE")
    try:
        pem = Path(bundle).read_text(encoding="utf-8", errors="replace") if bundle else ""
    except OSError as error:
        raise InvalidError(f"AWS_CA_BUNDLE={bundle} cannot be read: {error.strerror or error}") from error
    return Access(
        endpoint=endpoint or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or "",
        access_key=key,
        secret_key=secret,
        source="the AWS_ variables",
        region=_named_region(environ) or _REGION,
        session_token=environ.get("AWS_SESSION_TOKEN", ""),
        ca_pem=pem,
    )


def from_secret(data: Mapping[str, str], namespace: str) -> Access:
    """Access by the decoded Secret of a namespace; raises InvalidError naming a missing key."""
    where = f"Secret {names.OBJECT_STORE_SECRET} in namespace {namespace}"
    data = {key: value.strip() for key, value in data.items()}  # as agents do: values made of files end with a newline
    bucket = data.get(storage.SECRET_BUCKET)
    for key in (storage.SECRET_ENDPOINT, storage.SECRET_ACCESS_KEY, storage.SECRET_SECRET_KEY):
        if not data.get(key):
            raise InvalidError(f"{where} has no key {key}: ask the platform team to renew it")
    return Access(
        endpoint=data[storage.SECRET_ENDPOINT],
        access_key=data[storage.SECRET_ACCESS_KEY],
        secret_key=data[storage.SECRET_SECRET_KEY],
        source=where,
        bucket=bucket or storage.BUCKET,
        bucket_source=where if bucket else Access.bucket_source,
        region=data.get(storage.SECRET_REGION) or _REGION,
        ca_pem=data.get(storage.SECRET_CA_BUNDLE, ""),
    )


def find_access(cluster: Cluster, endpoint: str | None) -> Access:
    """The S3 variables, else the namespace's Secret; raises what kept it from both, with the next step.

    What both leave out is the Secret's to say: with keys alone its endpoint and region. FOVEA_BUCKET names the bucket.
    """
    access, bucket = _given_or_read(cluster, endpoint), os.environ.get(BUCKET_VARIABLE)
    return replace(access, bucket=bucket, bucket_source=BUCKET_VARIABLE) if bucket else access


def _given_or_read(cluster: Cluster, endpoint: str | None) -> Access:
    given = from_environment(os.environ, endpoint)
    if given and given.endpoint:
        return given
    try:
        secret = _read_secret(cluster)
    except (NotFoundError, ForbiddenError) as error:
        wanted = "AWS_ENDPOINT_URL" if given else "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
        raise type(error)(
            f"no way to the object store of namespace {cluster.namespace}: set {wanted}, "
            f"or have the platform team let you read the Secret {names.OBJECT_STORE_SECRET} ({error})"
        ) from error
    access = from_secret(secret, cluster.namespace)
    if given:
        return replace(
            access,
            access_key=given.access_key,
            secret_key=given.secret_key,
            session_token=given.session_token,
            source=given.source,
            region=_named_region(os.environ) or access.region,
            ca_pem=given.ca_pem or access.ca_pem,
        )
    return replace(access, endpoint=endpoint) if endpoint else access


def _named_region(environ: Mapping[str, str]) -> str:
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""


def _read_secret(cluster: Cluster) -> dict[str, str]:
    name = names.OBJECT_STORE_SECRET
    target = Target("get", "Secret", "secrets", cluster.namespace, name, ours=False)
    document = cluster.get(target, core_path(cluster.namespace, "secrets", name))
    return {
        key: base64.b64decode(value).decode(errors="replace") for key, value in (document.get("data") or {}).items()
    }
