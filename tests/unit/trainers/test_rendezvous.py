"""The processes of a job find each other before TensorFlow connects them, and hear a request to stop."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fovea_api.contract.cluster_spec import ClusterSpec
from fovea_dev.ports import free_ports
from fovea_trainers import parent
from fovea_trainers.runtime import rendezvous
from fovea_trainers.runtime.lifeline import Sign, look

PREFIX = """
import ctypes, os, signal, sys
from fovea_trainers.runtime import rendezvous
rendezvous._LATER_SECONDS = 0.0
def deaf(seconds):
    # As TensorFlow does: Python's interpreter is held meanwhile.
    ctypes.PyDLL(None).poll(None, 0, int(seconds * 1000))
"""


def said(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PREFIX + program], capture_output=True, text=True, timeout=60, check=False
    )


def specs(count: int) -> list[ClusterSpec]:
    ports = free_ports(count)
    cluster = {
        "chief": (f"127.0.0.1:{ports[0]}",),
        "worker": tuple(f"127.0.0.1:{port}" for port in ports[1:]),
    }
    return [ClusterSpec(cluster, "chief", 0), *(ClusterSpec(cluster, "worker", i) for i in range(count - 1))]


def come(spec: ClusterSpec, all_there: threading.Barrier) -> None:
    """Meet the others, and listen from then on, as TensorFlow's server does."""
    rendezvous.meet(spec)
    with rendezvous.listening(spec.cluster[spec.role][spec.index]):
        all_there.wait(30)


def test_all_meet_at_their_own_ports_which_are_free_afterwards() -> None:
    of = specs(3)
    for _ in range(2):
        all_there = threading.Barrier(3)
        with ThreadPoolExecutor(3) as pool:
            for met in [pool.submit(come, spec, all_there) for spec in of]:
                met.result(timeout=30)
    assert {look(address) for address in rendezvous.others(of[0]).values()} == {Sign.REFUSES}


def test_one_that_has_not_come_is_waited_for_and_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rendezvous, "_MISSING_SECONDS", 0.3)
    chief, first, second = specs(3)
    asked = threading.Event()
    monkeypatch.setattr(rendezvous, "say", lambda words: (print(words), asked.set()))
    all_there = threading.Barrier(3)
    with ThreadPoolExecutor(3) as pool:
        coming = [pool.submit(come, spec, all_there) for spec in (chief, first)]
        assert asked.wait(30)
        assert all_there.n_waiting == 0
        coming.append(pool.submit(come, second, all_there))
        for each in coming:
            each.result(timeout=30)
    address = rendezvous.others(chief)["worker 1"]
    assert f"waiting for worker 1 ({address})" in capfd.readouterr().out


def test_a_port_that_is_taken_is_an_error() -> None:
    chief, first = specs(2)
    with rendezvous.listening(rendezvous.others(first)["chief"]), pytest.raises(OSError, match="in use"):
        rendezvous.meet(chief)


def test_a_request_to_stop_is_heard_when_the_processes_are_connected() -> None:
    done = said("""
signal.signal(signal.SIGTERM, lambda *_: (print("heard"), sys.exit(75)))
def make():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # TensorFlow's own handler does nothing
    os.kill(os.getpid(), signal.SIGTERM)
    print("made", flush=True)
rendezvous.connected(make, 30)
print("not reached")
""")
    assert (done.returncode, done.stdout) == (75, "made\nheard\n"), done.stderr


def test_one_that_is_never_connected_ends_by_its_alarm() -> None:
    done = said("rendezvous.connected(lambda: deaf(50), 0.3)")
    assert done.returncode == -signal.SIGALRM, done.stderr


def test_one_that_is_connected_has_no_alarm() -> None:
    done = said("print(rendezvous.connected(lambda: 7, 0.3)); deaf(0.8)")
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr


def test_the_log_says_what_the_alarm_means(capfd: pytest.CaptureFixture[str]) -> None:
    receiving, sending = os.pipe()
    os.close(sending)
    assert parent._Parent(0, receiving)._exit_code(-signal.SIGALRM) == 128 + signal.SIGALRM
    os.close(receiving)
    assert "TensorFlow did not connect the processes of the job in time" in capfd.readouterr().err
