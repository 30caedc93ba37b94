"""Requests that are signed in their headers: a store refuses `x-amz-` headers that are not signed."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from fovea_agent.s3_client import Credentials, sign_v4_s3
from fovea_agent.settings import StoreAccess

_EMPTY = hashlib.sha256(b"").hexdigest()


def signed(access: StoreAccess, method: str, url: str, headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """URL and headers of a request without a body; `url` may be a presigned one, whose signature is left out."""
    parts = urlsplit(url)
    query = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if not k.startswith("X-Amz-")]
    target = parts._replace(query=urlencode(sorted(query), quote_via=quote))
    now = datetime.now(UTC)
    given = {
        **headers,
        "Host": parts.netloc,
        "x-amz-content-sha256": _EMPTY,
        "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
    }
    credentials = Credentials(access.access_key, access.secret_key)
    made = sign_v4_s3(
        method=method,
        url=target,
        region=access.region,
        headers=given,
        credentials=credentials,
        content_sha256=_EMPTY,
        date=now,
    )
    return target.geturl(), {str(name): str(value) for name, value in made.items()}
