"""Pictures that are known by their names, with the texts about them, as TFRecord shards (docs/how-to/data.md)."""

import random
from collections.abc import Callable
from pathlib import Path

from . import local_files, picture_files
from .errors import InvalidError
from .shard_folder import ALL, SHARD_BYTES, Converted, ShardFolder, bytes_, example, visible_files

_TEXTS = (".txt", ".csv")


def captions(
    source: Path,
    out: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Converted:
    """Pictures of a folder in the layout of Flickr8k as they are; the texts with captions and lists are copied beside them.

    An Example has `image/encoded` and `image/filename`. `progress` is called with pictures done and all.
    """
    return _named(source, out, "Flickr8k.token.txt, a text with a caption in each line", shard_bytes, progress)


def faces(
    source: Path,
    out: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Converted:
    """Pictures of people (`anna/anna_0001.jpg`) as they are; texts (pairs, places of eyes) are copied beside them. As `captions`."""
    return _named(source, out, "", shard_bytes, progress)


def _named(source: Path, out: Path, needed: str, shard_bytes: int, progress: Callable[[int, int], None]) -> Converted:
    left_out: list[str] = []
    found = visible_files(source, left_out)
    pictures = [file for file in found if picture_files.is_picture(file.path)]
    names = {file.name for file in pictures}
    texts = [file for file in found if file.name not in names and file.path.suffix.lower() in _TEXTS]
    copied = {file.name for file in texts}
    left_out += [f"{file.name} (it is no picture and no text)" for file in found if file.name not in names | copied]
    if not pictures:
        raise InvalidError(f"{source} holds no picture")
    if needed and not texts:
        raise InvalidError(f"{source} holds no text: there must be {needed}")
    if broken := [name for name in names if "\n" in name]:
        raise InvalidError(f"{source} / {broken[0]!r}: a name with a line break cannot be listed: rename the file")
    random.Random(1).shuffle(pictures)  # noqa: S311 - nobody is kept from guessing it
    with ShardFolder(out) as output:
        with output.shards(ALL, shard_bytes) as written:
            for done, file in enumerate(pictures, 1):
                with local_files.reading(file.path):
                    content = file.path.read_bytes()
                written.write(
                    example(**{"image/encoded": bytes_(content), "image/filename": bytes_(file.name.encode())})
                )
                written.name(file.name)
                progress(done, len(pictures))
        for file in texts:
            output.copy(file.name, file.path)
        return output.converted(left_out)
