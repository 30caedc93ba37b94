"""Which service account a pod has, by the token that its cluster has given it."""

import base64
import json
from pathlib import Path


def uid_of_account(token: Path) -> str:
    """The uid of the service account that a token is of; empty where there is none, or it does not say.

    Each cluster has accounts of its own, so it tells namespaces of one name in two clusters apart. The token is the pod's own,
    from a volume that only the kubelet writes to: it need not be verified.
    """
    try:
        claims = token.read_text().split(".")[1]
        document = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        return str(document["kubernetes.io"]["serviceaccount"]["uid"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""
