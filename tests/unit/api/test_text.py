"""What goes to the API server is the same as JSON and as YAML, whatever text stands in it."""

import json
from typing import Any

import pytest
import yaml
from fovea_api.contract.text import REPLACEMENT, cut, storable, to_json
from hypothesis import given
from hypothesis import strategies as st

anything = st.text(st.characters())  # with lone surrogates, which st.text() alone leaves out
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | anything,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(anything, inner, max_size=4),
    max_leaves=12,
)
ODD = [
    "model failed 🤗",
    "\x00\x01\x1b[31m\x7f\x85\x9f",
    "\u2028\u2029\ufeff\ufffe\uffff\U0001ffff\U0010ffff",
    "cut \ud83e, and the other half \udd17",
    "d\udce9j\udce0",  # a file name in Latin-1, as Python reads it
    "\\ud83e\\udd17 spelled out",
    "<<",
    "a\r\nb\tc",
]


@given(documents)
def test_a_body_is_the_same_as_json_and_as_yaml(document: Any) -> None:
    body = to_json(document)
    assert json.loads(body) == storable(document)
    assert yaml.load(body, yaml.CSafeLoader) == storable(document)


@pytest.mark.parametrize("text", ODD)
def test_odd_text_arrives_whole_but_for_halves_of_characters(text: str) -> None:
    body = to_json({text: text})
    assert yaml.load(body, yaml.CSafeLoader) == {storable(text): storable(text)}
    assert b"\\ud" not in body.replace(b"\\\\ud", b"")


def test_keys_that_become_the_same_do_not_make_a_mapping_with_two_of_them() -> None:
    assert (
        to_json({f"a{half}": number for number, half in enumerate("\ud800\udfff", 1)})
        == f'{{"a{REPLACEMENT}":1}}'.encode()
    )


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_no_body(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json({"loss": number})


@given(anything, st.integers(8, 40))
def test_a_cut_text_has_no_more_bytes_than_it_may_have(text: str, most: int) -> None:
    assert len(cut(text, most).encode()) <= most
    assert cut(text, 10_000) == storable(text)
