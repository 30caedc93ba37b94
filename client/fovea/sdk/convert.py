"""Tables and folders of pictures as TFRecord shards, without TensorFlow (docs/how-to/data.md)."""

import os
import random
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from fovea_api.contract import picture_names, shards, table_lines
from fovea_api.contract.table_lines import BadLine, BadTable, Columns, cells, csv_row, is_heading, libsvm_row
from fovea_wire.example_pb2 import Feature, FloatList, Int64List

from . import local_files, picture_files
from .errors import InvalidError
from .shard_folder import ALL, NOT_DATA, SHARD_BYTES, Converted, ShardFolder, bytes_, example, visible_files


def csv(
    source: Path,
    out: Path,
    *,
    label_column: str = "",
    heading: bool | None = None,
    number_labels: bool = False,
    shard_bytes: int = SHARD_BYTES,
    max_bad_ratio: float = 0.0,
) -> Converted:
    """Rows as Examples with `features`, floats, and `label`, a text or, with `number_labels`, a float.

    Without a `heading`, the first line of each file is one if no cell of it is a number.
    """
    known: list[Columns] = []

    def rows(file: Path) -> Iterator[bytes | BadLine]:
        columns: Columns | None = None
        for text in _lines(file):
            if columns is None:
                first = _first(text)
                titled = is_heading(first) if heading is None else heading
                columns = Columns.of(first, label_column, heading=titled)
                known.append(columns)
                if known[0] != columns:
                    raise BadTable(f"its columns are {', '.join(columns.names)}, not {', '.join(known[0].names)}")
                if titled:
                    yield BadLine("")
                    continue
            try:
                label, values = csv_row(text, columns)
                yield example(label=_label(label, number=number_labels), features=_floats(values))
            except BadLine as error:
                yield error

    return _tables(source, out, rows, ".csv", shard_bytes, max_bad_ratio)


def libsvm(source: Path, out: Path, *, shard_bytes: int = SHARD_BYTES, max_bad_ratio: float = 0.0) -> Converted:
    """Rows as Examples with `label`, a float, and `ids` and `values` of the features that are not 0."""

    def rows(file: Path) -> Iterator[bytes | BadLine]:
        for text in _lines(file, remark="#"):
            try:
                label, ids, values = libsvm_row(text)
                yield example(
                    label=_floats([float(label)]),
                    ids=Feature(int64_list=Int64List(value=ids)),
                    values=_floats(values),
                )
            except BadLine as error:
                yield error

    return _tables(source, out, rows, "", shard_bytes, max_bad_ratio)


def images(
    source: Path,
    out: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Converted:
    """Pictures as they are, in an order drawn at random, the same each time, with their classes.

    `source` has class folders (cats/1.jpg), flat names (cat.1.jpg), or folders train, validation and test with either.
    An Example has `image/encoded`, `image/filename`, `image/class/label`, a number, and `image/class/text`. The file
    classes.txt has the names of the classes in the order of their numbers. `progress` is called with pictures done and all.
    What has no class is left out, and named in the result.
    """
    folders, left_out = _sets(source)
    sets = {name: _labelled(source, folder, left_out) for name, folder in folders.items()}
    classes = sorted({label for found in sets.values() for label, _ in found})
    if len(classes) < 2:
        raise InvalidError(
            f"{source} has {len(classes)} classes: give a folder with one folder of pictures per class (cats/1.jpg, "
            "dogs/1.jpg), or with flat names (cat.0.jpg, dog.0.jpg)"
        )
    numbers = {name: number for number, name in enumerate(classes)}
    total, done = sum(map(len, sets.values())), 0
    with ShardFolder(out) as output:
        for name, found in sets.items():
            random.Random(1).shuffle(found)  # noqa: S311 - nobody is kept from guessing it
            with output.shards(name, shard_bytes) as written:
                for label, path in found:
                    with local_files.reading(path):
                        content = path.read_bytes()
                    written.write(
                        example(
                            **{
                                "image/encoded": bytes_(content),
                                "image/filename": bytes_(os.fsencode(path.relative_to(source))),
                                "image/class/label": Feature(int64_list=Int64List(value=[numbers[label]])),
                                "image/class/text": bytes_(label.encode()),
                            }
                        )
                    )
                    written.label(numbers[label])
                    done += 1
                    progress(done, total)
        output.text(shards.CLASSES_FILE, "".join(f"{name}\n" for name in classes))
        return output.converted(left_out)


def _tables(
    source: Path,
    out: Path,
    rows: Callable[[Path], Iterator[bytes | BadLine]],
    suffix: str,
    shard_bytes: int,
    max_bad_ratio: float,
) -> Converted:
    """All files of a folder, or one, each with shards of its own name."""
    files, others = _files(source, suffix)
    prefixes = _prefixes(source, files, suffix)
    left_out: list[str] = []
    with ShardFolder(out) as output:
        for prefix, file in prefixes.items():
            name = _name(source, file)
            try:
                with output.shards(prefix, shard_bytes) as written:
                    for number, row in enumerate(rows(file), 1):
                        if isinstance(row, bytes):
                            written.write(row)
                        elif str(row):
                            left_out.append(f"{name} row {number} ({row})")
            except BadTable as error:
                raise InvalidError(f"{file}: {error}") from error
        done = output.converted([*others, *left_out])
        if len(left_out) > max_bad_ratio * (done.records + len(left_out)) or not done.records:
            first = f", the first is {left_out[0]}" if left_out else ""
            raise InvalidError(
                f"{len(left_out)} of {done.records + len(left_out)} rows of {source} cannot be read{first}; repair or remove "
                f"them, or allow more by --max-bad-ratio (now {max_bad_ratio})"
            )
        return done


def _prefixes(source: Path, files: Iterable[Path], suffix: str) -> dict[str, Path]:
    """The file of each name of shards; raises InvalidError for two files whose shards would have one name."""
    found: dict[str, Path] = {}
    for file in files:
        other = found.setdefault(_name(source, file).removesuffix(suffix).replace("/", "-"), file)
        if other is not file:
            raise InvalidError(f"{other} and {file} would have shards of the same name: rename one of them")
    return found


def _name(source: Path, file: Path) -> str:
    return file.name if source.is_file() else file.relative_to(source).as_posix()


def _files(source: Path, suffix: str) -> tuple[list[Path], list[str]]:
    """The files to convert, and what else is there."""
    if source.is_file():
        return [source], []
    if not source.is_dir():
        raise InvalidError(f"{source} does not exist: name a file, or a folder of files")
    left_out: list[str] = []
    names = [file.name for file in visible_files(source, left_out)]
    found = [source / name for name in names if name.lower().endswith(suffix)]
    if not found:
        raise InvalidError(f"{source} has no file whose name ends in {suffix}")
    others = [name for name in names if not name.lower().endswith(suffix)]
    return found, [*left_out, *(f"{name} (its name does not end in {suffix})" for name in others)]


def _lines(file: Path, remark: str = "") -> Iterator[str]:
    with local_files.reading(file), file.open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
        for line in lines:
            text = line.strip("\r\n")
            if remark:
                text = text.partition(remark)[0]
            if text.strip():
                yield text


def _first(text: str) -> list[str]:
    try:
        return cells(text)
    except BadLine as error:
        raise BadTable(f"the first line cannot be read: {error}") from error


def _sets(source: Path) -> tuple[dict[str, Path], list[str]]:
    """The folder of each set of a ready-made split, and what is beside them; else the source itself, and nothing."""
    if not source.is_dir():
        raise InvalidError(f"{source} is not a folder of pictures")
    entries = [
        path for path in sorted(source.iterdir()) if not any(fnmatchcase(path.name, pattern) for pattern in NOT_DATA)
    ]
    below = [path for path in entries if path.is_dir()]
    found = {
        name: min(matching, key=lambda path: names.index(path.name.lower()))
        for name, names in picture_names.FOLDERS.items()
        if (matching := [path for path in below if path.name.lower() in names])
    }
    if picture_names.TRAIN not in found:
        return {ALL: source}, []
    sets = ", ".join(path.name for path in found.values())
    beside = [path for path in entries if path not in found.values()]
    return found, [f"{path.name}{'/' if path.is_dir() else ''} (it is in none of the sets {sets})" for path in beside]


def _labelled(source: Path, folder: Path, left_out: list[str]) -> list[tuple[str, Path]]:
    """Class and path of each picture of a set's folder, by name; what is none, or has none, goes into `left_out`."""
    entries = visible_files(folder, left_out)
    pictures = {file.name for file in entries if picture_files.is_picture(file.path)}
    nested = any("/" in name for name in pictures)
    found = []
    for file in entries:
        flat = picture_names.FLAT_NAME.fullmatch(file.name)
        name = file.path.relative_to(source).as_posix()
        if file.name not in pictures:
            left_out.append(f"{name} (it is no picture)")
        elif nested and "/" in file.name:
            found.append((file.name.partition("/")[0], file.path))
        elif flat and not nested:
            found.append((flat["label"], file.path))
        else:
            left_out.append(f"{name} (it has no class)")
    return found


def _label(text: str, *, number: bool) -> Feature:
    if not text:
        raise BadLine("the label is empty")
    if not number:
        return bytes_(text.encode())
    return _floats([table_lines.number(text, "the label")])


def _floats(values: list[float]) -> Feature:
    return Feature(float_list=FloatList(value=values))
