"""A service account's token that is bound to a training pod, and what the API server says of it."""

import base64
import json
from typing import Any

from fovea_api.contract import names

NAME = "digits-chief-0-0"


def verdict(**changes: Any) -> dict[str, Any]:
    """What the API server says of the pod's token."""
    extra = {"authentication.kubernetes.io/pod-name": [NAME], "authentication.kubernetes.io/pod-uid": ["p1"]}
    user = {"username": "system:serviceaccount:team:default", "extra": extra}
    return {"authenticated": True, "audiences": [names.REPORT_TOKEN_AUDIENCE], "user": user, **changes}


def token(audiences: Any = (names.REPORT_TOKEN_AUDIENCE,), number: int = 0, **more: Any) -> str:
    """What looks like a service account's token."""
    claims = json.dumps({"aud": audiences, "jti": number} | more).encode()
    return f"eyJhbGciOiJSUzI1NiJ9.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"
