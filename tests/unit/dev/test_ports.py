"""Ports for servers of tests: no two processes are given the same one."""

import subprocess
import sys

from fovea_dev import ports
from fovea_dev.ports import free_ports

ALL_OF = "import random, sys; from fovea_dev import ports; ports._RANGE = range({0}, {1}); random.seed(1)\n"
GIVEN = ALL_OF + "print(*ports.free_ports({2})); sys.stdout.flush(); sys.stdin.read()"


def test_a_port_is_given_once() -> None:
    given = free_ports(50)
    assert len(set(given)) == 50


def test_two_processes_that_choose_at_the_same_time_get_different_ports() -> None:
    first = free_ports(1)[0] // 100 * 100
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", GIVEN.format(first, first + 100, 30)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": "dev"},
        )
        for _ in range(2)
    ]
    assert all(program.stdout is not None for program in programs)
    given = [program.stdout.readline().split() for program in programs]  # type: ignore[union-attr]
    for program in programs:
        program.communicate("")
    assert [len(each) for each in given] == [30, 30]
    assert not set(given[0]) & set(given[1])


def test_a_port_is_free_again_when_its_process_has_ended() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from fovea_dev.ports import free_ports; print(free_ports(1)[0])"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "dev"},
    )
    port = int(done.stdout)
    assert ports._is_locked(port)
