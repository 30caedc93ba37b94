"""A million files: what is held of each of them is packed, and nothing of all of them is made at once."""

import hashlib
import json
import os
import tracemalloc
import weakref
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fovea_agent.arrived import Arrivals, Arrived
from fovea_agent.connections import Chunks, Readable
from fovea_agent.folder import UNREADABLE, Fingerprint, Folder
from fovea_agent.inputs import Inputs
from fovea_agent.known import Known
from fovea_agent.prune import prune
from fovea_agent.publish import Publication, manifest_of, publish, send_ahead, unreadable
from fovea_agent.restore import matches, read_manifest
from fovea_agent.sending import Sending
from fovea_agent.store import PAGE, StoredObject
from fovea_api.contract import environment, storage
from fovea_api.contract.manifest import Entry, Manifest
from fovea_api.contract.plan import INPUT_PUBLICATION, Input
from hypothesis import given
from hypothesis import strategies as st
from support.memory_store import MemoryStore
from support.sidecar import Pod

PREFIX = "vision/jobs/digits/uid/output/2"
EARLIER = "vision/jobs/digits/uid/output/1"
CONTENT = b"content"
FEW, MANY = 1500, 4500
"""Both of more files than are put into one piece of a manifest."""


class Swallowing(MemoryStore):
    """Keeps manifests only, in a file; says of everything else that it is there, for a number of attempts."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        super().__init__()
        self.file, self.names, self.there = folder / "manifest", names, [EARLIER]
        self.largest = 0

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        etag = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
        for found in self.there:
            if prefix.startswith(found):
                for name in self.names:
                    yield StoredObject(f"{found}/files/{name}", len(CONTENT), etag, datetime.now(UTC))

    def objects(self, prefix: str) -> list[StoredObject]:
        return []

    def copy(self, source: str, etag: str, key: str) -> str:
        return etag

    def create(self, key: str, body: Callable[[], Readable | bytes], size: int) -> bool:
        made = body()
        assert not isinstance(made, bytes)
        with self.file.open("wb") as file:
            while chunk := made.read(1 << 16):
                self.largest = max(self.largest, len(chunk))
                file.write(chunk)
        assert self.file.stat().st_size == size
        return True

    def stream(self, key: str, *, offset: int = 0, length: int = 0, etag: str = "") -> Iterator[bytes]:
        with self.file.open("rb") as file:
            while chunk := file.read(1 << 16):
                yield chunk


def names(tmp_path: Path, count: int) -> list[str]:
    """`count` files, in folders of a hundred, each with a name of 15 characters."""
    first = tmp_path / "first"
    first.write_bytes(CONTENT)
    found = [f"{number // 100:05}/{number:09}" for number in range(count)]
    for name in found:
        path = tmp_path / "output" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(first)
    return found


def peak(action: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_later_attempt_that_publishes_a_million_files_and_one_that_reads_them_fit_into_the_agents_memory(
    tmp_path: Path,
) -> None:
    peaks = []
    for count in (FEW, MANY):
        folder = tmp_path / str(count)
        folder.mkdir()
        store = Swallowing(folder, names(folder, count))
        sending = Sending(store, transfers=1, earlier=lambda _: [EARLIER])
        output, publication = Folder(folder, "output"), Publication(PREFIX, "files", 2)

        def write(
            store: Swallowing = store,
            sending: Sending = sending,
            output: Folder = output,
            as_: Publication = publication,
        ) -> None:
            send_ahead(sending, output, as_)
            store.there.append(PREFIX)
            publish(sending, output, as_)

        written = peak(write)
        read = peak(lambda store=store: read_manifest(store, PREFIX))  # type: ignore[misc]
        assert len(read_manifest(store, PREFIX).entries) == count
        assert 0 < store.largest <= 1 << 16
        peaks.append((written, read))
    (few_written, few_read), (many_written, many_read) = peaks
    assert (many_written - few_written) / (MANY - FEW) < 300, "bytes a file, beside some 50 MiB of the agent itself"
    assert (many_read - few_read) / (MANY - FEW) < 200


def test_an_input_of_a_million_files_costs_no_more_than_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fovea_agent.inputs.restore", lambda *_: None)
    item = Input("pictures", f"s3://fovea/{EARLIER}", INPUT_PUBLICATION)
    costs = []
    for count in (FEW, MANY):
        folder = tmp_path / str(count)
        folder.mkdir()
        store = Swallowing(folder, names(folder, count))
        publish(Sending(store, transfers=1), Folder(folder, "output"), Publication(EARLIER, "files", 1))
        inputs = Inputs(store, "vision/jobs/digits/uid", folder / "inputs", folder / "staging")
        inputs.folder.mkdir()
        costs.append(peak(lambda inputs=inputs: inputs.fetch(item)))  # type: ignore[misc]
    assert (costs[1] - costs[0]) / (MANY - FEW) < 200


@pytest.mark.parametrize("step", [1, -1])
def test_the_files_of_a_manifest_are_read_in_order_of_path_whoever_wrote_it(step: int) -> None:
    """No release has written them in another order; the identity of an input would depend on it."""
    files = [{"path": name, "key": f"files/{name}", "size": 1, "sha256": "s"} for name in ("a", "a-b", "a/b", "ä")]
    written = json.loads(Manifest(1, [Entry(**file) for file in files]).to_json())  # type: ignore[arg-type]
    written["files"] = written["files"][::step]
    read = Manifest.from_json(json.dumps(written).encode())
    assert [entry.path for entry in read.entries] == [file["path"] for file in files]


def test_a_publication_of_a_million_files_is_one_manifest_in_pieces(tmp_path: Path) -> None:
    store = Swallowing(tmp_path, names(tmp_path, 30))
    published = publish(Sending(store), Folder(tmp_path, "output"), Publication(EARLIER, "files", 1))
    manifest = read_manifest(store, EARLIER)
    assert (published.digest, published.files) == (manifest.digest, 30)
    assert [entry.path for entry in manifest.entries] == store.names
    assert storage.manifest(EARLIER) not in store.content


# -- what is packed -------------------------------------------------------------------------------------------------


def tree(tmp_path: Path, *paths: str) -> Folder:
    for path in paths:
        (tmp_path / "output" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "output" / path).write_bytes(path.encode())
    return Folder(tmp_path, "output")


def test_a_listing_is_in_order_of_path_as_the_store_orders_keys(tmp_path: Path) -> None:
    paths = ["a-b", "a.b", "a/b", "a/b-c/d", "a/b.c", "ab", "b", "z/y/x/w", "z0", "ä", "日/本"]
    folder = tree(tmp_path, *reversed(paths))
    assert list(folder.listing().files) == sorted(paths)


def test_two_looks_are_equal_exactly_when_nothing_changed(tmp_path: Path) -> None:
    folder = tree(tmp_path, "a", "b/c")
    first = folder.listing()
    assert folder.listing() == first
    assert folder.listing().stats.mark() == first.stats.mark()
    assert dict(first.stats) == first.stats == dict(folder.listing().stats)
    changed = [lambda: os.utime(tmp_path / "output" / "a"), lambda: tree(tmp_path, "b/d")]
    for change in changed:
        before = folder.listing()
        change()
        assert folder.listing() != before
        assert folder.listing().stats.mark() != before.stats.mark()


def test_a_listing_is_asked_by_path(tmp_path: Path) -> None:
    folder = tree(tmp_path, "a", "b/c")
    (tmp_path / "output" / "link").symlink_to("b/c")
    found = folder.listing()
    assert (found.files["link"], found.stats["link"]) == ("b/c", found.stats["b/c"])
    assert found.stats["a"].size == 1
    for absent in ("", "aa", "z"):
        assert absent not in found.files
        assert absent not in found.stats


def test_what_is_known_of_files_goes_over_to_the_next_look_as_far_as_they_did_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fovea_agent.known.UNCHANGED_SECONDS", -3600.0)
    monkeypatch.setattr("fovea_agent.folder.part_size", lambda size: 0 if size <= 8 else 4)
    paths = ["b", "d", "f/big file", "h"]
    folder, known = tree(tmp_path, *paths), Known()
    first = known.of(folder, folder.listing())
    contents = {path: folder.fingerprint(path) for path in paths}
    for number, path in enumerate(first.listing.stats.paths[:3]):
        first.put(number, contents[path], began=float("inf"))
    tree(tmp_path, "a", "c", "d", "z")
    second = known.of(folder, folder.listing())
    found = {path: second.get(number) for number, path in enumerate(second.listing.stats.paths)}
    unchanged = {path: contents[path] for path in ("b", "f/big file")}
    assert found == dict.fromkeys(["a", "c", "d", "h", "z"]) | unchanged
    known.forget(folder)
    assert known.of(folder, folder.listing()).get(1) is None


@given(
    st.dictionaries(
        st.sampled_from("abcdefgh"), st.tuples(st.integers(0, 1 << 50), st.text("0123456789abcdef-", max_size=40))
    ),
    st.sets(st.sampled_from("abcdefgh")),
)
def test_what_a_store_has_is_found_by_the_places_of_the_files(
    objects: dict[str, tuple[int, str]], files: set[str]
) -> None:
    whole = {
        name: (size, hashlib.md5(etag.encode()).hexdigest() if len(etag) > 20 else etag)
        for name, (size, etag) in objects.items()
    }
    paths = sorted(files)
    found = Arrivals("base/", paths)
    for name, (size, etag) in whole.items():
        found.put(f"base/{name}", size, etag)
    expected = [Arrived(f"base/{path}", *whole[path]) if path in whole else None for path in paths]
    assert [found.get(number) for number in range(len(paths))] == expected


@given(st.lists(st.binary(max_size=9)), st.lists(st.integers(1, 7), min_size=1))
def test_a_body_that_is_made_in_pieces_is_read_in_others(made: list[bytes], amounts: list[int]) -> None:
    body, read = Chunks(lambda: iter(made)), []
    for amount in [*amounts, -1]:
        read.append(body.read(amount))
        assert amount < 0 or len(read[-1]) <= amount
    assert b"".join(read) == b"".join(made)
    assert body.read(1) == b""


# -- what is done with many files beside publishing -----------------------------------------------------------------


def test_a_publication_of_many_objects_is_pruned_page_by_page() -> None:
    class Counting(MemoryStore):
        most = 0

        def remove(self, keys: Iterable[str]) -> None:
            wanted = list(keys)
            self.most = max(self.most, len(wanted))
            super().remove(wanted)

    store, parent = Counting(), "vision/caches/features"
    for generation in (1, 2):
        store.content[storage.manifest(f"{parent}/{generation}")] = Manifest(1, ()).to_json()
    store.content |= {f"{parent}/1/files/{number:05}": b"" for number in range(2500)}
    prune(store, parent, 1)
    assert list(store.content) == [storage.manifest(f"{parent}/2")]
    assert store.most == PAGE


@pytest.mark.parametrize("other", [None, "content", "name", "more"])
def test_a_folder_is_compared_with_a_manifest_without_keeping_what_each_file_contains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str | None
) -> None:
    folder = tree(tmp_path, *(f"{number:03}" for number in range(60)))
    contents = Known().of(folder, folder.listing())
    for number, path in enumerate(contents.listing.stats.paths):
        contents.put(number, folder.fingerprint(path), began=0.0)
    manifest = manifest_of(Publication(PREFIX, "files", 1), contents)
    if other == "content":
        (tmp_path / "output" / "030").write_bytes(b"???")
    elif other == "name":
        (tmp_path / "output" / "030").rename(tmp_path / "output" / "030b")
    elif other == "more":
        (tmp_path / "output" / "more").touch()
    alive: list[weakref.ref[Fingerprint]] = []
    kept = 0
    read = Folder.fingerprint

    def fingerprint(self: Folder, path: str) -> Fingerprint:
        nonlocal kept
        found = read(self, path)
        kept = max(kept, sum(one() is not None for one in alive))
        alive.append(weakref.ref(found))
        return found

    monkeypatch.setattr(Folder, "fingerprint", fingerprint)
    assert matches(folder, manifest, 2) is (other is None)
    assert kept < 10


# -- what is not published ------------------------------------------------------------------------------------------


def test_many_links_that_are_left_out_are_said_in_a_few_lines_and_remembered_as_a_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pod, costs = Pod(tmp_path), []
    output = pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
    for count in (FEW, MANY):
        for number in range(count):
            link = output / f"{number:09}"
            if not link.is_symlink():
                link.symlink_to("nowhere")
        folder = Folder(pod.work.root, pod.work.relative(environment.OUTPUT_DIR))
        caplog.clear()
        costs.append(kept(lambda folder=folder: pod.sync.results.say_what_is_left_out(folder, folder.listing())))  # type: ignore[misc]
        said = [record for record in caplog.records if record.getMessage().startswith("left out")]
        assert len(said) <= 4, "the first three, and how many more"
        assert f"and {count - 3} more" in pod.sync.left_out.sentence()
    assert costs[1] - costs[0] < 10_000


def test_a_folder_that_is_a_link_itself_is_named(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    logs = pod.work.directory(environment.LOG_DIR)
    logs.rmdir()
    logs.symlink_to("elsewhere")
    pod.end()
    assert "(the folder itself is a symbolic link)" in pod.sync.left_out.sentence()


def kept(action: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_a_listing_names_the_first_few_of_each_kind_and_counts_all(tmp_path: Path) -> None:
    folder = tree(tmp_path, "a", "b")
    for name in ("v", "w", "x", "y", "z"):
        (tmp_path / "output" / name).symlink_to("nowhere")
    os.mkfifo(tmp_path / "output" / "pipe")
    odd = folder.listing().odd
    assert list(odd) == ["pipe", "v", "w", "x"]
    assert odd["pipe"] == "a named pipe, which has no content"
    assert odd.count == 6
    assert "z" not in odd


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "x").unlink(),
        lambda folder: (folder / "x").rename(folder / "y"),
        lambda folder: (folder / "y").symlink_to("nowhere"),
    ],
    ids=["one less", "another name", "one more"],
)
def test_two_looks_differ_also_by_what_is_not_named(tmp_path: Path, change: Callable[[Path], object]) -> None:
    folder = tree(tmp_path, "a")
    for name in ("b", "c", "d", "e", "x"):
        (tmp_path / "output" / name).symlink_to("nowhere")
    before = folder.listing()
    assert folder.is_as(before)
    change(tmp_path / "output")
    assert not folder.is_as(before)


def test_files_that_the_agent_may_not_read_are_counted_in_the_reason(tmp_path: Path) -> None:
    folder = tree(tmp_path, "a")
    listing = folder.listing()
    for number in range(1000):
        listing.unreadable.put(f"{number:04}", UNREADABLE, lambda: "it is of somebody else")
    assert "output/0000 (and 999 more) cannot be published: it is of somebody else" in unreadable(folder, listing)
