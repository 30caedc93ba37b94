import os
import subprocess
import sys
from pathlib import Path

import pytest
from fovea_dev import main as command_line
from fovea_dev import target
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


class PlayedCluster:
    """Notes when it is taken down."""

    def __init__(self, name: str, downs: list[str], *, exists: bool = True) -> None:
        self._name, self._downs, self._exists = name, downs, exists

    def exists(self) -> bool:
        return self._exists

    def down(self, **_: object) -> None:
        self._downs.append(self._name)


@pytest.mark.parametrize(
    ("sentence", "environ", "embedded_exists", "expected"),
    [
        ("kind was chosen, embedded was asked for before", {}, True, ["other", "embedded"]),
        ("kind was chosen, there is no other", {}, False, ["other"]),
        ("embedded is asked for", {"FOVEA_TARGET": "embedded"}, False, ["embedded"]),
        ("kind is asked for", {"FOVEA_TARGET": "kind"}, True, ["other"]),
        ("a cluster is named", {"FOVEA_KUBECONFIG": "/k"}, True, ["other"]),
    ],
)
def test_down_without_a_named_cluster_leaves_no_cluster_of_ours(
    sentence: str,
    environ: dict[str, str],
    embedded_exists: bool,
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    downs: list[str] = []
    monkeypatch.setattr(command_line, "_embedded", lambda _: PlayedCluster("embedded", downs, exists=embedded_exists))
    monkeypatch.setattr(command_line, "_other", lambda *_: PlayedCluster("other", downs))
    monkeypatch.setattr(command_line, "choose", lambda: target.choose(environ, lambda: True))
    monkeypatch.delenv("FOVEA_TARGET", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main(["down"]) == 0
    assert downs == expected, sentence
    kept = "the embedded cluster stays: FOVEA_TARGET=embedded make down" in capsys.readouterr().err
    assert kept == ("FOVEA_KUBECONFIG" in environ)
