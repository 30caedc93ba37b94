"""What users read is in plain English: a short list of words that the pages, the CRDs and the reasons do not use."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
READ_BY_USERS = (
    ROOT / "README.md",
    ROOT / "charts/fovea/values.yaml",
    ROOT / "api/fovea_api/v1alpha1/conditions.py",
    *sorted((ROOT / "crds").glob("*.yaml")),
    *sorted((ROOT / "docs").glob("[hrt]*/*.md")),
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


@pytest.mark.parametrize("path", READ_BY_USERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_users_read_is_in_plain_words(path: Path) -> None:
    assert found(path.read_text(encoding="utf-8")) == []


def test_the_pages_are_there() -> None:
    folders = {path.parent.relative_to(ROOT).as_posix() for path in READ_BY_USERS}
    assert folders >= {"crds", "docs/how-to", "docs/reference", "docs/tutorial"}


def test_words_are_found_across_a_line_break_and_within_a_sentence_only() -> None:
    assert len(found("# The job is\n# told so. It Comes up.")) == 2
    assert found("The two cannot be told apart: an untold number of upcoming updates.") == []
