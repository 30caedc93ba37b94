"""What is generated from the client is what is checked in."""

from pathlib import Path

from fovea.cli.reference import page
from fovea.wire import generate

ROOT = Path(__file__).parents[3]


def test_the_reference_page_is_the_commands_help() -> None:
    assert (ROOT / "docs/reference/cli.md").read_text() == page(), (
        "stale: python -m fovea.cli.reference > docs/reference/cli.md"
    )


def test_the_wire_code_is_what_its_protos_generate(tmp_path: Path) -> None:
    written = generate.generate(tmp_path)
    assert [path.name for path in written] == sorted(path.name for path in generate.HERE.glob("*_pb2.py*"))
    for path in written:
        assert path.read_text() == (generate.HERE / path.name).read_text(), f"stale: python {generate.__file__}"
