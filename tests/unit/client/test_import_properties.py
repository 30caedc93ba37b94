"""Whatever is changed in a source: it is refused in words, or each leaf of it is in the report, and what is taken is in the manifest."""

from copy import deepcopy
from typing import Any

import pytest
from fovea.sdk import InvalidError
from fovea.sdk.importing.draft import UNKNOWN, Line
from fovea.sdk.importing.imported import Imported, imported
from fovea.sdk.importing.source import Field, children
from fovea_api.v1alpha1 import TrainingJob
from hypothesis import given
from hypothesis import strategies as st
from support.imports import GIVEN, SCHEMAS, SOURCES, accounting, at, document, in_manifests, unknown_fields

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 100),
    st.sampled_from(["", "x", "4Gi", "Never", "None", "0.5"]),
    st.just([]),
    st.just({}),
    st.just([{"name": "x"}]),
    st.just({"a": {"b": 1}}),
)
NAMES = st.sampled_from(
    [
        *(
            "name",
            "spec",
            "replicas",
            "template",
            "env",
            "args",
            "volumes",
            "emptyDir",
            "hostPath",
            "labels",
            "suspend",
        ),
        *(
            "restartPolicy",
            "securityContext",
            "runAsUser",
            "unheardOf",
            "elasticPolicy",
            "workerCount",
            "jobDir",
            "a.b/c",
        ),
    ]
)
DOCUMENTS = {name: document(name) for name in SOURCES}


def places(field: Field) -> list[Field]:
    """A value and all within it."""
    return [field, *(one for child in children(field) for one in places(child))]


@st.composite
def sources(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A source of the examples with up to three changes: a field more, another value, or a field less."""
    name = draw(st.sampled_from(sorted(DOCUMENTS)))
    changed = deepcopy(DOCUMENTS[name])
    for _ in range(draw(st.integers(0, 3))):
        holders = [one for one in places(Field((), changed)) if isinstance(one.value, (dict, list)) and one.value]
        if not holders:
            break
        holder = draw(st.sampled_from(holders)).value
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        kind = draw(st.sampled_from(["more", "other", "less"]))
        if kind == "more" and isinstance(holder, dict):
            holder[draw(NAMES)] = deepcopy(draw(VALUES))
        elif kind == "less":
            del holder[draw(st.sampled_from(keys))]
        else:
            holder[draw(st.sampled_from(keys))] = deepcopy(draw(VALUES))
    return name, changed


def made(name: str, source: dict[str, Any]) -> Imported | None:
    """None: it is refused, which InvalidError says in words."""
    try:
        return imported(source, GIVEN[name]) if name in GIVEN else imported(source)
    except InvalidError:
        return None


@given(sources())
def test_each_leaf_of_a_source_is_in_the_report(case: tuple[str, dict[str, Any]]) -> None:
    name, source = case
    before = deepcopy(source)
    if done := made(name, source):
        assert len(list(accounting(source, done.lines))) > 0
    assert source == before


@given(sources())
def test_what_is_taken_is_in_the_manifest_leaf_by_leaf(case: tuple[str, dict[str, Any]]) -> None:
    name, source = case
    if done := made(name, source):
        for leaf, line in accounting(source, done.lines):
            if line.action == "taken" and line.key and leaf.value is not None:
                assert str(within(line, leaf)) == str(leaf.value), (leaf, line)
                held = in_manifests(done, line)
                # Arguments: --job-dir may follow them.
                same = held[: len(line.became)] if line.key[-1] == "args" else held
                assert line.became == same or line.became in held, line


def within(line: Line, leaf: Field) -> Any:
    """What stands in the manifest where the leaf went."""
    return at(line.became, leaf.path[len(line.path) :])


@given(sources())
def test_a_manifest_has_known_fields_only_and_the_types_take_it(case: tuple[str, dict[str, Any]]) -> None:
    if done := made(*case):
        TrainingJob.model_validate(done.manifest)
        assert list(unknown_fields(done.manifest, SCHEMAS["TrainingJob"])) == []


@given(sources())
def test_every_line_that_drops_or_changes_says_why_or_what_it_became(case: tuple[str, dict[str, Any]]) -> None:
    if done := made(*case):
        assert [line for line in done.lines if line.action != "taken" and not line.why and not line.key] == []


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_field_that_nobody_knows_is_named_wherever_it_stands(name: str) -> None:
    found = 0
    for place in places(Field((), DOCUMENTS[name])):
        if not isinstance(place.value, dict) or not place.value:
            continue
        source = deepcopy(DOCUMENTS[name])
        at(source, place.path)["unheardOf"] = "x"
        if done := made(name, source):
            (leaf,) = [line for leaf, line in accounting(source, done.lines) if leaf.path == (*place.path, "unheardOf")]
            # A label may have any name, and what holds labels is taken with them.
            assert leaf.action == "dropped" or "unheardOf" in (*leaf.key, *str(leaf.became).split("'")), place
            found += leaf.why == UNKNOWN
    assert found >= 2
