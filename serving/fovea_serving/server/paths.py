"""Where models lie: folders of this machine, as a path or as a file:// address."""

from __future__ import annotations

import re
from pathlib import Path

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)(.*)", re.DOTALL)


def base_path(model: str, text: str) -> Path:
    """Folder of a model's versions, as it is given (it may be relative); raises ValueError in words."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return Path(text)
    scheme, host, path = found.groups()
    if scheme.lower() != "file":
        raise ValueError(
            f"Model {model}: base path {text} cannot be read: this server reads folders, no {scheme}:// addresses. "
            "Copy the model to a folder first (a ModelDeployment of Fovea does so) and give that folder's path"
        )
    if host not in ("", "localhost"):
        raise ValueError(
            f"Model {model}: base path {text} names the host {host!r}, and this server reads its own folders only; "
            f"for the folder /{host}{path} write file:///{host}{path}"
        )
    return Path(path)
