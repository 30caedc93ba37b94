"""Names of the columns of an exported model of tables, in a file of its folder: its signature knows their number alone."""

import json
from collections.abc import Sequence
from pathlib import Path

from fovea_trainers.errors import DataError

FILE = "assets.extra/fovea_columns.json"
"""Within a SavedModel's folder: `{"format": 1, "columns": ["width", "height"]}`. A model server does not read it."""
FORMAT = 1


def write(model: Path, columns: Sequence[str]) -> None:
    """Write the names, in the order of the input `features`; nothing where they are only numbered."""
    if not columns or _numbered(columns):
        return
    path = model / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"format": FORMAT, "columns": list(columns)}
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read(model: Path) -> tuple[str, ...]:
    """The names; empty for a model without them. Raises DataError for a file that cannot be read."""
    path = model / FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise DataError(f"{path} has format {document['format']!r}, this version reads format {FORMAT}")
        return tuple(map(str, document["columns"]))
    except FileNotFoundError:
        return ()
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise DataError(f"{path} does not name the columns of the model ({error}): export the model again") from error


def _numbered(columns: Sequence[str]) -> bool:
    return all(name.isdecimal() for name in columns)
