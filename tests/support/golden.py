"""Golden files: whole objects and outputs compared with files under tests/data; `pytest --update-golden` writes them again."""

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
        expected = yaml.safe_load(self._held(path, _text(document)))
        assert _text(document) == _text(expected), f"{path} differs: if it should, run pytest with --update-golden"

    def check_text(self, path: str, text: str) -> None:
        """Assert that `tests/data/<path>` holds exactly this text and a line's end."""
        held = self._held(path, text + "\n")
        assert text + "\n" == held, f"{path} differs: if it should, run pytest with --update-golden"

    def _held(self, path: str, new: str) -> str:
        file = DATA / path
        if self._update:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(new, encoding="utf-8")
        assert file.exists(), f"{file} does not exist: run pytest with --update-golden and read what it wrote"
        return file.read_text(encoding="utf-8")


def _text(document: Any) -> str:
    return yaml.dump(document, Dumper=_Plain, sort_keys=True, width=120, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    """Without anchors: the same object at two places is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def add_option(parser: pytest.Parser) -> None:
    """Called by tests/conftest.py."""
    parser.addoption("--update-golden", action="store_true", help="write tests/data again from what the code makes now")
