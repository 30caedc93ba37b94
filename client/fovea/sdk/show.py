"""What a TFRecord file holds, in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from fovea_api.contract import picture_names
from fovea_wire.example_pb2 import Example, Feature
from google.protobuf.message import DecodeError

from . import local_files, tfrecord

VALUES = 10
"""Of a feature, that are shown."""
_TEXT = 60


@dataclass(frozen=True)
class Values:
    """A feature: its kind, how many values it has, and the first of them."""

    kind: str
    count: int
    values: str


@dataclass(frozen=True)
class Shown:
    """A record: its number from 1 on, its size in bytes, and what it holds by name."""

    number: int
    bytes: int
    features: dict[str, Values] | None
    """None: it is no Example."""


def records(path: Path, first: int, count: int) -> tuple[list[Shown], int]:
    """`count` records from number `first` on, and how many the file has. All of it is read, and its checksums compared.

    Raises InvalidError for a file that is damaged or no TFRecord file.
    """
    with local_files.reading(path):
        found = tfrecord.read(path)
        before = sum(1 for _ in islice(found, first - 1))
        shown = [_shown(before + place, record) for place, record in enumerate(islice(found, count), 1)]
        return shown, before + len(shown) + sum(1 for _ in found)


def _shown(number: int, record: bytes) -> Shown:
    try:
        example = Example.FromString(record)
    except DecodeError:
        return Shown(number, len(record), None)
    found = dict(sorted(example.features.feature.items()))
    if not found:
        return Shown(number, len(record), None)
    return Shown(number, len(record), {name: _feature(feature) for name, feature in found.items()})


def _feature(feature: Feature) -> Values:
    kind = feature.WhichOneof("kind")
    if kind is None:
        return Values("empty", 0, "")
    values: Any = getattr(feature, kind).value
    more = ", …" if len(values) > VALUES else ""
    return Values(kind.removesuffix("_list"), len(values), ", ".join(_words(values[:VALUES])) + more)


def _words(values: Any) -> Iterator[str]:
    for value in values:
        yield _of_bytes(value) if isinstance(value, bytes) else f"{value:g}" if isinstance(value, float) else str(value)


def _of_bytes(value: bytes) -> str:
    if picture_names.MAGIC.match(value):
        return f"picture of {len(value)} bytes"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"{len(value)} bytes"
    if not text.isprintable():
        return f"{len(value)} bytes"
    return f'"{text}"' if len(text) <= _TEXT else f'"{text[:_TEXT]}…" ({len(value)} bytes)'
