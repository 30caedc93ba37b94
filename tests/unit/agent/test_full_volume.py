"""A volume that is nearly full: a file of which only the beginning fits is an error, not a file."""

import hashlib
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fovea_agent.download import RANGED_FROM, WHOLE, Wanted, downloads
from fovea_agent.object_reader import append_range
from fovea_agent.parallel import run_each
from support.memory_store import MemoryStore

ROOM = 100_000
DATA = bytes(range(256)) * 1200


@contextmanager
def room(size: int) -> Iterator[None]:
    """No file can have more bytes: a write(2) beyond them writes what fits, and only the next one fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.content["a"] = DATA
    return store


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("way", ["whole", "one request", "pieces"])
def test_a_download_that_does_not_fit_is_no_download(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, durable: bool
) -> None:
    assert len(DATA) < min(WHOLE, RANGED_FROM)
    if way != "whole":
        monkeypatch.setattr("fovea_agent.download.WHOLE", 0)
    if way == "pieces":
        monkeypatch.setattr("fovea_agent.download.RANGED_FROM", 0)
    wanted = [Wanted("a", "a", len(DATA), sha256=hashlib.sha256(DATA).hexdigest())]
    with room(ROOM), pytest.raises(OSError, match="File too large"):
        run_each(downloads(store, wanted, tmp_path, tmp_path, durable=durable))
    run_each(downloads(store, wanted, tmp_path, tmp_path, durable=durable))
    assert (tmp_path / "a").read_bytes() == DATA, "once there is room, it is fetched"


def test_a_range_that_does_not_fit_is_no_range(store: MemoryStore, tmp_path: Path) -> None:
    etag = store.objects("a")[0].etag
    with room(ROOM), pytest.raises(OSError, match="File too large"), (tmp_path / "a").open("wb") as file:
        append_range(file, store, "a", etag, 0, len(DATA))
