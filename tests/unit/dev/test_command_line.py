import os
import subprocess
import sys
from pathlib import Path

import pytest
from fovea_dev.main import main

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "command", ["", "up", "down", "status", "tools", "images", "kubeconfig", "prerequisites", "uv"]
)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    assert "usage: fovea_dev" in capsys.readouterr().out


def test_it_runs_with_the_standard_library_alone(tmp_path: Path) -> None:
    environment = {
        "FOVEA_TARGET": "embedded",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "dev"),
        "FOVEA_CACHE": str(tmp_path),
    }
    command = [sys.executable, "-S", "-m", "fovea_dev", "kubeconfig"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(tmp_path / "cluster/kubeconfig")
    assert done.returncode == 1
    assert "run `make up`" in done.stderr


def test_a_setting_that_cannot_be_used_ends_with_a_message_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FOVEA_TARGET", "minikube")
    assert main(["status"]) == 2
    assert capsys.readouterr().err.startswith("fovea_dev: FOVEA_TARGET='minikube'")
