"""Install the Debian packages of the node, without starting any of their services."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fovea_dev.commands import extended, run
from fovea_dev.layout import Cache
from fovea_dev.processes import start_time
from fovea_dev.progress import StepFailed

NODE_PACKAGES = ("containerd", "runc", "containernetworking-plugins", "nftables", "iproute2", "kmod", "procps", "curl")
IMAGE_PACKAGES = ("buildah", "mmdebstrap", "catatonit", "docker-registry")

_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_HEAD = "#!/bin/sh\n# Written by fovea_dev for the time of an installation.\n"
LOCK_SECONDS = 600.0
_DPKG_LOCK = Path("/var/lib/dpkg/lock-frontend")
_LISTS_LOCK = Path("/var/lib/apt/lists/lock")


def missing(packages: Sequence[str]) -> list[str]:
    """Which packages are not (completely) installed."""
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\n", *packages],
        capture_output=True,
        text=True,
        check=False,
    )
    installed = {line.split()[0] for line in answer.stdout.splitlines() if line.endswith("ii ")}
    return [name for name in packages if name not in installed]


def install(packages: Sequence[str], cache: Cache, notes: list[str]) -> None:
    """Install what is missing. No service is started: the cluster runs them itself, with its own configuration."""
    _remove_own(_POLICY)
    wanted = missing(packages)
    if not wanted:
        notes.append("already installed")
        return
    log = cache.logs / "packages.log"
    quiet = extended({"DEBIAN_FRONTEND": "noninteractive"})
    with _no_services(_POLICY):
        # A fresh machine updates itself in the background. Of these three only the last can wait for its lock; for the
        # others we hold it and tell them so.
        with held(_DPKG_LOCK):
            run(["dpkg", "--configure", "-a"], log=log, environment={**quiet, "DPKG_FRONTEND_LOCKED": "1"})
        with held(_LISTS_LOCK):
            run(["apt-get", "-o=Debug::NoLocking=true", "update"], log=log, environment=quiet)
        options = [f"-o=DPkg::Lock::Timeout={LOCK_SECONDS:.0f}", "--yes", "--no-install-recommends", "--quiet"]
        run(["apt-get", "install", *options, *wanted], log=log, environment=quiet)
    left = missing(packages)
    if left:
        raise StepFailed(f"apt-get ended without an error, but {', '.join(left)} is not installed", log)
    notes.append(f"{len(wanted)} installed")


@contextmanager
def _no_services(policy: Path) -> Iterator[None]:
    """Debian's way to say that no service may start now; a policy the machine already has is left as it is."""
    _remove_own(policy)
    if not policy.exists():
        policy.write_text(policy_text(os.getpid()))
        policy.chmod(0o755)
    try:
        yield
    finally:
        _remove_own(policy)


def policy_text(pid: int) -> str:
    """A policy that forbids starting services as long as this process runs: a kill must not leave a ban for ever."""
    return f"""{_POLICY_HEAD}stat=$(cat /proc/{pid}/stat 2>/dev/null) || exit 0
set -- ${{stat##*) }}
[ "${{20}}" != {start_time(pid)} ] || exit 101
"""


def _remove_own(policy: Path) -> None:
    if policy.exists() and policy.read_text().startswith(_POLICY_HEAD):
        policy.unlink(missing_ok=True)


@contextmanager
def held(lock: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold one of Debian's locks. Raises StepFailed if another installation holds it longer than `seconds`."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + seconds
    with lock.open("a") as file:
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except (BlockingIOError, PermissionError) as error:
                if time.monotonic() > deadline:
                    raise StepFailed(f"another installation held {lock} for {seconds:.0f} s: see `ps`") from error
            time.sleep(0.5)
        yield
