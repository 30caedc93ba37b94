"""Progress of an upload on standard error: a bar on a terminal, nothing elsewhere (the result says what was done)."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from fovea.sdk.upload import Progress

T = TypeVar("T")


def shown(work: "Callable[[Callable[[Progress], None]], T]", *, quiet: bool = False) -> T:
    """Run `work` with a progress callback and return its result."""
    if quiet or not sys.stderr.isatty():
        return work(lambda _: None)
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("uploading", total=None)

        def show(progress: "Progress") -> None:
            bar.update(
                task,
                total=progress.bytes,
                completed=progress.bytes_done,
                description=f"uploading {progress.files_done}/{progress.files}",
            )

        return work(show)
