"""Pictures of a download, opened with the platform's own program."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fovea.sdk.download import Downloaded

_PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".svg", ".tif", ".tiff", ".webp")
_MOST = 10
"""At most this many windows are opened."""


def open_pictures(done: "Downloaded") -> None:
    """Open them, or say on standard error what keeps from it: the files are there, which is what matters."""
    pictures = [done.folder / name for name in done.names if name.lower().endswith(_PICTURES)]
    if not pictures:
        click.echo(f"{done.folder} holds no pictures to open.", err=True)
        return
    if not _has_display():
        click.echo(
            f"There is no display to open pictures on (neither DISPLAY nor WAYLAND_DISPLAY is set): {done.folder} holds "
            f"{len(pictures)}, for example {pictures[0]}.",
            err=True,
        )
        return
    for picture in pictures[:_MOST]:
        if not _open(picture):
            click.echo(f"No program opens {picture}: install one (xdg-open of xdg-utils on Linux).", err=True)
            return
    if len(pictures) > _MOST:
        click.echo(f"Opened the first {_MOST} of {len(pictures)} pictures; all are in {done.folder}.", err=True)


def _has_display() -> bool:
    on_linux = sys.platform not in ("darwin", "win32", "cygwin")
    return not on_linux or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _open(picture: Path) -> bool:
    return click.launch(str(picture)) == 0
