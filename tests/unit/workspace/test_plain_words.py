"""What users read is in plain English: a short list of words that pages, CRDs, reasons and messages do not use."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
READ_BY_USERS = (
    ROOT / "README.md",
    ROOT / "charts/fovea/values.yaml",
    ROOT / "api/fovea_api/v1alpha1/conditions.py",
    *sorted((ROOT / "crds").glob("*.yaml")),
    *sorted((ROOT / "docs").glob("[hrt]*/*.md")),
    *sorted((ROOT / "changelog.d").glob("*.md")),
)
WITH_MESSAGES = (
    "agent/fovea_agent",
    "client/fovea",
    "operator/fovea_operator",
    "serving/fovea_serving",
    "trainers/fovea_trainers",
)
INSTEAD = {
    "anew": "again, or new",
    "(is|are|was|were|be|been) told(?! apart)": "gets, receives, learns",
    "tried on": "tried, or run",
    "(come|comes|coming) up": "starts, becomes ready",
    "brought up": "started",
    "so many": "the number, or its name",
    "whoever": "the caller, a client, a user",
}
"""Patterns, and what to write."""


def found(text: str) -> list[str]:
    """The words of the list in a text, whatever its line breaks, each with what to write instead."""
    flat = re.sub(r"[\s#]+", " ", text)
    return [
        f"…{flat[max(0, match.start() - 40) : match.end() + 20]}…: write {instead}"
        for words, instead in INSTEAD.items()
        for match in re.finditer(rf"\b{words}\b", flat, flags=re.IGNORECASE)
    ]


def messages(module: Path) -> Iterator[str]:
    """The strings of a module, those of f-strings in pieces, without docstrings."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


@pytest.mark.parametrize("path", READ_BY_USERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_users_read_is_in_plain_words(path: Path) -> None:
    assert found(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("folder", WITH_MESSAGES)
def test_messages_are_in_plain_words(folder: str) -> None:
    modules = sorted((ROOT / folder).rglob("*.py"))
    assert modules
    assert [(str(module), words) for module in modules for text in messages(module) for words in found(text)] == []


def test_the_pages_are_there() -> None:
    folders = {path.parent.relative_to(ROOT).as_posix() for path in READ_BY_USERS}
    assert folders >= {"crds", "docs/how-to", "docs/reference", "docs/tutorial"}


def test_words_are_found_across_a_line_break_and_within_a_sentence_only() -> None:
    assert len(found("# The job is\n# told so. It Comes up.")) == 2
    assert found("The two cannot be told apart: an untold number of upcoming updates.") == []
