"""Which versions of a model should be loaded, and what to do next: pure decisions, no file system, no TensorFlow.

wanted(policy, present)        what the policy asks for, of what is there
plan(wanted, records)          what to load and what to unload now
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fovea_serving.protocol.errors import ServingError
from fovea_serving.protocol.rest_paths import LARGEST_VERSION

SAVED_MODEL = "saved_model.pb"
MOST_LISTED = 10


class State(enum.IntEnum):
    """Life of a version; the numbers are those of the GetModelStatus reply."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True, slots=True)
class Latest:
    """The `count` highest versions."""

    count: int = 1


@dataclass(frozen=True, slots=True)
class Every:
    """All versions that are there."""


@dataclass(frozen=True, slots=True)
class Specific:
    """These versions, whatever else is there."""

    versions: frozenset[int]


Policy = Latest | Every | Specific


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """What is known of one version. END with an error: its load failed; END without: it was unloaded.

    `retry` says that a failed version has not been wanted for a while: when it is wanted again, it is new.
    """

    version: int
    state: State
    error: ServingError | None = None
    retry: bool = False

    @property
    def settled(self) -> bool:
        """Whether nothing is going on with it."""
        return self.state in (State.AVAILABLE, State.END)

    def at(self, state: State, error: ServingError | None = None) -> VersionRecord:
        """The same version in another state."""
        return replace(self, state=state, error=error, retry=False)

    @property
    def may_load(self) -> bool:
        """Whether it is worth loading: an unloaded version, or a failed one that was gone and came back."""
        return self.state is State.END and (self.error is None or self.retry)


@dataclass(frozen=True, slots=True)
class Plan:
    """Versions to load (highest first), to unload, and failed ones to forget so that they may be tried again."""

    load: tuple[int, ...] = ()
    unload: tuple[int, ...] = ()
    forget: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.load or self.unload or self.forget)


def version_number(name: str) -> int | None:
    """Version a directory's name stands for (`00012` is 12), or None: such a directory is no version."""
    if not name.isascii() or not name.isdigit():
        return None
    number = int(name)
    return number if number <= LARGEST_VERSION else None


def no_versions(model: str, base_path: Path, present: Collection[int], others: Sequence[str] | None) -> str:
    """Why a model has no version to load: what its folder holds instead, None for `others`: there is no such folder."""
    text = f"No versions of servable {model} found under base path {base_path}"
    shape = f"a version is a folder whose name is a whole number, for example {base_path}/1/saved_model.pb"
    if present:
        return f"{text} that the version policy asks for; found: {_listed(map(str, sorted(present)))}"
    if others is None:
        return f"{text}: there is no such folder; {shape}"
    if not others:
        return f"{text}: the folder is empty; {shape}"
    if SAVED_MODEL in others:
        return f"{text}: the model lies in the base path itself; move its files into {base_path}/1; {shape}"
    return f"{text}: {shape}; found instead: {_listed(others)}"


def _listed(found: Iterable[str]) -> str:
    names = list(found)
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more


def wanted(policy: Policy, present: Collection[int]) -> frozenset[int]:
    """Versions the policy asks for."""
    if isinstance(policy, Every):
        return frozenset(present)
    if isinstance(policy, Specific):
        return policy.versions & frozenset(present)
    return frozenset(sorted(present, reverse=True)[: policy.count])


def plan(wanted_versions: Collection[int], records: Mapping[int, VersionRecord]) -> Plan:
    """What to do next so that availability is preserved: an old version goes when a wanted one is available.

    A version whose load failed is not loaded again until it has not been wanted for a while (its directory went and
    came back). When nothing is wanted any more, everything goes.
    """
    targets = set(wanted_versions)
    load = [version for version in targets if version not in records or records[version].may_load]
    surplus = sorted(v for v, r in records.items() if v not in targets and r.state is State.AVAILABLE)
    ready = any(v in records and records[v].state is State.AVAILABLE for v in targets)
    if surplus and targets and not ready:
        surplus = surplus[:-1]
    failed = (v for v, r in records.items() if v not in targets and r.state is State.END and r.error and not r.retry)
    return Plan(load=tuple(sorted(load, reverse=True)), unload=tuple(surplus), forget=tuple(sorted(failed)))


def settled(wanted_versions: Iterable[int], records: Mapping[int, VersionRecord]) -> bool:
    """Whether every wanted version is available or has failed, and at least one is wanted."""
    found = [records.get(version) for version in wanted_versions]
    return bool(found) and all(record is not None and record.settled for record in found)
