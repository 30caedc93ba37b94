"""Which versions are loaded and unloaded."""

from __future__ import annotations

import pytest
from fovea_serving.protocol.errors import ServingError, internal
from fovea_serving.server.versions import (
    Every,
    Latest,
    Plan,
    Policy,
    Specific,
    State,
    VersionRecord,
    plan,
    settled,
    version_number,
    wanted,
)  # fmt: skip
from hypothesis import given
from hypothesis import strategies as st

BROKEN = internal("no variables")


def known(**states: str) -> dict[int, VersionRecord]:
    """Records from v1="AVAILABLE", v2="BROKEN", v3="BACK" (failed, gone, and there again)."""
    special: dict[str, tuple[State, ServingError | None, bool]] = {
        "BROKEN": (State.END, BROKEN, False),
        "BACK": (State.END, BROKEN, True),
    }
    records = {}
    for name, state in states.items():
        found = special[state] if state in special else (State[state], None, False)
        records[int(name[1:])] = VersionRecord(int(name[1:]), *found)
    return records


@pytest.mark.parametrize(
    ("name", "number"),
    [("1", 1), ("00012", 12), ("0", 0), ("-1", None), (".staging-3", None), ("v1", None), ("1.5", None), ("²", None),
     ("9223372036854775807", 2**63 - 1), ("9223372036854775808", None), ("", None)],
)  # fmt: skip
def test_a_folders_name_is_a_version_when_it_is_a_whole_number(name: str, number: int | None) -> None:
    assert version_number(name) == number


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        (Latest(), {7}),
        (Latest(2), {5, 7}),
        (Latest(9), {1, 5, 7}),
        (Every(), {1, 5, 7}),
        (Specific(frozenset({1, 6})), {1}),
    ],
)
def test_policies(policy: Policy, versions: set[int]) -> None:
    assert wanted(policy, {1, 5, 7}) == versions


DECISIONS = {
    "the first version is loaded": ({1}, {}, Plan(load=(1,))),
    "the highest is loaded first": ({1, 2}, {}, Plan(load=(2, 1))),
    "a loading version is left alone": ({1}, known(v1="LOADING"), Plan()),
    "an available version is left alone": ({1}, known(v1="AVAILABLE"), Plan()),
    "a new version is loaded while the old one serves": ({2}, known(v1="AVAILABLE"), Plan(load=(2,))),
    "the old one serves while the new one loads": ({2}, known(v1="AVAILABLE", v2="LOADING"), Plan()),
    "the old one goes when the new one is available": (
        {2}, known(v1="AVAILABLE", v2="AVAILABLE"), Plan(unload=(1,))),
    "the old one stays when the new one is broken": ({2}, known(v1="AVAILABLE", v2="BROKEN"), Plan()),
    "of two old ones the highest stays when the new one is broken": (
        {3}, known(v1="AVAILABLE", v2="AVAILABLE", v3="BROKEN"), Plan(unload=(1,))),
    "a broken version is not tried again": ({2}, known(v2="BROKEN"), Plan()),
    "a broken version that went may be tried again": ({1}, known(v1="AVAILABLE", v2="BROKEN"), Plan(forget=(2,))),
    "a broken version that came back is tried again": ({2}, known(v1="AVAILABLE", v2="BACK"), Plan(load=(2,))),
    "an unloaded version that is wanted again is loaded": (
        {1}, known(v1="END", v2="AVAILABLE"), Plan(load=(1,))),
    "going back to a loaded version unloads the newer one": (
        {1}, known(v1="AVAILABLE", v2="AVAILABLE"), Plan(unload=(2,))),
    "nothing wanted: everything goes": (set(), known(v1="AVAILABLE", v2="AVAILABLE"), Plan(unload=(1, 2))),
    "an unloading version is left alone": ({2}, known(v1="UNLOADING", v2="AVAILABLE"), Plan()),
}  # fmt: skip


@pytest.mark.parametrize("case", DECISIONS)
def test_what_is_done_next(case: str) -> None:
    targets, records, expected = DECISIONS[case]
    assert plan(targets, records) == expected


STATES = st.sampled_from(["START", "LOADING", "AVAILABLE", "UNLOADING", "END", "BROKEN", "BACK"])


@given(st.sets(st.integers(1, 6)), st.dictionaries(st.integers(1, 6), STATES))
def test_the_last_available_version_never_goes_before_a_wanted_one_is_available(
    targets: set[int], states: dict[int, str]
) -> None:
    records = known(**{f"v{version}": state for version, state in states.items()})
    decided = plan(targets, records)
    left = {v for v, r in records.items() if r.state is State.AVAILABLE} - set(decided.unload)
    had = any(r.state is State.AVAILABLE for r in records.values())
    assert not (had and targets and not left)
    assert not set(decided.unload) & targets
    assert set(decided.load) <= targets


def test_settled_means_every_wanted_version_is_available_or_failed() -> None:
    assert settled({1, 2}, known(v1="AVAILABLE", v2="BROKEN"))
    assert not settled({1, 2}, known(v1="AVAILABLE", v2="LOADING"))
    assert not settled({1}, {})
    assert not settled(set(), known(v1="AVAILABLE"))
