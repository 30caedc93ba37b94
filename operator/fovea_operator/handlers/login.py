"""Kopf logs in with the same credentials as our own client. They are read again at each login."""

from datetime import UTC, datetime, timedelta
from typing import Any

import kopf

from fovea_operator.cluster import credentials

_TOKEN_LIFE = timedelta(minutes=10)


def register(registry: kopf.OperatorRegistry) -> None:
    """Add the login handler. Kopf reads a token again after `_TOKEN_LIFE`, since Kubernetes rotates it on disk."""

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        found = credentials.load()
        return kopf.ConnectionInfo(
            server=found.server,
            ca_data=found.ca,
            insecure=found.insecure,
            certificate_data=found.certificate,
            private_key_data=found.key,
            token=found.token or None,
            expiration=datetime.now(UTC) + _TOKEN_LIFE if found.token else None,
        )
