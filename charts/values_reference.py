"""Print the reference of the chart's values as Markdown, made of the comments in charts/fovea/values.yaml.

A comment belongs to the key below it. Keys of a map that stands for free content (machine types, resources) are shown as its default.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

VALUES = Path(__file__).parent / "fovea/values.yaml"
INDENT = 2
HEAD = """# Values of the chart

Made from the comments in `charts/fovea/values.yaml` by `make generate`: edit them, not this page. A key that is not here is refused by its name.
"""


@dataclass(frozen=True)
class Entry:
    """One key: its path, its comment, its default (None for a map whose keys follow)."""

    path: tuple[str, ...]
    comment: str
    default: Any
    is_map: bool


def entries(text: str) -> Iterator[Entry]:
    """Every documented key, in order. Raises ValueError naming a key without a comment, unless its map is free content."""
    values = yaml.safe_load(text)
    lines = text.splitlines()
    comment: list[str] = []
    path: list[str] = []
    free: int | None = None
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        stripped = line.strip()
        depth = (len(line) - len(line.lstrip())) // INDENT
        if stripped.startswith("#"):
            comment.append(stripped.lstrip("#").strip())
        elif not stripped:
            comment = []
        elif free is None or depth <= free:
            path[depth:] = [stripped.partition(":")[0]]
            if not comment:
                raise ValueError(f"values.yaml: {'.'.join(path)} has no comment above it")
            value = _at(values, path)
            is_map = isinstance(value, dict) and bool(value) and following.strip().startswith("#")
            free = None if is_map or not isinstance(value, (dict, list)) else depth
            yield Entry(tuple(path), " ".join(comment), None if is_map else value, is_map)
            comment = []


def _at(values: Any, path: list[str]) -> Any:
    for key in path:
        values = values[key]
    return values


def markdown(text: str) -> str:
    """The page: a section for each map of the top level, a line for each key."""
    lines = [HEAD]
    for entry in entries(text):
        name = ".".join(entry.path)
        if entry.is_map and len(entry.path) == 1:
            lines.append(f"\n## {name}\n\n{entry.comment}\n")
        elif entry.is_map:
            lines.append(f"- **`{name}`**: {entry.comment}")
        else:
            lines.append(f"- `{name}`: {entry.comment} Default: `{json.dumps(entry.default)}`")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown(VALUES.read_text()))
