"""What a job's program printed, as files: one for each attempt whose pod is still there."""

from pathlib import Path
from typing import TYPE_CHECKING

from .download import writing
from .errors import AlreadyExistsError
from .local_files import shown

if TYPE_CHECKING:
    from .job import Job


def save_logs(job: "Job", folder: Path, *, attempt: int | None = None, force: bool = False) -> list[str]:
    """Write `<task>-<attempt>.log` for each attempt (or one) and return their names.

    A log that has grown replaces what was saved of it; AlreadyExistsError for another file of that name.
    """
    texts: dict[str, list[str]] = {}
    for line in job.stream_logs(follow=False):
        if attempt in (None, line.attempt):
            texts.setdefault(f"{line.task}-{line.attempt}.log", []).append(f"{line.text}\n")
    for name, lines in texts.items():
        _write(folder / name, "".join(lines).encode(errors="surrogateescape"), force=force)
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
