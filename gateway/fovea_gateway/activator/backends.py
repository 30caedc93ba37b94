"""Which version a request at the activator is for: what the gateway's routes say in headers."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from fovea_api.contract import names

from .room import Name

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_MODEL = re.compile(rf"(?P<namespace>{_LABEL})/(?P<name>{_LABEL})")
_VERSION = re.compile(rf"(?P<service>{_LABEL})\.(?P<namespace>{_LABEL})\.svc\.(?P<domain>[a-z0-9.-]+)")


class Backend(NamedTuple):
    """The Service of a version."""

    model: Name
    host: str

    @property
    def name(self) -> str:
        """For people."""
        return f"ModelDeployment {self.model.name}"

    def late(self, seconds: float) -> str:
        """What a request is answered that has taken so long."""
        return f"no pod of {self.name} answered within {seconds:g} s"

    def too_large(self, most: int) -> str:
        """What a request is answered whose answer has more bytes."""
        return (
            f"the answer of {self.name} is larger than {most >> 20} MiB, the most that the activator "
            "passes on. Ask for less at once, or ask again once a pod is ready"
        )


def backend_of(headers: Mapping[str, str], cluster_domain: str = "cluster.local") -> Backend | None:
    """The version for which a request waits; None for a request that came by no route of Fovea.

    A version's Service is named by its ModelDeployment, in its namespace: nothing else in the cluster is reached through us.
    """
    model = _MODEL.fullmatch(headers.get(names.MODEL_DEPLOYMENT_HEADER, ""))
    version = _VERSION.fullmatch(headers.get(names.BACKEND_HEADER, ""))
    if model is None or version is None or version["domain"] != cluster_domain:
        return None
    if model["namespace"] != version["namespace"]:
        return None
    if not re.fullmatch(rf"{re.escape(model['name'])}-v\d+-[0-9a-z]+", version["service"]):
        return None
    return Backend(Name(model["namespace"], model["name"], version["service"]), version[0])


NOT_BY_A_ROUTE = (
    f"this address takes requests by Fovea's routes only: {names.BACKEND_HEADER} names no version of a model"
)
