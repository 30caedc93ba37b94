"""Printing: plain tables, JSON, YAML. Nothing here knows a kind."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import click


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Left-aligned columns two spaces apart, as kubectl's; an empty cell is a dash."""
    cells = [list(headers), *[[str(cell) if cell not in (None, "") else "-" for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(lines)


def fields(pairs: Sequence[tuple[str, object]]) -> str:
    """`Name:  value` lines with aligned values; pairs without a value are left out."""
    shown = [(name, str(value)) for name, value in pairs if value not in (None, "")]
    width = max((len(name) for name, _ in shown), default=0) + 1
    indent = " " * (width + 2)
    return "\n".join(f"{f'{name}:'.ljust(width)}  {value.replace(chr(10), chr(10) + indent)}" for name, value in shown)


def indented(text: str) -> str:
    """Two spaces before each line."""
    return "\n".join(f"  {line}" for line in text.split("\n"))


def document(value: Any, format_: str) -> str:
    """JSON or YAML of a document."""
    if format_ == "json":
        return json.dumps(value, indent=2, ensure_ascii=False)
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True)).rstrip("\n")


def documents(values: Sequence[Any], format_: str, *, several: bool) -> str:
    """One document as it is; where there could be several, a list in JSON and YAML documents apart by `---`."""
    if format_ == "json" and several:
        return document(list(values), format_)
    return "\n---\n".join(document(value, format_) for value in values)


def show(value: Any, text: Callable[[], str], format_: str) -> None:
    """Print the document or, for format table, the text."""
    click.echo(text() if format_ == "table" else document(value, format_))


def show_list(documents: Sequence[Any], text: Callable[[], str], format_: str, *, empty: str) -> None:
    """Print the documents or, for format table, the text; of none of them a sentence on standard error."""
    if documents or format_ != "table":
        show(list(documents), text, format_)
    else:
        click.echo(empty, err=True)


def parse_time(stamp: str | None) -> datetime | None:
    """A Kubernetes time stamp, or None."""
    return datetime.fromisoformat(stamp) if stamp else None


def duration(seconds: float) -> str:
    """Two units at most: 42s, 3m5s, 2h10m, 4d3h."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        amount, left = divmod(left, size)
        if amount or (unit == "s" and not parts):
            parts.append(f"{amount}{unit}")
        elif parts:
            break
    return "".join(parts[:2])


def age(stamp: str | None, now: datetime) -> str:
    """How long ago; empty without a time stamp."""
    then = parse_time(stamp)
    return duration((now - then).total_seconds()) if then else ""


def when(stamp: str | None, now: datetime) -> str:
    """The time stamp and how long ago; empty without one."""
    return f"{stamp} ({age(stamp, now)} ago)" if stamp else ""


def size(count: int) -> str:
    """Bytes for people: 512 B, 3.1 MB."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def number(value: float) -> str:
    """A metric, four significant digits."""
    return f"{value:.4g}"


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)
