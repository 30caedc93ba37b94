"""Tables and folders of pictures as TFRecord shards, without TensorFlow (docs/how-to/data.md)."""

import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fovea_api.contract import picture_names, shards
from fovea_api.contract.table_lines import BadLine, BadTable, Columns, cells, csv_row, is_heading, libsvm_row
from fovea_wire.example_pb2 import BytesList, Example, Feature, Features, FloatList, Int64List

from . import local_files
from .errors import InvalidError
from .tfrecord import Shards

SHARD_BYTES = 128 * 2**20
ALL = "data"
"""Name of the shards of files that no set was chosen for."""


@dataclass(frozen=True)
class Converted:
    """What was written: the folder, its shards and records, their bytes, and what could not be read."""

    folder: Path
    shards: int
    records: int
    bytes: int
    left_out: tuple[str, ...]


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
                yield _example(label=_label(label, number=number_labels), features=_floats(values))
            except BadLine as error:
                yield error

    return _tables(source, out, rows, ".csv", shard_bytes, max_bad_ratio)


def libsvm(source: Path, out: Path, *, shard_bytes: int = SHARD_BYTES, max_bad_ratio: float = 0.0) -> Converted:
    """Rows as Examples with `label`, a float, and `ids` and `values` of the features that are not 0."""

    def rows(file: Path) -> Iterator[bytes | BadLine]:
        for text in _lines(file, remark="#"):
            try:
                label, ids, values = libsvm_row(text)
                yield _example(
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
    """
    sets = {name: _labelled(folder) for name, folder in _sets(source).items()}
    classes = sorted({label for found in sets.values() for label, _ in found})
    if len(classes) < 2:
        raise InvalidError(
            f"{source} has {len(classes)} classes: give a folder with one folder of pictures per class (cats/1.jpg, "
            "dogs/1.jpg), or with flat names (cat.0.jpg, dog.0.jpg)"
        )
    numbers = {name: number for number, name in enumerate(classes)}
    total, done = sum(map(len, sets.values())), 0
    with _Output(out) as output:
        for name, found in sets.items():
            random.Random(1).shuffle(found)  # noqa: S311 - nobody is kept from guessing it
            with output.shards(name, shard_bytes) as written:
                for label, path in found:
                    with local_files.reading(path):
                        content = path.read_bytes()
                    written.write(
                        _example(
                            **{
                                "image/encoded": _bytes(content),
                                "image/filename": _bytes(os.fsencode(path.relative_to(source))),
                                "image/class/label": Feature(int64_list=Int64List(value=[numbers[label]])),
                                "image/class/text": _bytes(label.encode()),
                            }
                        )
                    )
                    written.label(numbers[label])
                    done += 1
                    progress(done, total)
        output.text(shards.CLASSES_FILE, "".join(f"{name}\n" for name in classes))
        return output.converted(())


class _Output:
    """A folder that appears complete, or not at all."""

    def __init__(self, folder: Path) -> None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InvalidError(f"{folder} exists and is not empty: name a new folder, or remove it first")
        self._folder = folder
        self._staging = folder.parent / f".{folder.name}.partial"
        self._written: list[Shards] = []

    def __enter__(self) -> Self:
        shutil.rmtree(self._staging, ignore_errors=True)  # of a conversion that was killed
        try:
            self._staging.mkdir(parents=True)
        except OSError as error:
            raise self._not_written(error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        try:
            if kind is None:
                self._staging.rename(self._folder)
            elif isinstance(error, OSError):  # what cannot be read is none: `local_files.reading`
                raise self._not_written(error) from error
        except OSError as failed:
            raise self._not_written(failed) from failed
        finally:
            shutil.rmtree(self._staging, ignore_errors=True)  # it is gone unless something failed

    def _not_written(self, error: OSError) -> InvalidError:
        return InvalidError(
            f"{self._folder} cannot be written ({error.strerror or error}): make space there, or name another folder"
        )

    def shards(self, prefix: str, size: int) -> Shards:
        """A new set of shards."""
        self._written.append(Shards(self._staging, prefix, size))
        return self._written[-1]

    def text(self, name: str, content: str) -> None:
        """A small file beside them."""
        (self._staging / name).write_text(content, encoding="utf-8")

    def converted(self, left_out: Iterable[str]) -> Converted:
        """What was written."""
        written = self._written
        return Converted(
            self._folder,
            sum(each.shards for each in written),
            sum(each.records for each in written),
            sum(each.bytes for each in written),
            tuple(left_out),
        )


def _tables(
    source: Path,
    out: Path,
    rows: Callable[[Path], Iterator[bytes | BadLine]],
    suffix: str,
    shard_bytes: int,
    max_bad_ratio: float,
) -> Converted:
    """All files of a folder, or one, each with shards of its own name."""
    prefixes = _prefixes(source, _files(source, suffix), suffix)
    left_out: list[str] = []
    with _Output(out) as output:
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
        done = output.converted(left_out)
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


def _files(source: Path, suffix: str) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InvalidError(f"{source} does not exist: name a file, or a folder of files")
    found = [source / file.name for file in local_files.scan(source) if file.name.lower().endswith(suffix)]
    if not found:
        raise InvalidError(f"{source} has no file whose name ends in {suffix}")
    return found


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


def _sets(source: Path) -> dict[str, Path]:
    """The folder of each set of a ready-made split, else the source itself."""
    if not source.is_dir():
        raise InvalidError(f"{source} is not a folder of pictures")
    below = [path for path in sorted(source.iterdir()) if path.is_dir()]
    found = {
        name: min(matching, key=lambda path: names.index(path.name.lower()))
        for name, names in picture_names.FOLDERS.items()
        if (matching := [path for path in below if path.name.lower() in names])
    }
    return found if picture_names.TRAIN in found else {ALL: source}


def _labelled(folder: Path) -> list[tuple[str, Path]]:
    """Class and path of each picture, by name."""
    found = [file for file in local_files.scan(folder) if _is_picture(file.path)]
    nested = [(file.name.partition("/")[0], file.path) for file in found if "/" in file.name]
    if nested:
        return nested
    flat = [(picture_names.FLAT_NAME.fullmatch(file.name), file.path) for file in found]
    return [(match["label"], path) for match, path in flat if match]


def _is_picture(path: Path) -> bool:
    if path.suffix.lower() in picture_names.SUFFIXES:
        return True
    with local_files.reading(path), path.open("rb") as file:
        return picture_names.MAGIC.match(file.read(16)) is not None


def _label(text: str, *, number: bool) -> Feature:
    if not text:
        raise BadLine("the label is empty")
    if not number:
        return _bytes(text.encode())
    try:
        return _floats([float(text)])
    except ValueError as error:
        raise BadLine(f'the label is "{text}", which is no number') from error


def _bytes(value: bytes) -> Feature:
    return Feature(bytes_list=BytesList(value=[value]))


def _floats(values: list[float]) -> Feature:
    return Feature(float_list=FloatList(value=values))


def _example(**features: Feature) -> bytes:
    content: bytes = Example(features=Features(feature=features)).SerializeToString(deterministic=True)
    return content
