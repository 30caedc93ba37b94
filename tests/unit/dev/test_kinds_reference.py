"""The page of the kinds is made of their definitions, and is what is checked in."""

from pathlib import Path
from typing import Any

import pytest
from fovea_api.v1alpha1 import KINDS
from fovea_api.v1alpha1.crd import definition
from kinds_reference import fields, kind_of, limits, page
from support.golden import Golden

ROOT = Path(__file__).parents[3]
STEP = {
    "type": "object",
    "required": ["weight"],
    "properties": {
        "weight": {"type": "integer", "description": "Percentage.", "minimum": 0, "maximum": 99},
        "labels": {
            "type": "object",
            "description": "Labels of <step>.",
            "maxProperties": 2,
            "additionalProperties": {"type": "string", "maxLength": 63, "pattern": "^(a|b)*$"},
            "x-kubernetes-validations": [{"rule": "true", "message": "names in labels are short"}],
        },
    },
}
SPEC = {
    "type": "object",
    "description": "What is wanted.",
    "required": ["model"],
    "properties": {
        "model": {"type": "string", "description": "Name of the model.", "minLength": 1, "maxLength": 40},
        "version": {"x-kubernetes-int-or-string": True, "description": "Its version.", "default": "Latest"},
        "strategy": {"type": "string", "description": "A | B.", "enum": ["", "A", "B"]},
        "ratio": {"type": "number", "description": "A part.", "minimum": 0, "default": 0.5},
        "policy": {
            "type": "object",
            "description": "Retries.",
            "default": {},
            "properties": {"limit": {"type": "integer", "description": "Most of them.", "maximum": 1000000000}},
        },
        "steps": {"type": "array", "description": "Steps.", "minItems": 1, "maxItems": 20, "items": STEP},
        "affinity": {
            "type": "object",
            "description": "Placement.",
            "properties": {"nodeAffinity": {"type": "object", "properties": {"x": {"type": "string"}}}},
        },
        "args": {
            "type": "object",
            "description": "Flags.",
            "additionalProperties": {"x-kubernetes-preserve-unknown-fields": True},
        },
    },
    "x-kubernetes-validations": [{"rule": "true", "message": "spec.steps goes with strategy A only"}],
}
MADE = {
    "spec": {
        "scope": "Namespaced",
        "names": {"kind": "Thing", "shortNames": ["th"]},
        "versions": [
            {
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "description": "Makes things.",
                        "properties": {
                            "spec": SPEC,
                            "status": {
                                "type": "object",
                                "description": "Its state.",
                                "properties": {"state": {"type": "string", "description": "In a word."}},
                            },
                        },
                        "x-kubernetes-validations": [{"rule": "true", "message": "metadata.name is short"}],
                    }
                }
            }
        ],
    }
}


def test_a_definition_as_a_page(golden: Golden) -> None:
    golden.check_text("dev/kinds-reference.md", page([MADE]))


def test_fields_of_kubernetes_own_are_not_listed() -> None:
    paths = [field.path for field in fields(SPEC)]
    assert "affinity" in paths
    assert not [path for path in paths if path.startswith("affinity.")]


@pytest.mark.parametrize(
    ("schema", "words", "allowed"),
    [
        ({"type": "string"}, "string", ""),
        ({"type": "integer", "minimum": 1}, "integer", "at least 1"),
        ({"type": "number", "minimum": 1, "exclusiveMinimum": True, "maximum": 9}, "number", "more than 1, at most 9"),
        ({"type": "number", "maximum": 9, "exclusiveMaximum": True}, "number", "less than 9"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "object"}}}, "list of lists of objects", ""),
        (
            {"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": "string", "enum": ["a", "b"]}},
            "list of strings",
            "1 to 3 entries; each: `a`, `b`",
        ),
        ({"x-kubernetes-int-or-string": True, "maxLength": 24}, "integer or string", "at most 24 characters"),
    ],
)
def test_a_type_and_its_limits_in_words(schema: dict[str, Any], words: str, allowed: str) -> None:
    assert (kind_of(schema), limits(schema)) == (words, allowed)


def test_the_page_is_what_the_kinds_say() -> None:
    written = (ROOT / "docs/reference/kinds.md").read_text(encoding="utf-8")
    assert written == page([definition(kind) for kind in KINDS]), "stale: make generate"
