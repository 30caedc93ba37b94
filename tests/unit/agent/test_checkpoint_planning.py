"""Which checkpoints are published, pruned and restored."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from fovea_agent.checkpoints import survey, to_prune, to_publish
from fovea_agent.fence import newest_attempt
from fovea_agent.restore import newest_first, published_numbers, stored_numbers
from fovea_agent.store import StoredObject
from fovea_api.contract import storage
from hypothesis import given
from hypothesis import strategies as st
from support.memory_store import MemoryStore

STEPS = st.sets(st.integers(0, 20))


def listing(*keys: str) -> list[StoredObject]:
    return [StoredObject(key, 1, "e", datetime(2026, 1, 1, tzinfo=UTC)) for key in keys]


@pytest.mark.parametrize(
    ("local", "settled", "keep", "expected"),
    [
        pytest.param({200}, set(), 3, [200], id="a new one is published"),
        pytest.param({200, 400}, {200}, 3, [400], id="what is published is not published again"),
        pytest.param({1, 2, 3, 4}, set(), 2, [4, 3], id="after an outage the newest go first, older ones not at all"),
        pytest.param({1, 4}, {2, 3}, 3, [4], id="one that would be pruned at once is not published"),
        pytest.param({10, 9}, set(), 3, [10, 9], id="steps are compared as numbers"),
        pytest.param(set(), {1}, 3, [], id="nothing is nothing"),
        pytest.param({1}, set(), 0, [1], id="one is always kept"),
    ],
)
def test_what_is_published(local: set[int], settled: set[int], keep: int, expected: list[int]) -> None:
    assert to_publish(local, settled, keep) == expected


@pytest.mark.parametrize(
    ("published", "present", "keep", "expected"),
    [
        pytest.param({1, 2, 3}, {1, 2, 3}, 3, [], id="as many as are kept"),
        pytest.param({1, 2, 3}, {1, 2, 3}, 2, [1], id="the oldest goes"),
        pytest.param({2, 3}, {1, 2, 3}, 2, [1], id="payload of a dead writer goes with its contemporaries"),
        pytest.param({2, 3}, {2, 3, 4}, 2, [], id="payload that is being written stays"),
        pytest.param({3}, {1, 2, 3}, 2, [], id="nothing goes while fewer than kept are published"),
        pytest.param(set(), {1}, 1, [], id="nothing goes while none is published"),
    ],
)
def test_what_is_pruned(published: set[int], present: set[int], keep: int, expected: list[int]) -> None:
    assert to_prune(published, present, keep) == expected


@given(published=STEPS, orphans=STEPS, keep=st.integers(1, 5))
def test_pruning_always_leaves_the_newest_published_ones(published: set[int], orphans: set[int], keep: int) -> None:
    pruned = set(to_prune(published, published | orphans, keep))
    assert published - pruned == set(sorted(published)[-keep:])


@given(local=STEPS, settled=STEPS, keep=st.integers(1, 5))
def test_what_is_published_is_never_pruned_right_after(local: set[int], settled: set[int], keep: int) -> None:
    sent = to_publish(local, settled, keep)
    everything = settled | set(sent)
    assert not set(sent) & set(to_prune(everything, everything, keep))


def test_no_folder_means_no_checkpoint(tmp_path: Path) -> None:
    assert survey(tmp_path / "absent").steps == {}


def test_a_publication_is_what_has_a_manifest() -> None:
    parent = storage.checkpoints("n/jobs/j/u")
    store = MemoryStore()
    names = (
        f"{parent}/200/manifest.json",
        f"{parent}/200/1/weights",
        f"{parent}/400/1/weights",
        f"{parent}/600/1/manifest.json",
        f"{parent}/latest/manifest.json",
        f"{parent}/0800/manifest.json",
        f"{parent}/900",
        "n/jobs/j/u/checkpoints-old/800/manifest.json",
    )
    store.content.update(dict.fromkeys(names, b""))
    assert set(published_numbers(store, parent)) == {200}
    assert stored_numbers(store, parent) == {200, 400, 600}
    assert newest_first({3, 20, 100}) == [100, 20, 3]


def test_the_newest_attempt_is_the_greatest_number() -> None:
    job = "n/jobs/j/u"
    assert newest_attempt(listing(storage.fence(job, 9), storage.fence(job, 10), f"{storage.fences(job)}x"), job) == 10
    assert newest_attempt([], job) is None
