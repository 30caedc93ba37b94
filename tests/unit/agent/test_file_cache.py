"""The cache of models on a node: it gives what it has, keeps to its room, and is never in the way."""

import errno
import hashlib
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

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


class Disk:
    """A disk of so many bytes on which the cache is: a copy to it that does not fit leaves what fits, and fails."""

    def __init__(self, size: int, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._size, self._cache, self._copy = size, cache, shutil.copyfile
        self.most = 0
        """Bytes that the cache had at any time."""
        monkeypatch.setattr(shutil, "copyfile", self._copyfile)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=self._free()))

    def _free(self) -> int:
        return self._size - sum(path.stat().st_size for path in self._cache.iterdir())

    def _copyfile(self, source: Path, target: Path) -> None:
        free = self._free()
        self._copy(source, target)
        if target.stat().st_size > free:
            os.truncate(target, free)
            raise OSError(errno.ENOSPC, "No space left on device")
        self.most = max(self.most, self._size - self._free())


def test_on_a_disk_that_is_full_the_oldest_files_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    FileCache(cache, 100).keep(*model(tmp_path / "one", a=b"1111", b=b"2222"))
    for name, age in ((b"1111", 90), (b"2222", 50)):
        os.utime(cache / digest(name), (time.time() - age,) * 2)
    Disk(9, cache, monkeypatch)
    FileCache(cache, 100).keep(*model(tmp_path / "two", c=b"3333"))
    assert held(cache) == {digest(b"2222"), digest(b"3333")}


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fills_up(source: Path, target: Path) -> None:
        target.write_bytes(b"be")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", fills_up)
    FileCache(tmp_path / "cache", ROOM).keep(*model(tmp_path / "model", a=b"four"))
    assert held(tmp_path / "cache") == set()


def test_what_was_left_unfinished_goes_also_where_a_copy_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / ".unfinished-old").write_bytes(b"12345678")
    os.utime(cache / ".unfinished-old", (time.time() - 4000,) * 2)
    Disk(9, cache, monkeypatch)
    FileCache(cache, ROOM).keep(*model(tmp_path / "model", a=b"four"))
    assert held(cache) == {digest(b"four")}


def test_the_cache_is_at_no_time_larger_than_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    FileCache(cache, ROOM).keep(*model(tmp_path / "one", a=b"1111", b=b"2222"))
    disk = Disk(1000, cache, monkeypatch)
    FileCache(cache, ROOM).keep(*model(tmp_path / "two", c=b"3333", d=b"4444"))
    assert (held(cache), disk.most) == ({digest(b"3333"), digest(b"4444")}, 8)


def test_what_the_model_has_there_makes_no_room_for_the_rest_of_it(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    FileCache(cache, ROOM).keep(*model(tmp_path / "one", a=b"1111"))
    FileCache(cache, ROOM).keep(*model(tmp_path / "two", b=b"2222"))
    os.utime(cache / digest(b"1111"), (time.time() - 90,) * 2)
    FileCache(cache, ROOM).keep(*model(tmp_path / "three", a=b"1111", c=b"3333"))
    assert held(cache) == {digest(b"1111"), digest(b"3333")}


def test_what_fits_in_no_case_lets_nothing_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    FileCache(cache, 100).keep(*model(tmp_path / "one", a=b"1111"))
    Disk(6, cache, monkeypatch)
    FileCache(cache, 100).keep(*model(tmp_path / "two", b=b"22222222"))
    assert held(cache) == {digest(b"1111")}


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
