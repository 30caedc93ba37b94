"""What of a listing becomes which file, and what may have been meant by a name that is not there."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fovea_agent.errors import Misconfigured
from fovea_agent.inputs import Inputs, near_matches, plan_listing
from fovea_agent.patience import Patience
from fovea_agent.settings import StoreAccess
from fovea_agent.store import Store, StoredObject
from fovea_api.contract.plan import Input
from hypothesis import given
from hypothesis import strategies as st


def listing(*keys: str) -> list[StoredObject]:
    return [StoredObject(key, len(key), f"etag of {key}", datetime(2026, 1, 1, tzinfo=UTC)) for key in keys]


def test_a_listing_is_fetched_as_it_was_when_it_was_listed() -> None:
    wanted = plan_listing("v/d", listing("v/d/0/a.png", "v/d/0/", "v/d/labels.csv"))
    assert [(w.path, w.key, w.size, w.etag) for w in wanted] == [
        ("0/a.png", "v/d/0/a.png", 11, "etag of v/d/0/a.png"),
        ("labels.csv", "v/d/labels.csv", 14, "etag of v/d/labels.csv"),
    ]


def test_a_whole_bucket_can_be_an_input() -> None:
    assert [w.path for w in plan_listing("", listing("a", "b/c"))] == ["a", "b/c"]


@pytest.mark.parametrize("key", ["v/d/../../etc/passwd", "v/d//x", "v/d/./x", "v/d/a\0b"])
def test_a_key_that_cannot_be_a_path_is_refused_by_name(key: str) -> None:
    with pytest.raises(Misconfigured, match="cannot become a file"):
        list(plan_listing("v/d", listing(key)))


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(("v/d/a", "v/d/a/b"), id="one after the other"),
        pytest.param(("v/d/a", "v/d/a-x", "v/d/a.png", "v/d/a/b/c"), id="with names between them"),
        pytest.param(("v/d/0/a", "v/d/a", "v/d/a!/b", "v/d/a!/c", "v/d/a/b"), id="with folders between them"),
    ],
)
def test_a_key_that_is_a_file_and_a_folder_at_once_is_refused(keys: tuple[str, ...]) -> None:
    assert list(keys) == sorted(keys)
    with pytest.raises(Misconfigured, match="'v/d/a' is a file and a folder"):
        list(plan_listing("v/d", listing(*keys)))


def test_names_that_begin_alike_are_no_conflict() -> None:
    keys = ("v/d/a", "v/d/a-b/c", "v/d/a.png", "v/d/ab/c", "v/d/b")
    assert [w.key for w in plan_listing("v/d", listing(*keys))] == list(keys)


NAMES = st.lists(st.sampled_from(["a", "b", "a-", "a!", "ab", "a0"]), min_size=1, max_size=3).map("/".join)


@given(st.sets(NAMES, max_size=12))
def test_exactly_those_listings_are_refused_that_no_folder_could_hold(paths: set[str]) -> None:
    conflict = any(other.startswith(f"{path}/") for path in paths for other in paths)
    refused = False
    try:
        assert [w.path for w in plan_listing("", listing(*sorted(paths)))] == sorted(paths)
    except Misconfigured:
        refused = True
    assert refused == conflict


def test_a_data_set_is_not_planned_before_it_is_fetched() -> None:
    asked: list[int] = []

    def endless() -> Iterator[StoredObject]:
        for number in range(1_000_000):
            asked.append(number)
            yield from listing(f"v/d/{number:07}")

    assert next(iter(plan_listing("v/d", endless()))).path == "0000000"
    assert asked == [0]


@pytest.mark.parametrize("uri", ["s3://My Bucket/x", "s3://ab/x", "s3://10.0.0.1/x", "s3://vision/../x"])
def test_an_address_that_no_store_could_have_is_the_users_to_correct(tmp_path: Path, uri: str) -> None:
    store = Store(StoreAccess("http://127.0.0.1:9", "fovea", "a", "b"), Patience(0))
    with pytest.raises(Misconfigured, match=r"input 'data': 's3://.*correct spec\.inputs\.data"):
        Inputs(store, "vision/jobs/j/u", tmp_path, tmp_path / "staging").fetch(Input("data", uri))


def test_near_matches_are_the_most_similar_siblings() -> None:
    siblings = ["v/datasets/digits/", "v/datasets/digits-64/", "v/datasets/cats/", "v/datasets/digits.csv"]
    assert near_matches("digit", siblings)[0] == "v/datasets/digits/"
    assert "v/datasets/cats/" not in near_matches("digit", siblings)
    assert near_matches("zebra", siblings) == []
