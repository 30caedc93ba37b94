"""Names of the columns of an exported model of tables, in a file of its folder: its signature knows their number alone."""

import json
from collections.abc import Sequence
from pathlib import Path

FILE = "assets.extra/fovea_columns.json"
"""Within a SavedModel's folder: `{"format": 1, "columns": ["width", "height"]}`. The model server does not read it."""
FORMAT = 1


def write(model: Path, columns: Sequence[str]) -> None:
    """Write the names, in the order of the model's input."""
    path = model / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"format": FORMAT, "columns": list(columns)}
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read(model: Path) -> tuple[str, ...]:
    """The names; empty for a model without them. Raises ValueError for a file that cannot be read."""
    path = model / FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        written, names = document["format"], tuple(map(str, document["columns"]))
    except FileNotFoundError:
        return ()
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"{path} does not name the columns of the model ({error}): export the model again") from error
    if written != FORMAT:
        raise ValueError(f"{path} has format {written!r}, this version reads format {FORMAT}")
    return names
