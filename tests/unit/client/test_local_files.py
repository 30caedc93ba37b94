"""Which files of a folder are uploaded, and what is said of those that cannot be."""

import os
from pathlib import Path
from typing import Any

import pytest
from fovea.sdk import InvalidError
from fovea.sdk.local_files import etag, scan
from fovea.sdk.store import PART_SIZE, Access, Store


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
    with pytest.raises(InvalidError, match=r"is a link to .*, in which it lies itself: leave it out"):
        scan(pictures)
    assert names(pictures, Path(link).name) == ["b.txt", "cat/1.png", "cat.txt"]


def test_links_into_each_other_end(pictures: Path) -> None:
    other = pictures.parent / "elsewhere"
    (pictures / "there").symlink_to(other)
    (other / "back").symlink_to(pictures)
    with pytest.raises(InvalidError, match="in which it lies itself"):
        scan(pictures)


def test_a_link_to_nothing_is_not_left_out_silently(pictures: Path) -> None:
    (pictures / "lost.png").symlink_to("nowhere")
    with pytest.raises(InvalidError, match=r"cannot read .*lost.png \(No such file or directory\): make it readable"):
        scan(pictures)
    assert names(pictures, "lost.*") == ["b.txt", "cat/1.png", "cat.txt"]


def test_a_folder_that_cannot_be_read_is_not_left_out_silently(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def refusing(path: Any) -> Any:
        if str(path).endswith("cat"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(InvalidError, match=r"cannot read .*/cat \(Permission denied\)"):
        scan(pictures)
    assert names(pictures, "cat") == ["b.txt", "cat.txt"]


def test_what_is_no_file_has_no_content_to_upload(pictures: Path) -> None:
    os.mkfifo(pictures / "pipe")
    assert names(pictures) == ["b.txt", "cat/1.png", "cat.txt"]


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
