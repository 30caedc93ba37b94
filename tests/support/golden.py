"""Golden files: whole objects compared with YAML under tests/data; `pytest --update-golden` writes them anew."""

from pathlib import Path
from typing import Any

import pytest
import yaml

DATA = Path(__file__).parents[1] / "data"


class Golden:
    """Compares objects with files, or writes the files."""

    def __init__(self, *, update: bool) -> None:
        self._update = update

    def check(self, path: str, document: Any) -> None:
        """Assert that `tests/data/<path>` holds exactly this document."""
        file = DATA / path
        if self._update:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_text(document), encoding="utf-8")
        assert file.exists(), f"{file} does not exist: run pytest with --update-golden and read what it wrote"
        expected = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert _text(document) == _text(expected), f"{file} differs: if it should, run pytest with --update-golden"


def _text(document: Any) -> str:
    return yaml.dump(document, Dumper=_Plain, sort_keys=True, width=120, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    """Without anchors: the same object at two places is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def add_option(parser: pytest.Parser) -> None:
    """Called by tests/conftest.py."""
    parser.addoption("--update-golden", action="store_true", help="write tests/data anew from what the code makes now")
