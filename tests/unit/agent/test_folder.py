"""Which files of a folder are published and what is read of them, when a tenant's program owns the folder."""

import errno
import hashlib
import io
import os
import shutil
import socket
from contextlib import nullcontext
from pathlib import Path

import pytest
from fovea_agent import folder as folder_module
from fovea_agent.errors import Vanished, VolumeProblem
from fovea_agent.folder import MIB, MULTIPART_FROM, PART, Folder, Window, part_size
from fovea_agent.refusals import mapped
from fovea_agent.settings import StoreAccess
from support.users import another_user


def md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "output" / "sub").mkdir(parents=True)
    (tmp_path / "output" / "a").write_bytes(b"a")
    (tmp_path / "output" / "sub" / "b").write_bytes(b"bb")
    (tmp_path / "secret").write_bytes(b"key")
    return tmp_path / "output"


def test_files_are_found_by_their_paths(tmp_path: Path, output: Path) -> None:
    assert Folder(tmp_path, "output").files() == {"a": "a", "sub/b": "sub/b"}


def test_a_folder_that_is_gone_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(Vanished, match="absent was removed"):
        Folder(tmp_path, "absent").files()


@pytest.mark.parametrize("gone", [False, True], ids=["it may not be read", "it is gone"])
def test_a_folder_below_that_cannot_be_listed_is_never_left_out_in_silence(
    tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    listed = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("/sub"):
            number = errno.ENOENT if gone else errno.EACCES
            raise OSError(number, os.strerror(number), path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    if gone:
        with pytest.raises(Vanished, match="output/sub "):
            Folder(tmp_path, "output").listing()
        return
    found = Folder(tmp_path, "output").listing()
    assert list(found.files) == ["a"]
    assert list(found.unreadable) == ["sub"]


def test_what_is_no_file_is_left_out_with_its_kind(tmp_path: Path, output: Path) -> None:
    os.mkfifo(output / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(output / "socket"))
    (output / "away").symlink_to("../secret")
    (output / os.fsdecode(b"caf\xe9.txt")).touch()
    found = Folder(tmp_path, "output").listing()
    assert list(found.files) == ["a", "sub/b"]
    assert found.odd == {
        "pipe": "a named pipe, which has no content",
        "socket": "a socket, which has no content",
        "away": "a symbolic link out of the folder, to a folder or to nothing",
        os.fsdecode(b"caf\xe9.txt"): "the name is not UTF-8",
    }


def test_a_file_of_another_user_is_named_with_its_owner_and_mode(tmp_path: Path, output: Path) -> None:
    (output / "a").chmod(0o600)
    with another_user(tmp_path):
        found = Folder(tmp_path, "output").listing()
    assert list(found.files) == ["sub/b"]
    assert found.unreadable["a"].startswith(
        f"it belongs to user {os.geteuid()} and group {os.getegid()} with mode 0600"
    )


def test_links_in_a_circle_are_left_out(tmp_path: Path, output: Path) -> None:
    (output / "one").symlink_to("two")
    (output / "two").symlink_to("one")
    (output / "itself").symlink_to("itself")
    assert Folder(tmp_path, "output").files() == {"a": "a", "sub/b": "sub/b"}


def test_a_folder_that_is_held_can_be_read_when_it_is_gone(tmp_path: Path, output: Path) -> None:
    (output / "link").symlink_to("a")
    folder = Folder(tmp_path, "output")
    expected = {path: folder.fingerprint(holder) for path, holder in folder.files().items()}
    with folder.held() as held:
        shutil.rmtree(output)
        assert {path: held.fingerprint(holder) for path, holder in held.files().items()} == expected
        windows = [Window(held, "sub/b", 0, 2), Window(held, "sub/b", 1, 1)]
        assert [windows[0].read(1), windows[1].read(1), windows[0].read(1)] == [b"b", b"b", b"b"]


def test_a_folder_that_changes_while_it_is_taken_hold_of_is_vanished(
    tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = folder_module._open_beneath

    def remove_after(root: Path, relative: str) -> int:
        descriptor = opened(root, relative)
        if relative.endswith("/b"):
            shutil.rmtree(output)
        return descriptor

    monkeypatch.setattr(folder_module, "_open_beneath", remove_after)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(Vanished), Folder(tmp_path, "output").held():
        pytest.fail("a folder in pieces was held")
    # Not more than before: what other tests left open may be collected meanwhile.
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_a_folder_of_more_files_than_may_be_open_is_read_as_it_is(
    tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "SPARE_DESCRIPTORS", 1 << 40)
    folder = Folder(tmp_path, "output")
    with folder.held() as held:
        assert held is folder


def test_links_inside_are_what_they_point_to_and_links_outside_are_nothing(tmp_path: Path, output: Path) -> None:
    (output / "inside").symlink_to("sub/b")
    (output / "chain").symlink_to("inside")
    (output / "outside").symlink_to("../secret")
    (output / "absolute").symlink_to(tmp_path / "secret")
    (output / "folder").symlink_to(tmp_path)
    (output / "dangling").symlink_to("nothing")
    folder = Folder(tmp_path, "output")
    assert folder.files() == {"a": "a", "sub/b": "sub/b", "inside": "sub/b", "chain": "sub/b"}


def test_a_folder_that_is_a_link_holds_nothing(tmp_path: Path, output: Path) -> None:
    (tmp_path / "link").symlink_to(output)
    assert Folder(tmp_path, "link").files() == {}


@pytest.mark.parametrize("swap", ["file", "parent", "folder"])
def test_a_link_put_in_place_after_the_look_is_not_followed(tmp_path: Path, output: Path, swap: str) -> None:
    folder = Folder(tmp_path, "output")
    path = folder.files()["sub/b"]
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "sub").mkdir(parents=True)
    (elsewhere / "sub" / "b").write_bytes(b"key")
    swapped = {"file": output / "sub" / "b", "parent": output / "sub", "folder": output}[swap]
    target = {"file": elsewhere / "sub" / "b", "parent": elsewhere / "sub", "folder": elsewhere}[swap]
    swapped.rename(tmp_path / "moved")
    swapped.symlink_to(target)
    with pytest.raises(VolumeProblem):
        folder.fingerprint(path)


def test_a_named_pipe_does_not_make_the_agent_wait(tmp_path: Path, output: Path) -> None:
    os.mkfifo(output / "pipe")
    with pytest.raises(VolumeProblem, match="not a regular file"):
        Folder(tmp_path, "output").fingerprint("pipe")


def test_a_file_that_went_away_or_shrank_is_vanished(tmp_path: Path, output: Path) -> None:
    folder = Folder(tmp_path, "output")
    with pytest.raises(Vanished):
        folder.fingerprint("gone")
    window = Window(folder, "a", 0, 10)
    assert window.read(4) == b"a"
    with pytest.raises(Vanished, match="shorter"):
        window.read(4)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 8, 9])
def test_a_fingerprint_is_what_the_store_will_say(
    tmp_path: Path, output: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(size)
    (output / "file").write_bytes(data)
    folder = Folder(tmp_path, "output")
    whole = folder.fingerprint("file")
    assert (whole.size, whole.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert (whole.etag, whole.part_size, whole.md5s) == (md5(data).hex(), 0, (md5(data),))
    monkeypatch.setattr(folder_module, "part_size", lambda _: 4)
    parts = [data[at : at + 4] for at in range(0, size, 4)] or [b""]
    in_parts = folder.fingerprint("file")
    assert (in_parts.size, in_parts.sha256) == (whole.size, whole.sha256)
    assert in_parts.md5s == tuple(map(md5, parts))
    assert in_parts.etag == f"{md5(b''.join(map(md5, parts))).hex()}-{len(parts)}"


def test_windows_put_together_are_the_file(tmp_path: Path, output: Path) -> None:
    data = os.urandom(10)
    (output / "file").write_bytes(data)
    folder = Folder(tmp_path, "output")
    read = []
    for offset, size in ((0, 4), (4, 4), (8, 2)):
        window = Window(folder, "file", offset, size)
        while chunk := window.read(3):
            read.append(chunk)
    assert b"".join(read) == data
    assert Window(folder, "file", 0, 10).read() == data


def test_parts_are_few_enough_for_s3() -> None:
    assert part_size(MULTIPART_FROM) == 0
    assert part_size(MULTIPART_FROM + 1) == PART
    for size in (10 << 30, 300 << 30, 5 << 40):
        step = part_size(size)
        assert step % MIB == 0
        assert -(-size // step) <= 10_000


def test_a_disk_that_cannot_be_read_is_a_problem_of_the_volume_and_not_one_of_the_store(
    tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path, "output")

    class Broken(io.BytesIO):
        def read(self, amount: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(folder, "open", lambda path: nullcontext(Broken()))
    access = StoreAccess("http://127.0.0.1:9", "fovea", "key", "secret")
    with pytest.raises(VolumeProblem, match=r"output/a cannot be read.*Input/output error"), mapped(access, "fovea"):
        Window(folder, "a", 0, 1).read(1)
