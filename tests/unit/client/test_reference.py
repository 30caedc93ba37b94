"""The page that is generated from the command line is what is checked in."""

from pathlib import Path

from fovea.cli.reference import page

ROOT = Path(__file__).parents[3]


def test_the_reference_page_is_the_commands_help() -> None:
    assert (ROOT / "docs/reference/cli.md").read_text() == page(), (
        "stale: python -m fovea.cli.reference > docs/reference/cli.md"
    )
