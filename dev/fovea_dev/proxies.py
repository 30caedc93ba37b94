"""Behind a proxy: what we start must reach the cluster itself directly."""

from __future__ import annotations

from collections.abc import MutableMapping

from fovea_dev.layout import CLUSTER_DOMAIN, NODE_ADDRESS, POD_NETWORK, SERVICE_NETWORK

DIRECT = (
    "localhost",
    "127.0.0.1",
    NODE_ADDRESS,  # by itself too: not every program understands networks
    str(POD_NETWORK),
    str(SERVICE_NETWORK),
    ".svc",
    f".{CLUSTER_DOMAIN}",
)
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_EXCEPTIONS = ("NO_PROXY", "no_proxy")


def spare_the_cluster(environment: MutableMapping[str, str]) -> None:
    """Add the cluster's addresses to NO_PROXY, if there is a proxy. Programs read one spelling or the other."""
    if not any(environment.get(name) or environment.get(name.upper()) for name in _PROXIES):
        return
    present = next((environment[name] for name in _EXCEPTIONS if environment.get(name)), "")
    entries = dict.fromkeys([*(entry.strip() for entry in present.split(",") if entry.strip()), *DIRECT])
    for name in _EXCEPTIONS:
        environment[name] = ",".join(entries)
