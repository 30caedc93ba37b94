"""What is written into a manifest is read from it, in whatever pieces it arrives, and a million files fit."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fovea_api.contract.entries import Entries, Entry
from fovea_api.contract.json_stream import LONGEST_VALUE, members
from fovea_api.contract.manifest import Manifest, ManifestError, UnknownFormat
from hypothesis import given
from hypothesis import strategies as st

SHA = hashlib.sha256(b"").hexdigest()
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
DIGESTS = st.one_of(st.binary(min_size=32, max_size=32).map(bytes.hex), st.just("none"), st.just(SHA.upper()))
ENTRIES = st.dictionaries(
    PATHS, st.tuples(st.sampled_from(["files", "1"]), st.integers(0, 1 << 70), DIGESTS), max_size=8
).map(lambda files: [Entry(path, f"{folder}/{path}", size, sha) for path, (folder, size, sha) in files.items()])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    cut = []
    for size in sizes:
        cut.append(data[:size])
        data = data[size:]
    return [*cut, data]


def in_the_old_layout(manifest: Manifest) -> bytes:
    """As releases before this one wrote it: sorted, so that the format comes after the files."""
    document = json.loads(manifest.to_json())
    return json.dumps(document, indent=1, sort_keys=True).encode()


@given(ENTRIES, st.lists(st.integers(0, 40), max_size=30), st.booleans(), st.booleans())
def test_what_is_written_is_read_in_whatever_pieces_it_arrives(
    entries: list[Entry], sizes: list[int], named: bool, old: bool
) -> None:
    manifest = Manifest(3, entries, complete=True, step=7, named=named)
    assert list(manifest.entries) == sorted(entries, key=lambda entry: entry.path)
    data = in_the_old_layout(manifest) if old else manifest.to_json()
    assert Manifest.read(pieces(data, sizes)) == manifest
    assert json.loads(data)["files"] == [
        {"path": e.path, "key": e.key, "size": e.size, "sha256": e.sha256} for e in manifest.entries
    ]


@given(st.dictionaries(st.text(), JSON, max_size=4), st.lists(JSON, max_size=4), st.lists(st.integers(0, 9)))
def test_an_object_that_arrives_in_pieces_is_what_it_would_be_in_one(
    document: dict[str, Any], long: list[Any], sizes: list[int]
) -> None:
    document.pop("long", None)
    data = json.dumps({**document, "long": long}, ensure_ascii=False).encode(errors="replace")
    read, elements = {}, []
    for name, value in members(pieces(data, sizes), "long"):
        if name == "long":
            elements.append(value)
        else:
            read[name] = value
    assert {**read, "long": elements} == json.loads(data)


@pytest.mark.parametrize("number", ["12", "0.5", "-1.25e+10", "3E-7", "2e5"])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_number_is_whole_wherever_it_is_cut(number: str, size: int) -> None:
    data = f'{{"a":{number}}}'.encode()
    assert list(members(pieces(data, [size] * len(data)), "long")) == [("a", json.loads(number))]


@pytest.mark.parametrize(
    "text", ["", " ", "[]", "{", '{"a"', '{"a":', '{"a":1', '{"a":1}x', '{"a" 1}', '{"long":[1', '{"long":[1,]}', "1"]
)
def test_what_is_no_whole_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        list(members([text.encode()], "long"))


class Arriving:
    """Text of which the end never comes, in pieces that are counted."""

    def __init__(self, begins: str, goes_on: str) -> None:
        self.begins, self.goes_on, self.arrived = begins, goes_on, 0

    def __iter__(self) -> Iterator[bytes]:
        yield self.begins.encode()
        while True:
            self.arrived += len(self.goes_on)
            assert self.arrived < 3 * LONGEST_VALUE, "it is kept although it cannot be right any more"
            yield self.goes_on.encode()


@pytest.mark.parametrize(
    ("begins", "goes_on"),
    [
        ('{"files":[{"path" 1}', ',{"path":"a"}' * 6000),
        ('{"files":[{"path":"a"} {"path":"b"}', ',{"path":"a"}' * 6000),
        ('{"attempt":?', "1" * 70_000),
        ('{"attempt":"', "a" * 70_000),
        ('{"attempt":', "1" * 70_000),
        ('{"attempt":1.', "x" * 70_000),
        ('{"attempt', "t" * 70_000),
        ('{"attempt":{"a":[', "[1]," * 20_000),
    ],
)
def test_what_cannot_be_right_any_more_is_malformed_before_the_rest_has_come(begins: str, goes_on: str) -> None:
    with pytest.raises(ManifestError, match="malformed"):
        Manifest.read(Arriving(begins, goes_on))


def test_a_value_of_some_length_is_refused_or_read_whatever_pieces_it_arrives_in() -> None:
    for excess, sizes in ((0, []), (0, [LONGEST_VALUE]), (1, []), (1, [LONGEST_VALUE])):
        text = "x" * (LONGEST_VALUE - 2 + excess)
        arriving = pieces(json.dumps({"long": [text], "end": text}).encode(), sizes)
        if excess:
            with pytest.raises(ValueError, match=r"longer than|Unterminated"):
                list(members(arriving, "long"))
        else:
            assert list(members(arriving, "long")) == [("long", text), ("end", text)]


def test_the_longest_entry_that_a_store_can_hold_is_read() -> None:
    """A key has 1024 bytes; each may become six characters, in `key` and in `path`."""
    path = "\x01" * 1018
    manifest = Manifest(1, [Entry(path, f"files/{path}", (1 << 63) - 1, SHA)])
    assert len(manifest.to_json()) < LONGEST_VALUE / 50
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_a_manifest_that_is_nested_without_end_is_malformed() -> None:
    with pytest.raises(ManifestError, match="malformed"):
        Manifest.from_json(b'{"format":' + b"[" * 500_000)
    with pytest.raises(ManifestError, match="malformed"):
        Manifest.from_json(b'{"format":' + b"[" * 500_000 + b"]" * 500_000 + b"}")


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ManifestError, match="malformed"):
        Manifest.from_json(b'{"format": "\xff"}')
    with pytest.raises(ManifestError, match="malformed"):
        Manifest.from_json(b'{"format": 1}\xc3')


@pytest.mark.parametrize(
    "file",
    [
        {"path": "../a"},
        {"path": "a//b"},
        {"key": "/a"},
        {"path": "\ud800"},
        {"size": float("inf")},
        {"size": "many"},
        {"sha256": None, "path": None},
    ],
)
def test_a_file_that_cannot_be_one_is_refused_unless_the_format_is_another(file: dict[str, object]) -> None:
    document = json.loads(Manifest(1, [Entry("a", "files/a", 1, SHA)]).to_json())
    document["files"][0] |= file
    with pytest.raises(ManifestError):
        Manifest.from_json(json.dumps(document).encode())
    with pytest.raises(UnknownFormat):
        Manifest.from_json(json.dumps(document | {"format": 9}, sort_keys=True).encode())


def test_entries_are_a_sequence_like_another() -> None:
    files = [Entry(f"{n:03}", f"files/{n:03}", n, hashlib.sha256(b"%d" % n).hexdigest()) for n in range(10)]
    packed = Entries(reversed(files))
    assert packed == files
    assert packed != files[1:]
    assert [packed[0], packed[-1], packed[2:4]] == [files[0], files[9], tuple(files[2:4])]
    with pytest.raises(IndexError):
        packed[10]
