"""The cache of models on a node: it gives what it has, keeps to its room, and is never in the way."""

import hashlib
import os
import time
from pathlib import Path

import pytest
from fovea_agent.file_cache import FileCache
from fovea_api.contract.manifest import Entry, Manifest

ROOM = 10


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def model(folder: Path, **files: bytes) -> tuple[Manifest, Path]:
    """A folder with these files, and its manifest."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    entries = tuple(Entry(name, f"files/{name}", len(data), digest(data)) for name, data in files.items())
    return Manifest(0, entries), folder


def held(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()}


def test_what_one_pod_has_fetched_the_next_one_copies(tmp_path: Path) -> None:
    FileCache(tmp_path / "cache", ROOM).keep(*model(tmp_path / "model", a=b"four", b=b"more"))
    second = FileCache(tmp_path / "cache", ROOM)
    second.offer(digest(b"four"), 4, tmp_path / "copy")
    second.offer(digest(b"none"), 4, tmp_path / "none")
    assert (second.found, (tmp_path / "copy").read_bytes(), (tmp_path / "none").exists()) == (4, b"four", False)


def test_the_file_that_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache", ROOM)
    cache.keep(*model(tmp_path / "one", a=b"1111", b=b"2222"))
    for name, age in ((b"1111", 50), (b"2222", 90)):
        os.utime(tmp_path / "cache" / digest(name), (time.time() - age,) * 2)
    cache.offer(digest(b"2222"), 4, tmp_path / "copy")
    cache.keep(*model(tmp_path / "two", c=b"3333", d=b"larger than all the room"))
    assert held(tmp_path / "cache") == {digest(b"2222"), digest(b"3333")}


def test_what_a_pod_left_unfinished_goes_after_an_hour(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for name, age in ((".unfinished-old", 4000), (".unfinished-new", 10)):
        (cache / name).write_bytes(b"")
        os.utime(cache / name, (time.time() - age,) * 2)
    FileCache(cache, ROOM).keep(*model(tmp_path / "model", a=b"four"))
    assert held(cache) == {".unfinished-new", digest(b"four")}


@pytest.mark.parametrize("damage", ["cut", "a folder", "no folder for it"])
def test_a_cache_that_is_broken_gives_nothing_and_raises_nothing(tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "cache"
    if damage == "no folder for it":
        cache.write_bytes(b"a file")
    else:
        cache.mkdir()
        place = cache / digest(b"four")
        place.write_bytes(b"fou") if damage == "cut" else place.mkdir()
    of = FileCache(cache, ROOM)
    of.offer(digest(b"four"), 4, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    of.keep(*model(tmp_path / "model", a=b"four"))
