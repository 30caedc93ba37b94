"""A label on a namespace is enough for a key: `fovea.dev/object-store: enabled`; `disabled` withdraws it from the store.

Namespaces can also be named, in the chart's values. Then the label counts as well, and each has one owner at a time: with a
label the process that looks at labels, without one the Job of the list. Two would replace each other's keys.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from fovea_api.contract import labels

from fovea_agent import log
from fovea_agent.errors import AgentError
from fovea_agent.provision import Secrets

RECHECK = 600.0
"""Seconds after which a key that was fine is tried again: the store may have been emptied, or the key removed by hand."""


class Namespaces(Secrets, Protocol):
    """The cluster, as far as it is needed."""

    def labelled(self, label: str) -> dict[str, str]:
        """Namespaces with the label, and its value; without those that are being deleted."""


class NamedNamespaces(Secrets, Protocol):
    """The cluster, as far as it is needed where namespaces are named."""

    def label(self, namespace: str, label: str) -> str | None:
        """The label of a namespace; None without it."""


class Keys(Protocol):
    """Makes keys in the store."""

    def provide(self, namespace: str, target: Secrets) -> bool:
        """Give the namespace a key; True when its Secret was written."""

    def revoke(self, namespace: str) -> None:
        """Withdraw it."""


class NamespaceKeys:
    """Looks at all labelled namespaces, round for round. What fails for one of them holds up no other."""

    def __init__(self, keys: Keys, cluster: Namespaces, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys, self._cluster, self._clock = keys, cluster, clock
        self._seen: dict[str, tuple[Mapping[str, str] | None, float]] = {}
        """By namespace: its Secret when its key was last found to work, and until when that is believed."""
        self._revoked: set[str] = set()
        self._failed: dict[str, str] = {}

    def round(self) -> int:
        """Look once; the number of Secrets that were written. Raises AgentError when namespaces cannot be listed."""
        found = self._cluster.labelled(labels.OBJECT_STORE)
        for gone in [name for name in (*self._seen, *self._revoked, *self._failed) if name not in found]:
            self._forget(gone)
        return sum(self._one(namespace, value) for namespace, value in sorted(found.items()))

    def _one(self, namespace: str, value: str) -> bool:
        try:
            written = self._settle(namespace, value)
        except AgentError as error:
            if self._failed.get(namespace) != error.message:
                log.error("this namespace has no key", namespace=namespace, error=error.message)
            self._failed[namespace] = error.message
            return False
        self._failed.pop(namespace, None)
        return written

    def _settle(self, namespace: str, value: str) -> bool:
        if not _wants_key(value):
            if namespace not in self._revoked:
                self._forget(namespace)
                self._keys.revoke(namespace)
                self._revoked.add(namespace)
            return False
        self._revoked.discard(namespace)
        present = self._cluster.read(namespace)
        known, until = self._seen.get(namespace, (None, 0.0))
        if present is not None and present == known and self._clock() < until:
            return False
        written = self._keys.provide(namespace, self._cluster)
        self._seen[namespace] = (self._cluster.read(namespace), self._clock() + RECHECK)
        return written

    def _forget(self, namespace: str) -> None:
        self._seen.pop(namespace, None)
        self._failed.pop(namespace, None)
        self._revoked.discard(namespace)


def named(keys: Keys, cluster: NamedNamespaces, namespaces: Iterable[str], unless_labelled: Iterable[str] = ()) -> int:
    """Give these namespaces keys, but for those with the label `disabled`; the number of Secrets that were written.

    Of `unless_labelled` another process makes the keys of those that have the label. Raises AgentError for the first one
    that cannot have its key.
    """
    written = 0
    for namespace in namespaces:
        written += _by_owner(keys, cluster, namespace, cluster.label(namespace, labels.OBJECT_STORE))
    for namespace in unless_labelled:
        value = cluster.label(namespace, labels.OBJECT_STORE)
        if value is None:
            written += keys.provide(namespace, cluster)
        else:
            log.info(
                "its label says whether it has a key: left to the process that looks at labels", namespace=namespace
            )
    return written


def _by_owner(keys: Keys, cluster: NamedNamespaces, namespace: str, value: str | None) -> bool:
    try:
        wanted = value is None or _wants_key(value)
    except AgentError as error:
        log.error("the key of this namespace is left as it is", namespace=namespace, error=error.message)
        return False
    if wanted:
        return keys.provide(namespace, cluster)
    keys.revoke(namespace)
    return False


def _wants_key(value: str) -> bool:
    """What the label says; AgentError where it says neither."""
    if value not in (labels.OBJECT_STORE_ENABLED, labels.OBJECT_STORE_DISABLED):
        raise AgentError(
            f"the label {labels.OBJECT_STORE} is {value!r}: set it to {labels.OBJECT_STORE_ENABLED} or "
            f"{labels.OBJECT_STORE_DISABLED}"
        )
    return value == labels.OBJECT_STORE_ENABLED


def keep(keys: NamespaceKeys, every: float, sleep: Callable[[float], object] = time.sleep) -> None:
    """Round after round, for good; an API server that does not answer is asked again."""
    said = ""
    while True:
        try:
            keys.round()
            said = ""
        except AgentError as error:
            if error.message != said:
                log.error("namespaces cannot be listed", error=error.message)
            said = error.message
        sleep(every)
