"""`make verify` compares what is generated with what git has, and nothing else."""

import subprocess
from pathlib import Path

import generate
import pytest


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one file at each place that is generated, and one that somebody wrote."""
    for name in ("crds/a.yaml", "wire/fovea_wire/a_pb2.py", "docs/reference/cli.md", "api/fovea_api/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("as committed\n")
    for words in (("init", "--quiet"), ("add", ".")):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("sentence", "changed", "expected"),
    [
        ("nothing was done", [], []),
        ("an edit that has nothing to do with it", ["api/fovea_api/a.py", "notes.txt", "wire/fovea_wire/a.py"], []),
        (
            "generated files that changed",
            ["crds/a.yaml", "docs/reference/cli.md"],
            ["crds/a.yaml", "docs/reference/cli.md"],
        ),
        ("a generated file that git does not know", ["wire/fovea_wire/b_pb2.pyi"], ["wire/fovea_wire/b_pb2.pyi"]),
    ],
)
def test_stale_is_what_generation_wrote_and_git_has_not(
    sentence: str, changed: list[str], expected: list[str], repository: Path
) -> None:
    for name in changed:
        (repository / name).write_text("written again\n")
    assert generate.stale(repository) == expected, sentence


def test_every_pattern_names_files_of_this_repository() -> None:
    for pattern in generate.GENERATED:
        listed = subprocess.run(
            ["git", "ls-files", "--", pattern], cwd=generate.ROOT, check=True, capture_output=True, text=True
        )
        assert listed.stdout, pattern


def test_a_check_fails_naming_the_files_and_generation_alone_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "generate", lambda: None)
    monkeypatch.setattr(generate, "stale", lambda: ["crds/a.yaml"])
    monkeypatch.setattr(generate.sys, "argv", ["generate.py"])
    generate.main()
    monkeypatch.setattr(generate.sys, "argv", ["generate.py", "--check"])
    with pytest.raises(SystemExit, match=r"(?s)commit what make generate wrote.*crds/a\.yaml"):
        generate.main()
