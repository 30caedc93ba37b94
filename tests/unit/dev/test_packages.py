import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fovea_dev import packages
from fovea_dev.layout import Cache
from fovea_dev.progress import StepFailed

HOLDER = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another installation: it holds the lock until its standard input ends."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_installation_is_waited_for(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with (
        pytest.raises(StepFailed, match=r"another installation held .*/lock for 0 s"),
        packages.held(tmp_path / "lock", 0),
    ):
        raise AssertionError("two hold the lock")
    assert holder.stdin is not None
    holder.stdin.close()
    with packages.held(tmp_path / "lock", 60):
        assert holder.wait(60) == 0


def answer(policy: Path) -> int:
    """What Debian's invoke-rc.d gets from the policy of this text; 101: the action is forbidden."""
    return subprocess.run(["sh", str(policy), "ssh", "start"], check=False).returncode


def test_no_service_starts_while_we_install_and_a_kill_leaves_no_ban(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with packages._no_services(policy):
        assert answer(policy) == 101
        assert policy.stat().st_mode & 0o111
    assert not policy.exists()
    with subprocess.Popen(["sleep", "1000"]) as process:
        policy.write_text(packages.policy_text(process.pid))
        assert answer(policy) == 101
        process.kill()
    assert answer(policy) == 0


def test_a_policy_that_a_killed_run_left_goes_with_the_next_and_the_machines_own_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(packages, "_POLICY", policy)
    monkeypatch.setattr(packages, "missing", lambda _: [])
    policy.write_text(packages.policy_text(1))
    packages.install(["runc"], Cache(tmp_path), [])
    assert not policy.exists()
    policy.write_text("#!/bin/sh\nexit 101\n")
    packages.install(["runc"], Cache(tmp_path), [])
    with packages._no_services(policy):
        pass
    assert policy.read_text() == "#!/bin/sh\nexit 101\n"
