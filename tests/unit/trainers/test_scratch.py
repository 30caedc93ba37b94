"""Scratch folders of processes that leave no result."""

import subprocess
import sys

import pytest
from fovea_trainers.runtime import scratch

PROGRAM = """
import os, sys
from fovea_trainers.runtime import scratch
made = scratch.make()
(made / "cache").mkdir()
print(made, flush=True)
sys.stdin.readline()
if sys.argv[1:] == ["hard"]:
    os._exit(75)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(scratch.tempfile, "tempdir", None)
    return tmp_path


def begin(*arguments):
    """A process with a scratch folder, which it has when this returns."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    return process


def test_a_folder_goes_with_its_process_or_at_the_next_start_where_that_ended_hard(temporary):
    (temporary / "fovea-scratch-without-a-lock").mkdir()
    soft, hard, alive = begin(), begin("hard"), begin()
    assert len(list(temporary.iterdir())) == 4
    soft.communicate("")
    hard.communicate("")
    assert hard.returncode == 75
    assert len(list(temporary.iterdir())) == 3, "the hard one has left its folder"
    last = begin()
    assert len(list(temporary.iterdir())) == 3, "the next one has removed it, and none that is in use"
    for process in (alive, last):
        process.communicate("")
    assert [path.name for path in temporary.iterdir()] == ["fovea-scratch-without-a-lock"]
