"""Downloads: what is there already is recognised, also where an ETag says nothing; names that a folder cannot hold are named first."""

import hashlib
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fovea.sdk import AlreadyExistsError, InvalidError, StoreError, file_names
from fovea.sdk import store as stores
from fovea.sdk.download import Downloaded, download, of_listing
from fovea.sdk.store import StoredObject

WHEN = datetime(2026, 1, 1, 10, tzinfo=UTC)
PREFIX = "vision/datasets/pets"


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Store:
    """Objects with their ETags; `encrypted` ones say so. Every GET is noted."""

    bucket = "fovea"

    def __init__(self, **objects: bytes) -> None:
        self.content = {name: (data, md5(data)) for name, data in objects.items()}
        self.modified = WHEN
        self.encrypted: set[str] = set()
        self.got: list[str] = []

    def put(self, name: str, content: bytes, etag: str) -> None:
        self.content[name] = (content, etag)

    def encrypts(self, key: str) -> bool:
        return key.removeprefix(f"{PREFIX}/") in self.encrypted

    @contextmanager
    def reading(self, key: str, *, offset: int = 0, etag: str = "") -> Iterator[Any]:
        name = key.removeprefix(f"{PREFIX}/")
        self.got.append(name)
        content = self.content[name][0][offset:]
        yield SimpleNamespace(headers={}, stream=lambda _: iter([content]))

    def download(self, folder: Path, **how: Any) -> Downloaded:
        objects = [
            StoredObject(f"{PREFIX}/{name}", len(data), etag, self.modified)
            for name, (data, etag) in self.content.items()
        ]
        return download(self, of_listing(PREFIX, objects), folder, **how)  # type: ignore[arg-type]


@pytest.fixture
def store() -> Store:
    """Three objects of which only the first one's ETag can be computed from its content."""
    store = Store(plain=b"plain")
    store.put("parts", b"of 8 MiB", f"{'0' * 32}-3")
    store.put("secret", b"encrypted", "1" * 32)
    store.put("foreign", b"of another store", "0x8DC1")
    store.encrypted = {"secret"}
    return store


def test_a_repeated_download_skips_what_no_etag_can_verify(store: Store, tmp_path: Path) -> None:
    assert store.download(tmp_path / "out").fetched == 4
    store.got.clear()
    again = store.download(tmp_path / "out")
    assert (again.fetched, again.skipped, store.got) == (0, 4, [])


@pytest.mark.parametrize("name", ["parts", "secret", "foreign"])
def test_what_may_have_changed_is_fetched_again_and_kept_where_it_is_the_same(
    store: Store, tmp_path: Path, name: str
) -> None:
    store.download(tmp_path / "out")
    store.got.clear()
    (tmp_path / "out" / name).write_bytes(store.content[name][0])  # the same bytes, of another time
    again = store.download(tmp_path / "out")
    assert (again.fetched, store.got) == (1, [name])
    assert (tmp_path / "out" / name).read_bytes() == store.content[name][0]
    assert store.download(tmp_path / "out").fetched == 0


@pytest.mark.parametrize("name", ["parts", "secret", "foreign"])
def test_other_content_of_the_same_size_is_refused_and_forced_without_another_fetch(
    store: Store, tmp_path: Path, name: str
) -> None:
    store.download(tmp_path / "out")
    mine = store.content[name][0].upper()
    (tmp_path / "out" / name).write_bytes(mine)
    store.got.clear()
    with pytest.raises(AlreadyExistsError, match=f"holds other content in 1 of these files: {name}"):
        store.download(tmp_path / "out")
    assert (tmp_path / "out" / name).read_bytes() == mine
    store.download(tmp_path / "out", force=True)
    assert (tmp_path / "out" / name).read_bytes() == store.content[name][0]
    assert store.got == [name]
    assert not list((tmp_path / "out").glob(".fovea-download-*"))


def test_an_object_that_changed_since_is_not_taken_for_the_one_that_is_there(store: Store, tmp_path: Path) -> None:
    store.download(tmp_path / "out")
    store.put("parts", b"OF 8 MIB", f"{'2' * 32}-3")
    store.modified = WHEN + timedelta(minutes=1)
    with pytest.raises(AlreadyExistsError, match="parts"):
        store.download(tmp_path / "out")
    store.download(tmp_path / "out", force=True)
    assert (tmp_path / "out/parts").read_bytes() == b"OF 8 MIB"


def test_an_etag_that_is_an_md5_still_tells_a_damaged_object(tmp_path: Path) -> None:
    store = Store()
    store.put("plain", b"damaged", md5(b"as it was"))
    with pytest.raises(StoreError, match="plain is damaged"):
        store.download(tmp_path / "out")


def folding(path: Path) -> bool:
    """Whether a file system that tells neither case nor composition apart has it."""

    def folded(name: str) -> str:
        return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())

    return folded(path.name) in {folded(each.name) for each in path.parent.iterdir()}


COMPOSED, DECOMPOSED = unicodedata.normalize("NFC", "bär"), unicodedata.normalize("NFD", "bär")


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (("A.png", "a.png"), ["A.png and a.png"]),
        (("Cat/1.png", "cat/2.png"), ["Cat and cat"]),
        (("Cat/1.png", "cat/1.png", "Cat/2.png"), ["Cat and cat"]),
        ((f"x/{COMPOSED}", f"x/{DECOMPOSED}"), [f"x/{COMPOSED} and x/{DECOMPOSED}"]),
        (("STRASSE", "straße"), ["STRASSE and straße"]),
    ],
    ids=["files", "folders", "a folder once", "composition", "sharp s"],
)
def test_names_that_are_one_in_the_folder_are_named_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], pairs: list[str]
) -> None:
    monkeypatch.setattr(file_names, "lexists", folding)
    store = Store(**dict.fromkeys(names, b"x"))
    with pytest.raises(InvalidError) as caught:
        store.download(tmp_path / "out")
    said = str(caught.value)
    assert "nothing was fetched" in said
    assert [line.partition(": ")[0].strip(" -") for line in said.splitlines() if line.startswith("  - ")] == pairs
    assert (store.got, list(tmp_path.iterdir())) == ([], [])


def test_a_file_system_that_tells_them_apart_holds_both(tmp_path: Path) -> None:
    store = Store(**{"A": b"1", "a": b"2", f"x/{COMPOSED}": b"3", f"x/{DECOMPOSED}": b"4"})
    store.download(tmp_path / "out")
    assert (tmp_path / "out/A").read_bytes() == b"1"
    assert (tmp_path / "out/a").read_bytes() == b"2"
    assert len(list((tmp_path / "out/x").iterdir())) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    "name",
    [
        "a\\b",
        "..\\..\\evil",
        "C:\\evil",
        "CON",
        "x/nul.txt",
        "Com1.tar.gz",
        "lpt¹",
        "what?",
        "a.",
        "a /b",
        "tab\t",
        'q"',
    ],
)
def test_names_that_windows_cannot_hold_are_named_there_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    store = Store(**{name: b"x", "fine.png": b"y", "console/Console.txt": b"z"})
    monkeypatch.setattr(file_names, "WINDOWS", True)
    with pytest.raises(InvalidError) as caught:
        store.download(tmp_path / "out")
    assert [line for line in str(caught.value).splitlines() if line.startswith("  - ")] == [
        f"  - {name!r}: Windows does not take this name"
    ]
    assert (store.got, list(tmp_path.iterdir())) == ([], [])
    monkeypatch.setattr(file_names, "WINDOWS", False)
    store.download(tmp_path / "out")
    assert (tmp_path / "out" / name).read_bytes() == b"x"


def test_a_name_that_is_too_long_for_a_folder_is_named_before_anything_is_fetched(tmp_path: Path) -> None:
    store = Store(**{"a/" + "ä" * 128 + "/b": b"x", "a/" + "ä" * 127 + "/b": b"x"})
    with pytest.raises(InvalidError, match=r"1 name .*\n.*256 bytes, a folder takes 255"):
        store.download(tmp_path / "out")
    assert (store.got, list(tmp_path.iterdir())) == ([], [])


def test_of_many_such_names_the_first_are_listed(tmp_path: Path) -> None:
    store = Store(**{f"{number}/{'x' * 300}": b"x" for number in range(30)})
    with pytest.raises(InvalidError, match="and 20 more"):
        store.download(tmp_path / "out")


class Heads(BaseHTTPRequestHandler):
    """Answers HEAD: an object named secret is encrypted by the store."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "9")
        if self.path.endswith("/secret"):
            self.send_header("X-Amz-Server-Side-Encryption", "aws:kms")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


def test_whether_a_store_encrypts_is_read_from_its_head_whatever_the_case() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Heads) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        real = stores.Store(stores.Access(f"http://127.0.0.1:{server.server_address[1]}", "k", "s", "the test"))
        assert (real.encrypts("a/secret"), real.encrypts("a/plain")) == (True, False)
        server.shutdown()
        thread.join()


def test_what_a_refused_download_has_fetched_is_named(store: Store, tmp_path: Path) -> None:
    store.download(tmp_path / "out")
    (tmp_path / "out" / "secret").write_bytes(b"ENCRYPTED")
    with pytest.raises(AlreadyExistsError) as caught:
        store.download(tmp_path / "out")
    [staging] = (tmp_path / "out").glob(".fovea-download-*")
    assert (
        f"or replace them with --force, which fetches nothing again. What was fetched is in {staging}: remove it if you no longer need it"
        in str(caught.value)
    )


def test_what_is_refused_before_anything_is_fetched_leaves_nothing(store: Store, tmp_path: Path) -> None:
    store.download(tmp_path / "out")
    (tmp_path / "out" / "plain").write_bytes(b"PLAIN")
    with pytest.raises(AlreadyExistsError, match=r"or replace them with --force$"):
        store.download(tmp_path / "out")
    assert not list((tmp_path / "out").glob(".fovea-download-*"))
