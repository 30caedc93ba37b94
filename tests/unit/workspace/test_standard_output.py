"""A program whose output nobody reads to its end, as with `| head -1`, ends without a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEV = Path(__file__).parents[3] / "dev"
PROGRAMS = {
    "fovea-train": ("fovea_trainers", "--help"),
    "fovea-train, of a recipe": ("fovea_trainers", "tabular", "--help"),
    "fovea-train, more than a buffer holds": ("fovea_trainers", "--catalogue"),
    "fovea": ("fovea", "jobs", "submit", "--help"),
    "fovea-agent": ("fovea_agent.main", "--help"),
    "fovea-operator": ("fovea_operator.main", "run", "--help"),
    "fovea-model-server": ("fovea_serving.server.main", "--help"),
    "fovea_dev": ("fovea_dev", "--help"),
    "fovea_dev, an answer": ("fovea_dev", "prerequisites"),
}


def unread(*arguments: str, unbuffered: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python with a standard output that has no reader."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": str(DEV), "PYTHONUNBUFFERED": unbuffered},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["at its end", "while it prints"])
@pytest.mark.parametrize("words", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_program_without_a_reader_ends_without_a_word(words: tuple[str, ...], unbuffered: str) -> None:
    done = unread("-m", *words, unbuffered=unbuffered)
    assert done.stderr == ""
    assert done.returncode in (0, 1)


def test_an_exit_code_outlives_the_reader() -> None:
    program = "from fovea_api.standard_output import until_nobody_reads as run; exit(run(lambda: print('x') or 75))"
    done = unread("-c", program)
    assert (done.returncode, done.stderr) == (75, "")


def test_the_broken_pipe_of_something_else_is_an_error() -> None:
    program = """\
import os
from fovea_api.standard_output import until_nobody_reads
reading, writing = os.pipe()
os.close(reading)
until_nobody_reads(lambda: os.write(writing, b"x"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "BrokenPipeError" in done.stderr
