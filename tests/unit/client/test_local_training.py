"""Trainings as processes of this machine, with programs that need no TensorFlow."""

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from fovea.cli.main import cli
from fovea.sdk import local_programs, local_training
from fovea.sdk.errors import InvalidError, NotInstalledError
from fovea.sdk.local_training import LocalTraining
from support.polling import until

SAY = "import json, os; print(os.environ['TF_CONFIG'])"
CHIEF_ENDS = """
import json, os, sys, time
task = json.loads(os.environ["TF_CONFIG"])["task"]
print("there", os.getpid(), flush=True)
if task["type"] == "chief":
    sys.exit(7)
time.sleep(600)
"""
WAIT = "import time; print('there', flush=True); time.sleep(600)"
LAUNCHER = """
import sys
from fovea.sdk.local_training import LocalTraining
training = LocalTraining([sys.executable, "-c", sys.argv[1]], {"chief": 1, "worker": 1}, write=lambda line: None)
print(*(member.process.pid for member in training.members), flush=True)
training.wait()
"""


def start(program, roles, **more):
    lines: list[str] = []
    more.setdefault("leaving_seconds", 120)
    return LocalTraining([sys.executable, "-c", program], roles, write=lines.append, **more), lines


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_every_process_has_its_own_tf_config_and_its_name_before_each_line():
    training, lines = start(SAY, {"chief": 1, "worker": 2, "ps": 1})
    assert training.wait() == 0
    said = dict(line.split(" | ", 1) for line in lines)
    assert sorted(said) == ["chief", "ps 0", "worker 0", "worker 1"]
    configs = {name: json.loads(text) for name, text in said.items()}
    assert configs["worker 1"]["task"] == {"type": "worker", "index": 1}
    clusters = [config["cluster"] for config in configs.values()]
    assert all(cluster == clusters[0] for cluster in clusters)
    addresses = [address for part in clusters[0].values() for address in part]
    assert len(set(addresses)) == 4
    assert all(address.startswith("127.0.0.1:") for address in addresses)


def test_ports_that_another_training_has_chosen_are_left_alone_before_anyone_listens(monkeypatch):
    monkeypatch.setattr(local_training, "_DRAWN", random.Random(1))
    first = local_training._Ports(4)
    monkeypatch.setattr(local_training, "_DRAWN", random.Random(1))
    second = local_training._Ports(4)
    assert not set(first.numbers) & set(second.numbers)
    first.give_back()
    second.give_back()


def test_one_process_is_the_whole_cluster():
    training, lines = start(SAY, {"chief": 1, "worker": 0})
    assert training.wait() == 0
    assert list(json.loads(lines[0].split(" | ", 1)[1])["cluster"]) == ["chief"]


def test_the_exit_code_is_the_chief_s_and_the_others_do_not_outlive_it():
    training, _ = start(CHIEF_ENDS, {"chief": 1, "worker": 2}, leaving_seconds=0.5)
    assert training.wait() == 7
    assert [member.process.returncode for member in training.members[1:]] == [-signal.SIGKILL] * 2


def test_a_stop_is_for_the_chief_and_the_second_one_for_all():
    training, lines = start(WAIT, {"chief": 1, "worker": 1})
    until(lambda: len(lines) == 2, what="both to be there", every=0.02)
    training.stop()
    assert training.chief.process.wait(timeout=30) == -signal.SIGTERM
    assert training.members[1].process.poll() is None
    training.stop()
    assert training.wait() == 128 + signal.SIGTERM


def test_what_others_run_at_a_fork_does_not_run_in_its_processes():
    """gRPC, used before in this process, starts threads there: they abort where the new process closes its descriptors."""
    fork = f"import os; os.register_at_fork(after_in_child=os.abort); {LAUNCHER}"
    launcher = subprocess.Popen([sys.executable, "-c", fork, WAIT], stdout=subprocess.PIPE, text=True)
    pids = [int(word) for word in launcher.stdout.readline().split()]
    assert [alive(pid) for pid in pids] == [True, True]
    launcher.kill()
    launcher.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_children_end_with_a_parent_that_is_killed():
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, WAIT], stdout=subprocess.PIPE, text=True)
    pids = [int(word) for word in launcher.stdout.readline().split()]
    assert len(pids) == 2
    launcher.kill()
    launcher.communicate()
    until(lambda: not any(map(alive, pids)), what="the children to end", every=0.02)


def test_a_chief_without_a_worker_left_is_asked_to_stop():
    program = "import json, os, sys, time\nif 'worker' in os.environ['TF_CONFIG'].split('task')[1]: sys.exit(3)\ntime.sleep(600)"
    training, lines = start(program, {"chief": 1, "worker": 2, "ps": 1}, leaving_seconds=0.5)
    assert training.wait() == 128 + signal.SIGTERM
    assert "worker 1 has ended with exit code 3; nothing starts it again here, Ctrl-C ends the training" in lines
    assert "no worker is left: the chief is asked to stop" in lines


RECIPE = "HELP = 'x'\nclass Config: ...\ndef run(config, session): ..."
COMMANDS = {
    "a recipe": ("image-classifier", None, ["-m", "fovea_trainers", "image-classifier", "--x=1"]),
    "a recipe of your own": ("./own.py", RECIPE, ["-m", "fovea_trainers", "./own.py", "--x=1"]),
    "any program": ("./own.py", "print(1)", ["./own.py", "--x=1"]),
}


@pytest.mark.parametrize(("program", "text", "expected"), COMMANDS.values(), ids=COMMANDS.keys())
def test_how_a_program_is_started(tmp_path, monkeypatch, program, text, expected):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name == "fovea_trainers" else None)
    monkeypatch.chdir(tmp_path)
    if text:
        Path("own.py").write_text(text, encoding="utf-8")
    assert local_programs.command(program, ["--x=1"]) == [sys.executable, *expected]


def test_the_trainers_of_another_python_are_found_on_the_path_and_their_absence_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotInstalledError, match=r"pip install 'fovea-trainers\[cpu\]'"):
        local_programs.command("image-classifier", [])
    there = tmp_path / "fovea-train"
    there.touch(mode=0o755)
    assert local_programs.command("image-classifier", ["--x=1"]) == [str(there), "image-classifier", "--x=1"]


def test_a_file_that_is_missing_or_no_python_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidError, match=r"\./own\.py does not exist"):
        local_programs.command("./own.py", [])
    Path("own.py").write_text("def", encoding="utf-8")
    with pytest.raises(InvalidError, match=r"own\.py is no Python program"):
        local_programs.command("./own.py", [])


def test_without_the_trainers_the_error_has_the_line_that_installs_them(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NotInstalledError, match=r"pip install 'fovea-trainers\[cpu\]'"):
        local_programs.command("image-classifier", [])


@pytest.mark.parametrize("words", [["--sync"], ["--strategy", "Single", "--distributed"]])
def test_flags_that_contradict_are_refused(words):
    assert CliRunner().invoke(cli, ["local", "train", *words, "image-classifier"]).exit_code == 2


def test_the_command_has_the_chief_s_exit_code_and_passes_the_flags_on(tmp_path):
    program = tmp_path / "own.py"
    program.write_text("import os, sys\nprint(sys.argv[1:], os.environ['FOVEA_SYNC'])\nsys.exit(5)", encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "fovea",
            "local",
            "train",
            "--distributed",
            "--sync",
            str(program),
            "--",
            "--epochs=3",
            "-v",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 5, done.stderr
    for name in ("chief", "worker 0", "worker 1", "ps 0"):
        assert f"{name} | ['--epochs=3', '-v'] 1" in done.stderr
