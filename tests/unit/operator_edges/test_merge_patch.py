"""Merge patches: what is written of a status makes of the old one exactly the new one."""

from typing import Any

from fovea_operator.cluster import merge_patch
from hypothesis import given
from hypothesis import strategies as st
from support.memory_api import merged

SCALARS = st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2)
NAMES = st.sampled_from(["state", "message", "conditions", "roles"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner | st.none(), max_size=3)
        | st.dictionaries(NAMES, inner, max_size=3)
        | st.lists(st.dictionaries(NAMES, inner | st.none(), max_size=2), max_size=2)
    ),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=4)


@given(DOCUMENTS, DOCUMENTS)
def test_a_patch_takes_any_document_to_any_other_one(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merged(before, merge_patch.between(before, after)) == after


@given(DOCUMENTS)
def test_nothing_is_patched_where_nothing_changes(document: dict[str, Any]) -> None:
    assert merge_patch.between(document, document) == {}


@given(DOCUMENTS, DOCUMENTS)
def test_a_patch_writes_no_field_that_stays_as_it_is(before: dict[str, Any], after: dict[str, Any]) -> None:
    patch = merge_patch.between(before, after)
    assert not [key for key in patch if key in before and key in after and before[key] == after[key]]


def test_a_field_that_is_gone_becomes_null_and_a_list_is_replaced_whole() -> None:
    before = {"message": "it waits", "progress": {"step": 1, "metrics": {"loss": 2.0}}, "conditions": [{"type": "A"}]}
    after = {"progress": {"step": 2, "metrics": {"accuracy": 0.5}}, "conditions": [{"type": "A"}, {"type": "B"}]}
    assert merge_patch.between(before, after) == {
        "message": None,
        "progress": {"step": 2, "metrics": {"loss": None, "accuracy": 0.5}},
        "conditions": [{"type": "A"}, {"type": "B"}],
    }
