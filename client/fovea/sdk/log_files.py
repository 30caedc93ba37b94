"""What a job's programs printed, as files: one for each attempt of each task."""

from collections.abc import Iterable
from pathlib import Path

from .download import writing
from .errors import AlreadyExistsError
from .local_files import shown
from .logs import LogLine


def save_logs(lines: Iterable[LogLine], folder: Path, *, force: bool = False) -> list[str]:
    """Write `<task>-<attempt>.log` for each attempt of these lines and return their names.

    A log that has grown replaces what was saved of it; AlreadyExistsError for another file of that name.
    """
    texts: dict[str, list[str]] = {}
    for line in lines:
        texts.setdefault(f"{line.task}-{line.attempt}.log", []).append(f"{line.text}\n")
    for name, text in texts.items():
        _write(folder / name, "".join(text).encode(errors="surrogateescape"), force=force)
    return sorted(texts)


def _write(target: Path, text: bytes, *, force: bool) -> None:
    with writing(target):
        if target.exists() and not force and not text.startswith(target.read_bytes()):
            raise AlreadyExistsError(
                f"{shown(str(target))} is another file: choose another folder, or replace it with --force"
            )
        staged = target.with_name(f".{target.name}.fovea-download")
        staged.write_bytes(text)
        staged.replace(target)
