"""Print the reference of the chart's values as Markdown, made of the comments in charts/fovea/values.yaml; with --defaults the
values that templates fill in where they are absent.

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
FREE = ("machineTypes",)
"""A map whose keys are names of the user's, although its defaults have comments."""
DEFAULTS_HEAD = "# Made from charts/fovea/values.yaml by `make generate`: a chart cannot read its own values.yaml. Used by fovea.defaults.\n"
HEAD = """# Values of the chart

Made from the comments in `charts/fovea/values.yaml` by `make generate`: edit them, not this page. A key that is not here is refused by its name.
A value that is absent or null is its default; `[]` is an empty list. In maps whose keys are yours (machine types, resources, labels) null removes a key.
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


def defaults(text: str) -> str:
    """All values, and which of them are maps of free content: where such a one is absent alone, it stays so."""
    free = [entry.path for entry in entries(text) if entry.path == FREE or isinstance(entry.default, dict)]
    names = [".".join(path) for path in free if path[0] != FREE[0] or path == FREE]
    document = {"free": names, "values": yaml.safe_load(text)}
    return DEFAULTS_HEAD + yaml.safe_dump(document, sort_keys=False)


if __name__ == "__main__":
    sys.stdout.write((defaults if "--defaults" in sys.argv[1:] else markdown)(VALUES.read_text()))
