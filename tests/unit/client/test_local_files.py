"""Which files of a folder are uploaded, and what is said of those that cannot be."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from fovea.sdk import InvalidError
from fovea.sdk.local_files import LocalFile, etag, scan
from fovea.sdk.store import PART_SIZE, Access, Store
from fovea.sdk.upload import upload


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    touch(tmp_path / "elsewhere", "1.png", "deep/2.png")
    touch(tmp_path / "pictures", "cat/1.png", "b.txt", "cat.txt")
    return tmp_path / "pictures"


def names(folder: Path, *exclude: str) -> list[str]:
    return [file.name for file in scan(folder, exclude)]


def test_folders_and_files_behind_links_are_uploaded_too(pictures: Path) -> None:
    (pictures / "dog").symlink_to(pictures.parent / "elsewhere")
    (pictures / "again").symlink_to(pictures / "cat")
    (pictures / "a.txt").symlink_to("b.txt")
    expected = ["a.txt", "again/1.png", "b.txt", "cat/1.png", "cat.txt", "dog/1.png", "dog/deep/2.png"]
    assert names(pictures) == expected
    (pictures.parent / "link").symlink_to(pictures)
    assert names(pictures.parent / "link") == expected


@pytest.mark.parametrize(
    ("link", "to"), [("cat/up", ".."), ("up", "../.."), ("cat/self", "."), ("self", "../pictures")]
)
def test_a_link_that_leads_back_is_named_and_can_be_left_out(pictures: Path, link: str, to: str) -> None:
    (pictures / link).symlink_to(to)
    with pytest.raises(InvalidError, match=r"is a link to .*, a folder that contains it\n.*--exclude"):
        scan(pictures)
    assert names(pictures, Path(link).name) == ["b.txt", "cat/1.png", "cat.txt"]


def test_links_into_each_other_end(pictures: Path) -> None:
    other = pictures.parent / "elsewhere"
    (pictures / "there").symlink_to(other)
    (other / "back").symlink_to(pictures)
    with pytest.raises(InvalidError, match="a folder that contains it"):
        scan(pictures)


def test_a_link_to_nothing_is_not_left_out_silently(pictures: Path) -> None:
    (pictures / "lost.png").symlink_to("nowhere")
    with pytest.raises(InvalidError, match=r"lost.png cannot be read \(No such file or directory\)"):
        scan(pictures)
    assert names(pictures, "lost.*") == ["b.txt", "cat/1.png", "cat.txt"]


def test_a_folder_that_cannot_be_read_is_not_left_out_silently(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def refusing(path: Any) -> Any:
        if str(path).endswith("cat"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(InvalidError, match=r"- cat cannot be read \(Permission denied\)"):
        scan(pictures)
    assert names(pictures, "cat") == ["b.txt", "cat.txt"]


def test_what_has_no_content_to_upload_is_left_out_with_a_line_for_each(pictures: Path) -> None:
    os.mkfifo(pictures / "pipe")
    (pictures / "none" / "deep").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(pictures / "cat" / "s"))
    said: list[str] = []
    files = [file.name for file in scan(pictures, notice=said.append)]
    assert files == ["b.txt", "cat/1.png", "cat.txt"]
    assert said == [
        "cat/s is a socket: left out, since it has no content to upload.",
        "none/deep is an empty folder: left out, since an object store keeps files only.",
        "pipe is a named pipe: left out, since it has no content to upload.",
    ]
    said.clear()
    scan(pictures, ("s", "pipe", "none"), said.append)
    assert said == []


def test_a_folder_whose_files_are_excluded_is_not_called_empty(pictures: Path) -> None:
    said: list[str] = []
    scan(pictures, ("1.png",), said.append)
    assert said == []


NAMES = [b"caf\xe9.png", b"cat/\xff\xfe", b"\xed\xa0\x80", b"dir\xff/x.png"]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_name_that_is_not_utf_8_is_named_before_anything_is_sent(pictures: Path, name: bytes) -> None:
    path = pictures / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    with pytest.raises(InvalidError) as refused:
        scan(pictures)
    message = str(refused.value)
    message.encode()  # it can be printed anywhere
    assert name.split(b"/")[-1].decode(errors="backslashreplace").split("/")[0] in message
    assert "is not UTF-8" in message
    assert "rename it" in message
    assert names(pictures, os.fsdecode(name), os.fsdecode(name.split(b"/")[0])) in (
        ["b.txt", "cat/1.png", "cat.txt"],
        ["b.txt", "cat.txt"],
    )


def test_everything_that_keeps_an_upload_from_beginning_is_named_at_once(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "lost.png").symlink_to("nowhere")
    (pictures / "cat" / "self").symlink_to(".")
    Path(os.fsdecode(os.fsencode(pictures) + b"/\xff.png")).touch()
    monkeypatch.setattr(os, "access", lambda path, *_, **__: not str(path).endswith("b.txt"))
    with pytest.raises(InvalidError) as refused:
        scan(pictures)
    first, *lines, last = str(refused.value).splitlines()
    assert first == f"4 entries of {pictures} cannot be uploaded, nothing was sent:"
    assert [line.removeprefix("  - ").split()[0] for line in lines] == [
        "\\xff.png:", "b.txt", "cat/self", "lost.png",
    ]  # fmt: skip
    assert "--exclude" in last


def test_a_thousand_troubles_are_counted_and_not_all_printed(pictures: Path) -> None:
    for number in range(1000):
        (pictures / f"{number:04}.png").symlink_to("nowhere")
        (pictures / f"empty-{number:04}").mkdir()
    with pytest.raises(InvalidError, match=r"(?s)1000 entries of .* and 980 more") as refused:
        scan(pictures)
    assert len(str(refused.value).splitlines()) == 23
    said: list[str] = []
    scan(pictures, ("0*.png",), said.append)
    assert len(said) == 21
    assert said[-1] == "980 more were left out for such reasons."


def test_a_file_that_is_gone_or_has_shrunk_meanwhile_is_named(tmp_path: Path) -> None:
    store = Store(Access("http://127.0.0.1:1", "key", "secret", "a test"))
    gone = tmp_path / "gone.png"
    with pytest.raises(InvalidError, match=r"cannot read .*gone.png \(No such file or directory\)"):
        store.put_file("k", gone, 1)
    with pytest.raises(InvalidError, match=r"cannot read .*gone.png \(No such file or directory\)"):
        etag(gone, PART_SIZE)
    gone.write_bytes(b"a")
    with pytest.raises(InvalidError, match=r"cannot read .*gone.png \(stream having not enough data"):
        store.put_file("k", gone, 2)


def test_a_key_that_is_too_long_for_a_store_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    store = Store(Access("http://127.0.0.1:1", "key", "secret", "a test"))
    file = LocalFile(tmp_path / "x", "/".join(["ä" * 100] * 5) + "/x.png", 1)
    with pytest.raises(InvalidError, match=r"x.png: its key has 10\d\d bytes, an object store takes 1024 at most"):
        upload(store, [file], "vision/datasets/digits")
