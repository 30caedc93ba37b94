"""Install the Debian packages of the node, without starting any of their services."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from fovea_dev.commands import extended, run
from fovea_dev.layout import Cache
from fovea_dev.progress import StepFailed

NODE_PACKAGES = ("containerd", "runc", "containernetworking-plugins", "nftables", "iproute2", "kmod", "procps")
IMAGE_PACKAGES = ("buildah", "mmdebstrap", "catatonit", "docker-registry")

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
    # RUNLEVEL=1 is how invoke-rc.d is told that services are not to be started now; it changes no file.
    quiet = extended({"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"})
    run(["dpkg", "--configure", "-a"], log=log, environment=quiet)
    run(["apt-get", _LOCK_WAIT, "update"], log=log, environment=quiet)
    run(
        ["apt-get", _LOCK_WAIT, "install", "--yes", "--no-install-recommends", "--quiet", *wanted],
        log=log,
        environment=quiet,
    )
    left = missing(packages)
    if left:
        raise StepFailed(f"apt-get ended without an error, but {', '.join(left)} is not installed", log)
    notes.append(f"{len(wanted)} installed")
