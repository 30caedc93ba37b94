"""The object store of the installed chart, with its root key and through a port-forward; and an outage of it."""

import base64
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from fovea_agent.patience import Patience
from fovea_agent.settings import StoreAccess
from fovea_agent.store import Store
from fovea_api.contract import names, storage
from support.polling import until

SYSTEM = "fovea-system"
NAME = "fovea-object-store"
ROOT_SECRET = "fovea-object-store-root"

Kubectl = Callable[..., str]


@contextmanager
def port_forward(environment: dict[str, str]) -> Iterator[str]:
    """URL at which the store answers on this machine."""
    process = subprocess.Popen(
        ["kubectl", "port-forward", "-n", SYSTEM, f"service/{NAME}", ":9000"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        port = re.search(r"127\.0\.0\.1:(\d+)", said)
        assert port is not None, f"kubectl port-forward says {said!r}"
        yield f"http://127.0.0.1:{port.group(1)}"
    finally:
        process.kill()
        process.communicate()


def _secret(kubectl: Kubectl, name: str, namespace: str) -> dict[str, str]:
    data = json.loads(kubectl("get", "secret", name, "-n", namespace, "-o", "json"))["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def root_store(kubectl: Kubectl, endpoint: str) -> Store:
    """The store with the key that may do everything."""
    root = _secret(kubectl, ROOT_SECRET, SYSTEM)
    access = StoreAccess(endpoint, storage.BUCKET, root["rootUser"], root["rootPassword"])
    return Store(access, Patience(60))


def key_of(kubectl: Kubectl, namespace: str) -> dict[str, str]:
    """What the Secret of a namespace holds."""
    return _secret(kubectl, names.OBJECT_STORE_SECRET, namespace)


def store_of(kubectl: Kubectl, endpoint: str, namespace: str) -> Store:
    """The store with a namespace's own key, as its agents have it."""
    key = key_of(kubectl, namespace)
    access = StoreAccess(
        endpoint, key[storage.SECRET_BUCKET], key[storage.SECRET_ACCESS_KEY], key[storage.SECRET_SECRET_KEY]
    )
    return Store(access, Patience(60))


@contextmanager
def outage(kubectl: Kubectl) -> Iterator[None]:
    """No store while inside; afterwards one that answers again."""
    scale = partial(kubectl, "scale", "statefulset", NAME, "-n", SYSTEM)
    try:
        scale("--replicas=0")
        until(
            lambda: not kubectl("get", "pod", f"{NAME}-0", "-n", SYSTEM, "--ignore-not-found").strip(),
            seconds=90,
            what="the store is gone",
        )
        yield
    finally:
        scale("--replicas=1")
        kubectl("rollout", "status", f"statefulset/{NAME}", "-n", SYSTEM, "--timeout=180s")
