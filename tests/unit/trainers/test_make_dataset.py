"""`fovea-train make-dataset`, as far as it needs no TensorFlow."""

import subprocess
import sys

import pytest
from fovea_api.contract import exit_codes
from fovea_trainers import make_dataset
from fovea_trainers.datasets import a8a
from fovea_trainers.main import main


def run(capsys, *arguments: str) -> tuple[int, str]:
    code = main(["make-dataset", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_the_help_lists_every_data_set_without_tensorflow():
    code = (
        "import sys; from fovea_trainers.main import main; main(['make-dataset', '--help']); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"a8a", "pets"} <= set(make_dataset.names())
    for name in make_dataset.names():
        assert f"  {name} " in done.stdout


def test_the_same_count_and_seed_give_the_same_bytes_and_another_seed_others(tmp_path, capsys):
    places = {"one": 3, "two": 3, "other": 4}
    for place, seed in places.items():
        code, said = run(capsys, "a8a", tmp_path / place, "--count=9", f"--seed={seed}")
        assert (code, said) == (exit_codes.OK, f"wrote data set a8a to {tmp_path / place}\n")
    first, second, other = ((tmp_path / place / "a8a").read_bytes() for place in places)
    assert first == second != other
    assert len(first.splitlines()) == 6
    assert len((tmp_path / "one" / "a8a.t").read_text().splitlines()) == 3
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("a9a", "out"), "data set a9a does not exist: there is a8a"),
        (("a8a",), "the following arguments are required: out"),
        (("a8a", "out", "--count=0"), "argument --count: '0' must be a whole number of at least 1"),
        (
            ("a8a", "out", "--pictures=3"),
            "data set a8a has no --pictures=3: only identities has; drop it, or give --count",
        ),
        (("identities", "out", "--pictures=1"), "argument --pictures: '1' must be a whole number of at least 2"),
        (("a8a", "out", "--size=3"), "unrecognized arguments: --size=3"),
    ],
)
def test_a_wrong_command_line_is_named(tmp_path, capsys, monkeypatch, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    code, said = run(capsys, *arguments)
    assert code == 2
    assert said.startswith(f"fovea-train: {complaint}")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine").write_text("mine")
    code, said = run(capsys, "a8a", tmp_path)
    assert code == 2
    assert "exists and is not empty: name a new folder, or remove it first" in said
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_data_set_that_could_not_be_written_leaves_nothing(tmp_path, capsys, monkeypatch):
    def full(root, **_):
        (root / "a8a").write_text("half")
        raise OSError(28, "No space left on device", str(root / "a8a"))

    monkeypatch.setattr(a8a, "write", full)
    code, said = run(capsys, "a8a", tmp_path / "out")
    assert code == 1
    assert said.startswith(f"fovea-train: {tmp_path / 'out'} cannot be written: [Errno 28] No space left on device")
    assert not list(tmp_path.iterdir())
