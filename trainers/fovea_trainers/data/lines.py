"""Text files line by line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def numbered(path: Path, digest: Any, remark: str = "") -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers from 1 on, without what follows `remark`. Raises OSError.

    The file's bytes go into the digest (of hashlib).
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            digest.update(line)
            text = line.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace").strip("\r\n")
            if remark:
                text = text.partition(remark)[0]
            if text.strip():
                yield number, text
