"""Pictures with label pictures, in the layout of PASCAL VOC, as TFRecord shards, without TensorFlow (docs/how-to/data.md)."""

import random
from collections.abc import Callable, Iterable
from pathlib import Path

from fovea_api.contract import mask_names

from . import local_files, picture_files
from .errors import InvalidError
from .shard_folder import ALL, SHARD_BYTES, Converted, ShardFolder, bytes_, example, visible_files

_SHOWN = 5


def masks(
    source: Path,
    out: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Converted:
    """Pictures and their label pictures as they are, in an order drawn at random, the same each time.

    `source` has Images/NAME.png, Labels/NAME.png and, for a split of its own, ImageSets/Segmentation/train.txt (and val.txt,
    test.txt), whose sets become shards of their names. An Example has `image/encoded`, `image/filename` and
    `image/segmentation/class/encoded`. `progress` is called with pictures done and all.
    """
    left_out: list[str] = []
    pictures, labels = (_by_name(source, names, left_out) for names in (mask_names.PICTURES, mask_names.LABELS))
    sets = _listed(source, pictures) or {ALL: list(pictures)}
    wanted = [name for names in sets.values() for name in names]
    if missing := [name for name in wanted if name not in labels]:
        raise InvalidError(
            f"{len(missing)} of {len(wanted)} pictures in {source} have no label picture: {_some(missing)}; add it under the "
            f"picture's name, or leave the picture out of the lists in {'/'.join(mask_names.LISTS)}"
        )
    used = set(wanted)
    left_out += [
        f"{path.relative_to(source).as_posix()} ({why})"
        for files, why in ((pictures, "it is in none of the lists"), (labels, "there is no picture for it in use"))
        for name, path in files.items()
        if name not in used
    ]
    done = 0
    with ShardFolder(out) as output:
        for part, names in sets.items():
            random.Random(1).shuffle(names)  # noqa: S311 - nobody is kept from guessing it
            with output.shards(part, shard_bytes) as written:
                for name in names:
                    written.write(
                        example(
                            **{
                                mask_names.PICTURE: bytes_(_content(pictures[name])),
                                mask_names.LABEL: bytes_(_content(labels[name])),
                                "image/filename": bytes_(name.encode()),
                            }
                        )
                    )
                    written.name(name)
                    done += 1
                    progress(done, len(wanted))
        return output.converted(left_out)


def _by_name(source: Path, folders: Iterable[str], left_out: list[str]) -> dict[str, Path]:
    """The pictures of the first of these folders that is there, by NAME, in its order. Raises InvalidError."""
    below = {path.name.lower(): path for path in source.iterdir() if path.is_dir()} if source.is_dir() else {}
    folder = next((below[name.lower()] for name in folders if name.lower() in below), None)
    if folder is None:
        raise InvalidError(f"{source} has no folder {' or '.join(folders)}: {mask_names.EXPECTED}")
    found: dict[str, Path] = {}
    for file in visible_files(folder, left_out):
        name = mask_names.bare(file.name)
        if not picture_files.is_picture(file.path):
            left_out.append(f"{file.path.relative_to(source).as_posix()} (it is no picture)")
        elif "\n" in name:
            raise InvalidError(f"{file.path}: a name with a line break cannot be listed: rename the file")
        elif other := found.get(name):
            raise InvalidError(f"{other} and {file.path} are two pictures of one name: remove or rename one")
        else:
            found[name] = file.path
    return dict(sorted(found.items()))


def _listed(source: Path, pictures: dict[str, Path]) -> dict[str, list[str]]:
    """The names in the list of each set; {} where there is no folder of lists. Raises InvalidError."""
    folder = source.joinpath(*mask_names.LISTS)
    sets: dict[str, list[str]] = {}
    for part in (mask_names.TRAIN, mask_names.VALIDATION, mask_names.TEST) if folder.is_dir() else ():
        path = folder / f"{part}.txt"
        if not path.is_file():
            continue
        with local_files.reading(path):
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        names = dict.fromkeys(line if line in pictures else mask_names.bare(line) for line in lines if line)
        if unknown := [name for name in names if name not in pictures]:
            raise InvalidError(
                f"{path} names pictures that are not there: {_some(unknown)}; add them, or remove these lines"
            )
        if twice := [name for other in sets.values() for name in other if name in names]:
            raise InvalidError(f"{path} and another list both name {_some(twice)}: remove it from one of them")
        sets[part] = sorted(names)
    if folder.is_dir() and not sets.get(mask_names.TRAIN):
        raise InvalidError(
            f"{folder} has no {mask_names.TRAIN}.txt with a name in it: write a picture's name into each line of it, or remove "
            "the folder to leave the split to the training"
        )
    return {part: names for part, names in sets.items() if names}


def _content(path: Path) -> bytes:
    with local_files.reading(path):
        return path.read_bytes()


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
