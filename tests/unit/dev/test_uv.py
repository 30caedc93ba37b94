from pathlib import Path

import pytest
from fovea_dev import uv
from fovea_dev.layout import Cache
from fovea_dev.progress import StepFailed


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what was run; a virtual environment is made, and pip writes the program in place."""
    seen: list[str] = []

    def run(command: list[str | Path], *, log: Path) -> None:
        del log
        if "venv" in command:
            seen.append("venv")
            Path(command[-1]).mkdir(parents=True)
        else:
            seen.append("pip")
            program = Path(command[0]).with_name("uv")
            program.parent.mkdir()
            program.write_text("whole")

    monkeypatch.setattr(uv, "run", run)
    return seen


def test_uv_is_installed_once(tmp_path: Path, commands: list[str]) -> None:
    for _ in range(2):
        path = uv.install(Cache(tmp_path), [])
        assert path.read_text() == "whole"
    assert path == tmp_path / "uv-tool/bin/uv"
    assert commands == ["venv", "pip"]


def test_what_a_killed_installation_left_is_never_taken_for_uv(
    tmp_path: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die_while_writing(command: list[str | Path], **_: object) -> None:
        program = Path(command[0]).with_name("uv")
        if "venv" not in command:
            program.parent.mkdir(parents=True)
            program.write_text("tru")
            raise StepFailed("killed")

    with monkeypatch.context() as killed:
        killed.setattr(uv, "run", die_while_writing)
        with pytest.raises(StepFailed):
            uv.install(Cache(tmp_path), [])
    assert not (tmp_path / "uv-tool").exists()
    (tmp_path / "uv-tool").mkdir()  # a virtual environment without uv
    assert uv.install(Cache(tmp_path), []).read_text() == "whole"
    assert commands == ["venv", "pip"]
