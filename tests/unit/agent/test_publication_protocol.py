"""Whatever the point at which the writer dies: a reader sees nothing or the whole, and a second try makes it whole."""

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from fovea_agent import folder as folder_module
from fovea_agent.errors import Missing
from fovea_agent.folder import Folder
from fovea_agent.publish import Publication, Sending, publish
from fovea_agent.restore import read_manifest, restore
from fovea_api.contract import storage
from hypothesis import given, settings
from hypothesis import strategies as st
from support.memory_store import Died, MemoryStore

PREFIX = "vision/jobs/digits/uid/checkpoints/200"
NAMES = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3).map("/".join)


@pytest.fixture(autouse=True, scope="module")
def _small_parts():
    """Parts of 4 bytes from 8 bytes on, so that small files go in parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_module, "part_size", lambda size: 0 if size <= 8 else 4)
        yield


def is_tree(files: dict[str, bytes]) -> bool:
    return not any(other.startswith(f"{name}/") for name in files for other in files)


FILES = st.dictionaries(NAMES, st.binary(max_size=24), max_size=6).filter(is_tree)


def what_a_reader_sees(store: MemoryStore, folder: Path) -> dict[str, bytes] | None:
    try:
        manifest = read_manifest(store, PREFIX)
    except Missing:
        return None
    target = folder / "restored"
    restore(store, PREFIX, manifest, target, folder / "staging")
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}


@settings(max_examples=50)
@given(files=FILES, lives=st.lists(st.integers(0, 12), max_size=3), lost=st.booleans(), node_lost=st.booleans())
def test_a_reader_sees_nothing_or_the_whole_wherever_the_writer_dies(
    files: dict[str, bytes], lives: list[int], lost: bool, node_lost: bool
) -> None:
    with tempfile.TemporaryDirectory() as root:
        source = Path(root, "source")
        source.mkdir()
        for name, data in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(data)
        store = MemoryStore()
        store.dies_after_writing = lost
        for attempt, life in enumerate([*lives, None], start=1):
            # A restarted sidecar finds its records and its own payload; another attempt starts without both.
            number = attempt if node_lost else 1
            uploads = Path(root, f"uploads-{number}")
            uploads.mkdir(exist_ok=True)
            store.lives = life
            sending = Sending(store, uploads, transfers=1)
            with suppress(Died):
                publish(sending, Folder(Path(root), "source"), Publication(PREFIX, str(number), number))
            seen = what_a_reader_sees(store, Path(root, f"reader-{attempt}"))
            assert seen is None or seen == files
            assert seen == files or life is not None
        assert sum(write == f"put {storage.manifest(PREFIX)}" for write in store.writes) <= 1


def test_a_second_try_sends_only_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "uploads").mkdir()
    for name, data in {"big": b"0123456789", "a": b"a", "b": b"b"}.items():
        (tmp_path / "source" / name).write_bytes(data)
    store = MemoryStore()
    store.lives = 4  # begin, two of three parts, …
    sending = Sending(store, tmp_path / "uploads", transfers=1)
    with pytest.raises(Died):
        publish(sending, Folder(tmp_path, "source"), Publication(PREFIX, "1", 1))
    first = list(store.writes)
    store.lives = None
    publish(sending, Folder(tmp_path, "source"), Publication(PREFIX, "1", 1))
    assert len(store.writes) == len(set(store.writes)), "nothing is sent twice"
    assert store.writes[: len(first)] == first
    assert store.writes[-1] == f"put {storage.manifest(PREFIX)}"
    assert list((tmp_path / "uploads").iterdir()) == []
