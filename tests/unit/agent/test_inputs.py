"""What of a listing becomes which file, and what may have been meant by a name that is not there."""

from datetime import UTC, datetime

import pytest
from fovea_agent.errors import Misconfigured
from fovea_agent.inputs import near_matches, plan_listing
from fovea_agent.store import StoredObject


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
        plan_listing("v/d", listing(key))


def test_a_key_that_is_a_file_and_a_folder_at_once_is_refused() -> None:
    with pytest.raises(Misconfigured, match="'v/d/a' is a file and a folder"):
        plan_listing("v/d", listing("v/d/a", "v/d/a/b"))


def test_near_matches_are_the_most_similar_siblings() -> None:
    siblings = ["v/datasets/digits/", "v/datasets/digits-64/", "v/datasets/cats/", "v/datasets/digits.csv"]
    assert near_matches("digit", siblings)[0] == "v/datasets/digits/"
    assert "v/datasets/cats/" not in near_matches("digit", siblings)
    assert near_matches("zebra", siblings) == []
