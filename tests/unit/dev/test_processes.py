import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fovea_dev.processes import Identity, Processes, Program, boot_id, start_time
from fovea_dev.progress import StepFailed

SLEEP = Program("sleeper", ["sleep", "1000"])


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path / "pids", tmp_path / "logs")
    yield found
    for name in found.names():
        found.stop(name, grace=1)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def test_a_program_is_started_once_and_found_again(processes: Processes) -> None:
    assert processes.ensure(SLEEP)
    pid = processes.identity("sleeper")
    assert not processes.ensure(SLEEP)
    assert processes.identity("sleeper") == pid


def test_another_command_or_configuration_starts_it_anew(processes: Processes) -> None:
    processes.ensure(SLEEP)
    first = processes.identity("sleeper")
    assert processes.ensure(SLEEP, configuration="new")
    second = processes.identity("sleeper")
    assert processes.ensure(Program("sleeper", ["sleep", "2000"]), configuration="new")
    third = processes.identity("sleeper")
    assert None not in (first, second, third)
    assert len({first, second, third}) == 3
    assert first is not None
    assert start_time(first.pid) is None


def test_a_killed_process_is_not_found_and_is_started_anew(processes: Processes) -> None:
    processes.ensure(SLEEP)
    identity = processes.identity("sleeper")
    assert identity is not None
    os.kill(identity.pid, 9)
    os.waitpid(identity.pid, 0)
    assert processes.identity("sleeper") is None
    assert processes.ensure(SLEEP)


def test_whoever_got_a_dead_process_pid_is_neither_found_nor_killed(
    processes: Processes, tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    begin = start_time(stranger.pid)
    assert begin is not None
    (tmp_path / "pids").mkdir()
    for start, boot in ((begin - 1, boot_id()), (begin, "another-boot")):
        (tmp_path / "pids/sleeper.pid").write_text(f"{stranger.pid} {start} {boot} digest\n")
        assert processes.identity("sleeper") is None
        processes.stop("sleeper")
        assert stranger.poll() is None


@pytest.mark.parametrize("text", ["", "12", "12 34 boot", "pid 34 boot digest", "12 start boot digest"])
def test_a_pid_file_that_is_not_complete_names_nobody(text: str) -> None:
    assert Identity.parse(text) is None


def test_a_program_that_ends_at_once_is_reported_with_its_log(processes: Processes) -> None:
    processes.ensure(Program("short", ["sh", "-c", "echo cannot bind; exit 1"]))
    with pytest.raises(StepFailed) as failure:
        processes.wait("short", lambda: False, 10, "an open port")
    assert "short ended while waiting for an open port" in failure.value.explain()
    assert "| cannot bind" in failure.value.explain()


def test_an_answer_of_somebody_else_does_not_count_when_our_program_has_ended(processes: Processes) -> None:
    processes.ensure(Program("short", ["sh", "-c", "echo cannot bind; exit 1"]))
    identity = processes.identity("short")
    while identity is not None and identity.is_running():
        identity = processes.identity("short")
    with pytest.raises(StepFailed, match="short ended while waiting for an answer"):
        processes.wait("short", lambda: True, 10, "an answer")


def test_a_dead_process_that_another_needs_is_reported_with_its_own_log(processes: Processes) -> None:
    processes.ensure(SLEEP)
    processes.ensure(Program("store", ["sh", "-c", "echo disk full; exit 1"]))
    with pytest.raises(StepFailed) as failure:
        processes.wait("sleeper", lambda: False, 10, "ready", needs=["store"])
    assert "store ended while waiting for ready" in failure.value.explain()
    assert "| disk full" in failure.value.explain()


def test_what_was_seen_when_the_time_was_over_is_told(processes: Processes) -> None:
    processes.ensure(SLEEP)
    with pytest.raises(StepFailed, match=r"sleeper: an answer did not happen within 0 s") as failure:
        processes.wait("sleeper", lambda: False, 0, "an answer", diagnosis=lambda: "pods:\n  coredns Pending")
    assert "\n  pods:\n    coredns Pending\n  log: " in failure.value.explain()


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace_time(processes: Processes) -> None:
    processes.ensure(Program("stubborn", ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]))
    identity = processes.identity("stubborn")
    assert identity is not None
    processes.stop("stubborn", grace=0.3)
    assert start_time(identity.pid) is None
