"""Install the Debian packages of the node, without starting any of their services."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fovea_dev.commands import extended, run
from fovea_dev.layout import Cache
from fovea_dev.progress import StepFailed

NODE_PACKAGES = ("containerd", "runc", "containernetworking-plugins", "nftables", "iproute2", "kmod", "procps")
IMAGE_PACKAGES = ("buildah", "mmdebstrap", "catatonit", "docker-registry")

_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = "#!/bin/sh\n# Written by fovea_dev for the time of an installation.\nexit 101\n"
_LOCK_WAIT = "-o=DPkg::Lock::Timeout=600"


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
    wanted = missing(packages)
    if not wanted:
        notes.append("already installed")
        return
    log = cache.logs / "packages.log"
    quiet = extended({"DEBIAN_FRONTEND": "noninteractive"})
    with _no_services(_POLICY):
        run(["dpkg", "--configure", "-a"], log=log, environment=quiet)
        run(["apt-get", _LOCK_WAIT, "update"], log=log, environment=quiet)
        options = ["--yes", "--no-install-recommends", "--quiet"]
        run(["apt-get", _LOCK_WAIT, "install", *options, *wanted], log=log, environment=quiet)
    left = missing(packages)
    if left:
        raise StepFailed(f"apt-get ended without an error, but {', '.join(left)} is not installed", log)
    notes.append(f"{len(wanted)} installed")


@contextmanager
def _no_services(policy: Path) -> Iterator[None]:
    """Debian's way to say that no service may start now; a policy the machine already has is left as it is."""
    ours = not policy.exists() or policy.read_text() == _POLICY_TEXT
    if ours:
        policy.write_text(_POLICY_TEXT)
        policy.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            policy.unlink(missing_ok=True)
