"""Build images from Dockerfiles: by buildah, which needs no daemon, or by docker where an engine runs."""

from __future__ import annotations

import os
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Protocol

from fovea_dev.commands import extended, output, run, succeeds
from fovea_dev.layout import Cache
from fovea_dev.locks import locked, locked_if_free
from fovea_dev.processes import boot_id
from fovea_dev.remains import mounts_below, unmount_below

OFFICIAL_BASE = "docker.io/library/python:3.11-slim-bookworm"
DEBIAN_SUITE = "bookworm"
DEBIAN_PACKAGES = "python3,python3-venv,ca-certificates,netbase,tzdata"
LOCAL_BASE = f"localhost/fovea-base:{DEBIAN_SUITE}-1"
_PROBE_SECONDS = 5.0
_AUTHORITIES = "/etc/ssl/certs"


class Builder(Protocol):
    """What builds and pushes images."""

    @property
    def base_image(self) -> str:
        """The image with Python that ours are built on (`ARG BASE`)."""
        ...

    def prepare(self, notes: list[str]) -> None:
        """Make the base image available."""
        ...

    def build(
        self, *, dockerfile: Path, context: Path, reference: str, arguments: Mapping[str, str], log: Path
    ) -> None:
        """Build an image and tag it."""
        ...

    def push(self, reference: str, log: Path) -> None:
        """Push a built image to the registry its reference names."""
        ...


def official_base_is_reachable() -> bool:
    """Whether Docker Hub answers (asking for a login is an answer)."""
    try:
        with urllib.request.urlopen("https://registry-1.docker.io/v2/", timeout=_PROBE_SECONDS):
            return True
    except urllib.error.HTTPError as error:
        return error.code == 401
    except (urllib.error.URLError, OSError):
        return False


def authorities_file() -> Path | None:
    """The host's bundle of trusted certificate authorities."""
    paths = ssl.get_default_verify_paths()
    for candidate in (os.environ.get("SSL_CERT_FILE"), paths.cafile, f"{_AUTHORITIES}/ca-certificates.crt"):
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    return None


class Buildah:
    """buildah with a storage of its own below the cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    @cached_property
    def base_image(self) -> str:
        """FOVEA_BASE_IMAGE, else the official Python image, else a Debian root file system of the same kind."""
        chosen = os.environ.get("FOVEA_BASE_IMAGE")
        if chosen:
            return chosen
        remembered = self._cache.base / "chosen"
        if not remembered.exists():
            remembered.parent.mkdir(parents=True, exist_ok=True)
            remembered.write_text(OFFICIAL_BASE if official_base_is_reachable() else LOCAL_BASE)
        return remembered.read_text().strip()

    def prepare(self, notes: list[str]) -> None:
        """Make the base image: nothing for one that is pulled, a small Debian for our own."""
        notes.append(self.base_image)
        if self.base_image != LOCAL_BASE:
            return
        log = self._cache.logs / "image-base.log"
        with locked(self._cache.base / ".lock"), locked(self._lock(), shared=True):
            if succeeds([*self._buildah(), "inspect", "--type", "image", LOCAL_BASE]):
                notes.append("already there")
                return
            archive = self._root_file_system(log)
            container = output([*self._buildah(), "from", "scratch"]).strip()
            run([*self._buildah(), "add", container, archive, "/"], log=log)
            run([*self._buildah(), "commit", "--rm", container, LOCAL_BASE], log=log)

    def build(
        self, *, dockerfile: Path, context: Path, reference: str, arguments: Mapping[str, str], log: Path
    ) -> None:
        """`buildah bud` with cached layers, in a chroot, on the host's network."""
        command: list[str | Path] = [*self._buildah(), "bud", "--layers", "--isolation", "chroot", "--network", "host"]
        command += ["--file", dockerfile, "--tag", reference]
        all_arguments = {**arguments}
        if arguments:
            folder = self._authorities()
            if folder is not None:
                bundle = f"{_AUTHORITIES}/ca-certificates.crt"
                all_arguments |= {"SSL_CERT_FILE": bundle, "PIP_CERT": bundle}
                command += ["--volume", f"{folder}:{_AUTHORITIES}:ro"]
        for name, value in sorted(all_arguments.items()):
            command += ["--build-arg", f"{name}={value}"]
        with locked(self._lock(), shared=True):
            run([*command, context], log=log, environment=self._environment(), nice=2)

    def push(self, reference: str, log: Path) -> None:
        """Push; on loopback with the cheapest compression, which halves the time of push and pull of large layers."""
        loopback = reference.startswith(("127.0.0.1:", "localhost:"))
        options = ["--tls-verify=false", "--compression-format", "zstd", "--compression-level", "1"] if loopback else []
        run([*self._buildah(), "push", *options, reference, f"docker://{reference}"], log=log)

    def clear_unfinished(self) -> None:
        """Remove what a killed build left: its working containers and their mounts."""
        if not shutil.which("buildah") or not (self._cache.buildah / "storage").exists():
            return
        with locked_if_free(self._lock()) as free:
            if not free:
                return  # somebody builds at this moment, and will use what is there
            for point in mounts_below(self._cache.buildah):
                output(["umount", "--lazy", point])
            if output([*self._buildah(), "containers", "--quiet"]).strip():
                succeeds([*self._buildah(), "rm", "--all"])

    def _lock(self) -> Path:
        # Builds share it; the code that removes what killed builds left holds it alone.
        return self._cache.locks / "buildah.lock"

    def _environment(self) -> dict[str, str]:
        # The caches that Dockerfiles mount live below the folder for temporary files.
        temporary = self._cache.buildah / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        return extended({"BUILDAH_ISOLATION": "chroot", "TMPDIR": str(temporary)})

    def _buildah(self) -> list[str | Path]:
        storage = self._cache.buildah / "storage"
        # buildah counts its mounts in the run folder: those counts must not survive a reboot.
        counts = self._cache.buildah / f"run-{boot_id()}"
        return ["buildah", "--root", storage, "--runroot", counts, "--storage-driver", "overlay"]

    def _root_file_system(self, log: Path) -> Path:
        archive = self._cache.base / f"{DEBIAN_SUITE}.tar"
        if not archive.exists():
            fresh = archive.with_name(f".{archive.stem}.new.tar")
            fresh.unlink(missing_ok=True)
            temporary = self._cache.base / "tmp"
            unmount_below(temporary)  # what a killed one left: removing /dev through a mount would be a pity
            if temporary.exists():
                shutil.rmtree(temporary)
            temporary.mkdir(parents=True)
            options = ["--variant=minbase", f"--include={DEBIAN_PACKAGES}"]
            command: list[str | Path] = ["mmdebstrap", *options, DEBIAN_SUITE, fresh]
            run(command, log=log, environment=extended({"TMPDIR": str(temporary)}))
            fresh.replace(archive)
        return archive

    def _authorities(self) -> Path | None:
        bundle = authorities_file()
        if bundle is None:
            return None
        folder = self._cache.base / "authorities"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle, folder / "ca-certificates.crt")
        return folder


class Docker:
    """A running docker engine (the machine is then expected to reach image registries)."""

    @property
    def base_image(self) -> str:
        """FOVEA_BASE_IMAGE, else the official Python image."""
        return os.environ.get("FOVEA_BASE_IMAGE") or OFFICIAL_BASE

    def prepare(self, notes: list[str]) -> None:
        """Nothing to do: docker pulls the base image."""
        notes.append(self.base_image)

    def build(
        self, *, dockerfile: Path, context: Path, reference: str, arguments: Mapping[str, str], log: Path
    ) -> None:
        """`docker build` with BuildKit."""
        command: list[str | Path] = ["docker", "build", "--file", dockerfile, "--tag", reference]
        for name, value in sorted(arguments.items()):
            command += ["--build-arg", f"{name}={value}"]
        run([*command, context], log=log, environment=extended({"DOCKER_BUILDKIT": "1"}))

    def push(self, reference: str, log: Path) -> None:
        """`docker push`."""
        run(["docker", "push", reference], log=log)
