"""Whatever the point at which the writer dies: a reader sees nothing or the whole, and a second try makes it whole."""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from fovea_agent import folder as folder_module
from fovea_agent.errors import Corrupt, Missing, Vanished
from fovea_agent.folder import Folder
from fovea_agent.publish import Publication, publish
from fovea_agent.restore import read_manifest, restore, restore_newest
from fovea_agent.sending import Sending
from fovea_api.contract import storage
from fovea_api.contract.manifest import Manifest
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
            store.lives = life
            sending = Sending(store, transfers=1)
            with suppress(Died):
                publish(sending, Folder(Path(root), "source"), Publication(PREFIX, str(number), number))
            seen = what_a_reader_sees(store, Path(root, f"reader-{attempt}"))
            assert seen is None or seen == files
            assert seen == files or life is not None
        assert sum(write == f"put {storage.manifest(PREFIX)}" for write in store.writes) <= 1


def test_a_second_try_sends_only_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for name, data in {"big": b"0123456789", "a": b"a", "b": b"b"}.items():
        (tmp_path / "source" / name).write_bytes(data)
    store = MemoryStore()
    store.lives = 4  # begin, two of three parts, …
    sending = Sending(store, transfers=1)
    with pytest.raises(Died):
        publish(sending, Folder(tmp_path, "source"), Publication(PREFIX, "1", 1))
    first = list(store.writes)
    store.lives = None
    publish(sending, Folder(tmp_path, "source"), Publication(PREFIX, "1", 1))
    assert len(store.writes) == len(set(store.writes)), "nothing is sent twice"
    assert store.writes[: len(first)] == first
    assert store.writes[-1] == f"put {storage.manifest(PREFIX)}"


def source(tmp_path: Path, files: dict[str, bytes]) -> Folder:
    for name, data in files.items():
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_bytes(data)
    return Folder(tmp_path, "source")


@pytest.mark.parametrize("fence", [1, 2], ids=["before it is read", "before the manifest is written"])
def test_a_folder_that_is_removed_during_an_outage_is_not_published_empty_or_in_part(
    tmp_path: Path, fence: int
) -> None:
    folder = source(tmp_path, {"a": b"a", "b": b"b"})
    fences = iter(range(1, 3))

    def wait_out_an_outage() -> None:
        if next(fences) == fence:
            shutil.rmtree(tmp_path / "source")

    store = MemoryStore()
    with pytest.raises(Vanished):
        publish(Sending(store, wait_out_an_outage), folder, Publication(PREFIX, "1", 1, step=200))
    assert storage.manifest(PREFIX) not in store.content


def test_a_folder_that_has_another_file_by_the_end_is_not_published_without_it(tmp_path: Path) -> None:
    folder = source(tmp_path, {"a": b"a"})
    store = MemoryStore()

    def write_another() -> None:
        (tmp_path / "source" / f"{len(store.writes)}").touch()

    sending = Sending(store, write_another)
    with pytest.raises(Vanished, match="files were removed or added"):
        publish(sending, folder, Publication(PREFIX, "1", 1))
    assert storage.manifest(PREFIX) not in store.content


def test_a_checkpoint_without_files_is_none(tmp_path: Path) -> None:
    folder = source(tmp_path, {"sub/a": b"a"})
    (tmp_path / "source" / "sub" / "a").unlink()
    store = MemoryStore()
    with pytest.raises(Vanished, match="has no files"):
        publish(Sending(store), folder, Publication(PREFIX, "1", 1, step=200))
    assert store.content == {}
    publish(Sending(store), folder, Publication("vision/output", "files", 1))  # an output may be


def test_a_checkpoint_without_files_in_the_store_is_passed_over(tmp_path: Path) -> None:
    folder = source(tmp_path, {"a": b"a"})
    store = MemoryStore()
    publish(Sending(store), folder, Publication(PREFIX, "1", 1, step=200))
    parent = PREFIX.rpartition("/")[0]
    store.put_if_absent(storage.manifest(f"{parent}/400"), Manifest(1, (), step=400).to_json())
    restored = restore_newest(store, parent, tmp_path / "checkpoints", tmp_path / "staging")
    assert restored is not None
    assert (restored.number, list(restored.passed_over)) == (200, [400])
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["200"]


class DroppedUpload(MemoryStore):
    """Drops the first upload when it is to be completed; another object of that size is in its place."""

    def finish_multipart(self, key: str, upload: str, etags: list[str]) -> None:
        if upload == "upload-0":
            parts = self.uploads.pop(upload)[1]
            self.content[key] = b"?" * sum(map(len, parts.values()))
            raise Missing(upload)
        super().finish_multipart(key, upload, etags)


def test_another_object_of_equal_size_is_not_taken_for_the_finished_upload(tmp_path: Path) -> None:
    folder = source(tmp_path, {"big": b"0123456789"})
    store = DroppedUpload()
    publish(Sending(store), folder, Publication(PREFIX, "1", 1))
    assert what_a_reader_sees(store, tmp_path) == {"big": b"0123456789"}


def test_a_manifest_in_its_place_that_cannot_be_read_is_said_to_be_corrupt(tmp_path: Path) -> None:
    folder = source(tmp_path, {"a": b"a"})
    store = MemoryStore()
    store.put_if_absent(storage.manifest(PREFIX), b"{rot")
    with pytest.raises(Corrupt, match=f"{storage.manifest(PREFIX)} is corrupt"):
        publish(Sending(store), folder, Publication(PREFIX, "1", 1))


def rewrite(folder: Path) -> None:
    (folder / "a").write_bytes(b"A")


def replace_one(folder: Path) -> None:
    (folder / "new").write_bytes(b"A")
    (folder / "new").rename(folder / "a")


def add(folder: Path) -> None:
    (folder / "c").write_bytes(b"c")


def add_a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def rewrite_and_remove(folder: Path) -> None:
    (folder / "a").write_bytes(b"AA")
    (folder / "a").unlink()


@pytest.mark.parametrize("change", [rewrite, replace_one, add, add_a_pipe, rewrite_and_remove])
@pytest.mark.parametrize("when", ["while it is sent", "before the manifest is written"])
@pytest.mark.parametrize("only", [None, ["a", "b", "c", "pipe"]], ids=["a folder", "some of its entries"])
def test_a_folder_that_is_held_and_changes_is_not_published_as_if_it_were_whole(
    tmp_path: Path, change: Callable[[Path], None], when: str, only: list[str] | None
) -> None:
    folder = Folder(tmp_path, source(tmp_path, {"a": b"a", "b": b"b"}).relative, only)
    changes = iter([when == "while it is sent", when != "while it is sent"])

    def meanwhile() -> None:
        if next(changes):
            change(tmp_path / "source")

    store = MemoryStore()
    with folder.held() as held, pytest.raises(Vanished, match="changed while it was published"):
        publish(Sending(store, meanwhile), held, Publication(PREFIX, "1", 1, step=200))
    assert storage.manifest(PREFIX) not in store.content


@pytest.mark.parametrize("removed", ["a", "", "by rename"], ids=["a file", "all of it", "all of it by rename"])
def test_what_is_removed_of_a_folder_that_is_held_is_published_as_it_was(tmp_path: Path, removed: str) -> None:
    folder = source(tmp_path, {"a": b"a", "b": b"b"})

    def remove() -> None:
        if removed == "a":
            (tmp_path / "source" / "a").unlink(missing_ok=True)
        elif not removed:
            shutil.rmtree(tmp_path / "source", ignore_errors=True)
        elif (tmp_path / "source").exists():
            (tmp_path / "source").rename(tmp_path / ".trash")

    store = MemoryStore()
    with folder.held() as held:
        publish(Sending(store, remove), held, Publication(PREFIX, "1", 1, step=200))
    assert what_a_reader_sees(store, tmp_path) == {"a": b"a", "b": b"b"}


def test_something_that_cannot_be_published_and_appears_meanwhile_is_not_left_out_in_silence(tmp_path: Path) -> None:
    folder = source(tmp_path, {"a": b"a"})
    changes = iter([lambda _: None, os.mkfifo])

    def meanwhile() -> None:
        next(changes)(tmp_path / "source" / "pipe")

    store = MemoryStore()
    with pytest.raises(Vanished, match="changed while it was published"):
        publish(Sending(store, meanwhile), folder, Publication(PREFIX, "1", 1))
    assert storage.manifest(PREFIX) not in store.content
